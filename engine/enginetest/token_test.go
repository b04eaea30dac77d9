package enginetest

import (
	"strings"
	"testing"
)

func TestNylasTokenExpires(t *testing.T) {
	inBubble(t, func() *Server { return NewNylas(Options{Faultless: true, TokenLife: 3}) }, func(w *world) {
		t, s, grant := w.t, w.server, w.server.Mailboxes()[0]
		for i := range 3 {
			if status, _, body := w.do(grant, s.ListRequest(grant, "")); status != 200 {
				t.Fatalf("request %d: status %d: %s", i+1, status, body)
			}
		}
		status, _, body := w.do(grant, s.ListRequest(grant, ""))
		if status != 401 || !strings.Contains(body, `"oauth2.invalid_token"`) {
			t.Fatalf("request 4: status %d, want 401 oauth2.invalid_token: %s", status, body)
		}
		status, _, body = w.do(grant, s.tokenRequest(grant))
		token, err := s.parseToken([]byte(body))
		if status != 200 || err != nil {
			t.Fatalf("token endpoint: status %d, err %v: %s", status, err, body)
		}
		w.tokens[grant] = token
		if status, _, body := w.do(grant, s.ListRequest(grant, "")); status != 200 {
			t.Errorf("with the new token: status %d: %s", status, body)
		}
		if status, _, body := w.do(grant, s.tokenRequest("nobody")); status != 400 || !strings.Contains(body, "invalid_grant") {
			t.Errorf("token for an unknown grant: status %d, want 400 invalid_grant: %s", status, body)
		}
		c := s.Counts()
		if c.Refreshes != 1 || c.Refused["token"] != 1 || c.Requests != 5 {
			t.Errorf("%d refreshes, %d refused, %d requests, want 1, 1, 5", c.Refreshes, c.Refused["token"], c.Requests)
		}
	})
}

// Tokens fit engine.Options' hooks: they authorize, and renew at the token endpoint.
func TestTokens(t *testing.T) {
	inBubble(t, func() *Server { return NewNylas(Options{Faultless: true, TokenLife: 1}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		tokens := NewTokens(s)
		get := func() int {
			r := s.ListRequest(mailbox, "")
			if err := tokens.Authorize(r, mailbox); err != nil {
				t.Fatal(err)
			}
			resp, err := w.rt.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			return resp.StatusCode
		}
		first, second := get(), get()
		if err := tokens.Renew(t.Context(), mailbox); err != nil {
			t.Fatal(err)
		}
		if third := get(); first != 200 || second != 401 || third != 200 {
			t.Errorf("answered %d, %d and, renewed, %d, want 200, 401, 200", first, second, third)
		}
		if err := tokens.Renew(t.Context(), "nobody"); err == nil {
			t.Error("renewed the token of an unknown mailbox")
		}
		if err := tokens.Authorize(s.ListRequest(mailbox, ""), "nobody"); err == nil {
			t.Error("authorized a request for an unknown mailbox")
		}
		s.Close()
		if err := tokens.Renew(t.Context(), mailbox); err == nil {
			t.Error("renewed a token at a closed server")
		}
	})
}
