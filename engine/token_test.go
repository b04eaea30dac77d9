package engine

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// Every operation of the built-in packs is a request for tokens or is none. A
// name that has just come into a pack belongs into one of the lists.
func TestTokenOperations(t *testing.T) {
	oauth := []string{
		"", "authorize", "token.client", "token.device", "token.exchange", "token.jwt",
		"token.password", "token.refresh", "token.swap",
	}
	want := map[string][]string{
		"oauth2": oauth, "entra": append([]string{"device.code"}, oauth...),
		"google_oauth":     append([]string{"device.code", "token.info", "token.revoke"}, oauth...),
		"zoho":             oauth[1:], // its API is in the same policy
		"icloud":           {"accountLogin", "signin"},
		"nylas_v2":         {"connect.authorize", "connect.revoke", "connect.token"},
		"nylas_v3":         {"connect.auth", "connect.custom", "connect.refresh", "connect.revoke", "connect.token", "connect.tokeninfo"},
		"rick":             {"authorize", "token.exchange", "token.refresh"},
		"slack":            {"oauth.v2.access", "oauth.v2.exchange", "openid.connect.token", "tooling.tokens.rotate"},
		"dropbox":          {"token"},
		"github":           {"token.installation"},
		"github_oauth":     append([]string{"token.code"}, oauth...),
		"hubspot_oauth":    append([]string{"token.info"}, oauth...),
		"salesforce_oauth": append([]string{"token.revoke"}, oauth...),
		"jira":             {"oauth.token"},
		"notion":           {"oauth.token"},
	}
	suspicious := []string{"token", "refresh", "auth", "revoke", "login", "signin", "connect.", "device", "grant", "credential"}
	plain := []string{ // which sound like one
		"auth.test", "grants.delete", "grants.get", "grants.list", "grants.update", "subscriptions.reauthorize", "delta.cursor",
		"changes.getStartPageToken", "items.deltaToken", "oauth.other",
	}
	for _, p := range policy.Builtin().Policies() {
		names := []string{""}
		for _, o := range p.Operations {
			names = append(names, o.Operation)
		}
		slices.Sort(names)
		var got []string
		for _, name := range slices.Compact(names) {
			if p.IsToken(name) {
				got = append(got, name)
			} else if !slices.Contains(plain, name) && slices.ContainsFunc(suspicious, func(s string) bool { return strings.Contains(strings.ToLower(name), s) }) {
				t.Errorf("%s: is %q a request for tokens?", p.Name, name)
			}
		}
		slices.Sort(want[p.Name])
		if !slices.Equal(got, want[p.Name]) {
			t.Errorf("%s: requests for tokens %q, want %q", p.Name, got, want[p.Name])
		}
		for _, name := range []string{"calendar.refresh", "refreshToken.list", "tokens.list", "sync.token", "Token.Refresh.View"} {
			if p.IsToken(name) && got[0] != "" {
				t.Errorf("%s: %q is taken for a request for tokens", p.Name, name)
			}
		}
	}
}

// A policy of one's own says which its token requests are.
func TestTokenOperationsOfOnesOwn(t *testing.T) {
	idp := "version: 1\nprovider: idp\nmatch: [{host: idp.test}]\noperations: [{method: POST, path: /token, form: {grant_type: refresh_token}, operation: renew, token: true}]\nrules: [{name: gone, when: status == 410, action: accept}]\ndefault: fail\n"
	e := testEngine(t, Options{}, sessionYAML, idp)
	for _, tt := range []struct {
		provider, operation string
		want                bool
	}{
		{"test", "session.renew", true},
		{"test", "token.refresh", false}, // a name alone says nothing
		{"test", "items.get", false},
		{"test", "calendar.refresh", false},
		{"test", "", false},
		{"idp", "renew", true},
		{"idp", "", true}, // a policy of nothing else
		{"idp", "whatever", true},
	} {
		p, err := e.Provider(tt.provider)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Policy().IsToken(tt.operation); got != tt.want {
			t.Errorf("%s %q: %v, want %v", tt.provider, tt.operation, got, tt.want)
		}
	}
	u, _ := url.Parse("https://idp.test/token")
	if p, op, claimed := e.endpoint(u); p == nil || p.name != "idp" || op != "renew" || !claimed {
		t.Errorf("endpoint(%s): %v %q %v", u, p, op, claimed)
	}
	u, _ = url.Parse("https://idp.test/other")
	if p, op, claimed := e.endpoint(u); p == nil || p.name != "idp" || op != refreshOperation || !claimed {
		t.Errorf("endpoint(%s): %v %q %v", u, p, op, claimed)
	}
}

// A call is stopped by its account's failed refresh unless it asks for tokens.
func TestStoppedWhateverItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
		}}}, sessionYAML)
		p, _ := e.Provider("test")
		p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "a"}}, refused401)
		for operation, want := range map[string]int{"calendar.refresh": 0, "syncToken.get": 0, "items.get": 0, "token.refresh": 0, "session.renew": 1} {
			sent := 0
			p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "a", Operation: operation}}, func(context.Context) error { sent++; return nil })
			if sent != want {
				t.Errorf("%s: sent %d times, want %d", operation, sent, want)
			}
		}
	})
}
