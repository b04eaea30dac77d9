package protocol

import (
	"testing"

	"github.com/recourse-go/recourse/rules"
)

func TestReplies(t *testing.T) {
	status := func(n int) rules.Event { return rules.Event{Status: n} }
	imap := func(s string) rules.Event { return rules.Event{IMAPStatus: s} }
	type answers struct{ replied, succeeded, refused, down bool }
	for _, tt := range []struct {
		p    *Protocol
		e    rules.Event
		want answers
	}{
		{HTTP, status(0), answers{}},
		{HTTP, status(101), answers{true, true, false, false}},
		{HTTP, status(199), answers{true, false, false, false}},
		{HTTP, status(200), answers{true, true, false, false}},
		{HTTP, status(399), answers{true, true, false, false}},
		{HTTP, status(400), answers{true, false, true, false}},
		{HTTP, status(499), answers{true, false, true, false}},
		{HTTP, status(500), answers{true, false, false, true}},
		{SMTP, status(0), answers{}},
		{SMTP, status(101), answers{true, false, false, false}},
		{SMTP, status(220), answers{true, true, false, false}},
		{SMTP, status(354), answers{true, true, false, false}},
		{SMTP, status(421), answers{true, false, true, true}},
		{SMTP, status(450), answers{true, false, true, false}},
		{SMTP, status(554), answers{true, false, true, false}},
		{IMAP, imap(""), answers{}},
		{IMAP, imap("OK"), answers{true, true, false, false}},
		{IMAP, imap("PREAUTH"), answers{true, true, false, false}},
		{IMAP, imap("NO"), answers{true, false, true, false}},
		{IMAP, imap("BAD"), answers{true, false, true, false}},
		{IMAP, imap("BYE"), answers{true, false, false, true}},
	} {
		got := answers{tt.p.Replied(&tt.e), tt.p.Succeeded(&tt.e), tt.p.Refused(&tt.e), tt.p.HostDown(&tt.e)}
		if got != tt.want {
			t.Errorf("given %s %d %q: got %+v, want %+v", tt.p.Name, tt.e.Status, tt.e.IMAPStatus, got, tt.want)
		}
	}
}

func TestReplyText(t *testing.T) {
	for _, tt := range []struct {
		p      *Protocol
		status int
		text   string
		want   string
	}{
		{SMTP, 550, "5.1.1 no such user", "550 5.1.1 no such user"},
		{SMTP, 550, "550 no such user", "550 no such user"},
		{SMTP, 0, "550 no such user", "550 no such user"},
		{SMTP, 550, "", "550 "},
		{SMTP, 0, "", ""},
		{IMAP, 0, "a NO no", "a NO no"},
		{IMAP, 200, "", ""},
	} {
		if got := tt.p.Reply(tt.status, tt.text); got != tt.want {
			t.Errorf("given %s %d %q: got %q, want %q", tt.p.Name, tt.status, tt.text, got, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tt := range []struct{ name, want, ofProvider string }{
		{"http", "http", "http"}, {"smtp", "smtp", "smtp"}, {"imap", "imap", "imap"},
		{"", "http", "http"}, {"grpc", "http", "http"},
		{"example_imap", "http", "imap"}, {"example_smtp", "http", "smtp"}, {"imap_example", "http", "http"},
	} {
		if got := Of(tt.name).Name; got != tt.want {
			t.Errorf("Of(%q): got %s, want %s", tt.name, got, tt.want)
		}
		if got := OfProvider(tt.name).Name; got != tt.ofProvider {
			t.Errorf("OfProvider(%q): got %s, want %s", tt.name, got, tt.ofProvider)
		}
	}
}
