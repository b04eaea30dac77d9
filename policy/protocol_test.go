package policy

import (
	"testing"

	"github.com/recourse-go/recourse/internal/protocol"
)

// A protocol is said once, and what extends the policy that says it speaks it too.
func TestProtocolIsInherited(t *testing.T) {
	file := func(name, more string) File {
		return File{Name: name + ".yaml", Data: []byte("version: 1\nprovider: " + name + "\ndefault: fail\n" + more)}
	}
	set, ds := Load([]File{
		file("web", ""),
		file("mail", "protocol: imap\n"),
		file("child", "extends: mail\n"),
		file("grandchild", "extends: child\n"),
		file("both", "extends: [mail, web]\n"),
		file("other", "extends: child\nprotocol: smtp\n"),
		file("back", "extends: mail\nprotocol: http\n"),
		file("named_imap", ""),
		file("heir", "extends: gmail_imap\n"),
	}, LoadOptions{Over: Builtin()})
	if set == nil {
		t.Fatal(ds.Err())
	}
	for name, want := range map[string]string{
		"web": "http", "mail": "imap", "child": "imap", "grandchild": "imap", "both": "imap", "other": "smtp", "back": "http",
		"named_imap": "http", "heir": "imap",
		"http": "http", "gmail": "http", "oauth2": "http", "imap": "imap", "gmail_imap": "imap", "outlook_imap": "imap",
		"yahoo_imap": "imap", "smtp": "smtp", "gmail_smtp": "smtp", "outlook_smtp": "smtp",
	} {
		p, ok := set.Policy(name)
		if !ok || p.Protocol != want {
			t.Errorf("%s: got %q, want %q", name, p.Protocol, want)
		}
	}
	mail, _ := set.Policy("mail")
	back, _ := set.Policy("back")
	if mail.Version == back.Version {
		t.Error("two policies that speak different protocols have one version")
	}
}

// A rule may ask for each protocol that there is: lint knows the values of the fact.
func TestLintKnowsProtocols(t *testing.T) {
	for _, name := range protocol.Names() {
		_, ds := Load([]File{{Name: "a.yaml", Data: []byte("version: 1\nprovider: a\nprotocol: " + name +
			"\nrules: [{name: one, when: protocol == \"" + name + "\" and status == 500, action: fail}]\ndefault: fail\n")}}, LoadOptions{})
		if len(ds) > 0 {
			t.Errorf("given %s: %v", name, ds)
		}
	}
}

func TestIsToken(t *testing.T) {
	load := func(yaml string) *Policy {
		set, ds := Load([]File{{Name: "a.yaml", Data: []byte("version: 1\nprovider: a\n" + yaml + "default: fail\n")}}, LoadOptions{})
		if set == nil {
			t.Fatal(ds.Err())
		}
		p, _ := set.Policy("a")
		return p
	}
	api := load("operations:\n  - {path: /session, operation: renew, token: true}\n  - {path: /items, operation: items.get}\n  - {path: /x, operation: items.get}\n")
	endpoint := load("operations:\n  - {path: /token, operation: token.refresh, token: true}\n")
	both := load("operations:\n  - {path: /token, operation: token.refresh, token: true}\nrules:\n  - {name: r, when: 'status == 401 and operation != \"token.refresh\"', action: reauth}\n")
	none := load("")
	for _, tt := range []struct {
		given     string
		p         *Policy
		operation string
		want      bool
	}{
		{"an API", api, "renew", true}, {"an API", api, "items.get", false}, {"an API", api, "", false},
		{"an API", api, "token.refresh", false}, {"an API", api, "other", false},
		{"a token endpoint", endpoint, "token.refresh", true}, {"a token endpoint", endpoint, "", true}, {"a token endpoint", endpoint, "other", true},
		{"an API in an endpoint's policy", both, "token.refresh", true}, {"an API in an endpoint's policy", both, "", false},
		{"no operations", none, "", false}, {"no operations", none, "token.refresh", false},
	} {
		if got := tt.p.IsToken(tt.operation); got != tt.want {
			t.Errorf("given %s: IsToken(%q): got %v, want %v", tt.given, tt.operation, got, tt.want)
		}
	}
}
