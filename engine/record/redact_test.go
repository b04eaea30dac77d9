package record

import (
	"strings"
	"testing"
)

func TestRedactor(t *testing.T) {
	r := redactor{key: []byte("key")}
	anna := r.address("anna@example.com")
	for _, tt := range []struct{ name, in, want string }{
		{"plain words", "User-rate limit exceeded. Retry after 2026-09-11T20:00:00.000Z (Mail sending)", "User-rate limit exceeded. Retry after 2026-09-11T20:00:00.000Z (Mail sending)"},
		{"the account", "no mailbox of anna@example.com", "no mailbox of " + anna},
		{"in brackets", "550 5.1.1 <anna@example.com>: unknown", "550 5.1.1 <" + anna + ">: unknown"},
		{"at the end of a sentence", "Write to anna@example.com.", "Write to " + anna + "."},
		{"no address", "@ home, a@ b", "@ home, a@ b"},
		{"twice is the same", "anna@example.com anna@example.com", anna + " " + anna},
		{"a URL with a query", "see https://example.com/a/b?token=abc&x=1 for more", "see https://example.com/a/b for more"},
		{"a URL with a password", "https://anna:secret@example.com/a", "https://example.com/a"},
		{"a token", "token ya29.a0AfH6SMBx7Zk3Qw9bbb1", "token ya29.…"},
		{"hex", "id 9f86d081884c7d659a2feaa0c55ad015", "id …"},
		{"codes", "AADSTS50196 ErrorNameResolutionMultipleResults invalid_grant 5.7.139", "AADSTS50196 ErrorNameResolutionMultipleResults invalid_grant 5.7.139"},
		{"what the policy names", "a1b2c3d4e5f6a7b8", "a1b2c3d4e5f6a7b8"},
		{"nothing", "", ""},
	} {
		if got := r.text(tt.in, "anna@example.com", `code == "a1b2c3d4e5f6a7b8"`); got != tt.want {
			t.Errorf("%s: given %q\ngot  %q\nwant %q", tt.name, tt.in, got, tt.want)
		}
	}
	if got := r.text("mailbox-17 is full", "mailbox-17", ""); got != "u-"+r.pseudonym("mailbox-17")+" is full" {
		t.Errorf("an account that is no address: got %q", got)
	}
}

// Whatever a server sends, the account is not in what is kept, and what is redacted once stays.
func FuzzRedactor(f *testing.F) {
	f.Add("no anna@example.com here", "anna@example.com")
	f.Add("https://u:p@h/x?y=z#w", "mailbox-17")
	f.Add("a@b@c.d <@> @@", "a@b@c.d")
	f.Add(strings.Repeat("x1", 100), "x1x1")
	r := redactor{key: []byte("key")}
	f.Fuzz(func(t *testing.T, s, account string) {
		got := r.text(s, account, "")
		if len(account) >= 8 && !strings.Contains(hiddenDomain, account) && strings.Contains(got, account) && !isHex(account) {
			t.Errorf("given %q of %q: got %q", s, account, got)
		}
	})
}

// isHex reports whether s may be a part of a pseudonym.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefhilnuv-@.") == "" }
