package engine

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// Transport picks policy and operation by the request.
func TestTransportPicksThePolicy(t *testing.T) {
	for _, tt := range []struct {
		name, method, url, contentType, body string
		call                                 Call
		policy, operation                    string
	}{
		{name: "by host", method: "GET", url: "https://gmail.googleapis.com/gmail/v1/users/me/history?startHistoryId=1", policy: "gmail", operation: "history.list"},
		{name: "by host and path", method: "GET", url: "https://www.googleapis.com/calendar/v3/calendars/primary/events", policy: "google_calendar", operation: "events.list"},
		{name: "whatever the case and port", method: "GET", url: "https://GMAIL.googleapis.com:443/gmail/v1/users/me/messages/1", policy: "gmail", operation: "messages.get"},
		{name: "by a form", method: "POST", url: "https://oauth2.googleapis.com/token", contentType: "application/x-www-form-urlencoded; charset=utf-8", body: "grant_type=refresh_token&refresh_token=x", policy: "google_oauth", operation: "token.refresh"},
		{name: "another form", method: "POST", url: "https://oauth2.googleapis.com/token", contentType: "application/x-www-form-urlencoded", body: "grant_type=authorization_code&code=x", policy: "google_oauth", operation: "token.exchange"},
		{name: "a form that is none", method: "POST", url: "https://oauth2.googleapis.com/token", contentType: "application/x-www-form-urlencoded", body: "%zz", policy: "google_oauth"},
		{name: "nobody's host", method: "GET", url: "https://example.com/x", policy: "http"},
		{name: "by the call", method: "GET", url: "https://proxy.example.com/gmail/v1/users/me/messages/1", call: Call{Provider: "gmail"}, policy: "gmail", operation: "messages.get"},
		{name: "an operation of the call", method: "GET", url: "https://gmail.googleapis.com/x", call: Call{Keys: limiter.Keys{Operation: "messages.get"}}, policy: "gmail", operation: "messages.get"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := New(Options{})
				if err != nil {
					t.Fatal(err)
				}
				sent := ""
				base := roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Body != nil {
						b, _ := io.ReadAll(r.Body)
						sent = string(b)
					}
					return &http.Response{StatusCode: 418, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				})
				var body io.Reader
				if tt.body != "" {
					body = strings.NewReader(tt.body)
				}
				req, _ := http.NewRequestWithContext(WithCall(t.Context(), tt.call), tt.method, tt.url, body)
				if tt.contentType != "" {
					req.Header.Set("Content-Type", tt.contentType)
				}
				resp, err := e.Transport(base).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				out, _ := Outcome(resp)
				if out.Event == nil || out.Event.Provider != tt.policy || out.Event.Operation != tt.operation || sent != tt.body {
					t.Errorf("decided by %+v, sent %q; want policy %q, operation %q", out.Event, sent, tt.policy, tt.operation)
				}
				nothingLeft(t, e)
			})
		})
	}
}

// A transport of golang.org/x/oauth2 below asks for tokens first: what happens
// there is the token endpoint's, and the request itself was not sent.
func TestTransportAboveOAuth2(t *testing.T) {
	endpoint, _ := url.Parse("https://oauth2.googleapis.com/token")
	answer := func(status int, body string) error {
		return &RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{URL: endpoint}}, Body: []byte(body)}
	}
	for _, tt := range []struct {
		name   string
		err    error
		ends   string
		policy string
	}{
		{"a dead grant", answer(400, `{"error":"invalid_grant"}`), AsNeedsUser, "google_oauth"},
		{"an outage", answer(503, ""), "200", "google_oauth"},
		{"a lost answer, and a refresh that can be repeated", &url.Error{Op: "Post", URL: endpoint.String(), Err: io.ErrUnexpectedEOF}, "200", "google_oauth"},
		{"a lost answer of the request's own", &url.Error{Op: "Post", URL: "https://gmail.googleapis.com/gmail/v1/users/me/messages/send", Err: io.ErrUnexpectedEOF}, AsAmbiguous, "gmail"},
		{"a lost answer of an API call on the way", &url.Error{Op: "Get", URL: "https://gmail.googleapis.com/gmail/v1/users/me/profile", Err: io.ErrUnexpectedEOF}, AsAmbiguous, "gmail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				decided := ""
				seen := &notices{}
				e, err := New(Options{Observer: seen})
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				base := roundTripper(func(r *http.Request) (*http.Response, error) {
					if n++; n == 1 {
						return nil, tt.err
					}
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				})
				req, _ := http.NewRequestWithContext(WithAccount(t.Context(), "a"), "POST", "https://gmail.googleapis.com/gmail/v1/users/me/messages/send", strings.NewReader("mail"))
				got := ending(e.Transport(base).RoundTrip(req))
				for _, n := range seen.of(NoticeDecision) {
					decided = n.Decision.Rule.Policy
				}
				if got != tt.ends || decided != tt.policy {
					t.Errorf("ended as %s by %q, want %s by %q", got, decided, tt.ends, tt.policy)
				}
				nothingLeft(t, e)
			})
		})
	}
}

func TestKeyOf(t *testing.T) {
	k := limiter.Keys{Account: "a", App: "b", Tenant: "c", Host: "d", IP: "e", Device: "f", Operation: "g"}
	for dimension, want := range map[string]string{
		"account": "a", "app": "b", "tenant": "c", "host": "d", "ip": "e", "device": "f", "operation": "g", "provider": "", "": "",
	} {
		if got := keyOf(dimension, &k); got != want {
			t.Errorf("keyOf(%q) = %q, want %q", dimension, got, want)
		}
	}
}

// What an outage of a host is, in each protocol.
func TestEvidence(t *testing.T) {
	for _, tt := range []struct {
		e    rules.Event
		want breaker.Evidence
	}{
		{rules.Event{Protocol: "http", Status: 500}, breaker.Down},
		{rules.Event{Protocol: "http", Status: 429}, breaker.Up},
		{rules.Event{Protocol: "http", Network: "reset"}, breaker.Down},
		{rules.Event{Protocol: "http", Network: rules.NetworkCanceled}, breaker.None},
		{rules.Event{Protocol: "imap", IMAPStatus: "BYE"}, breaker.Down},
		{rules.Event{Protocol: "imap", IMAPStatus: "NO"}, breaker.Up},
		{rules.Event{Protocol: "smtp", Status: 421}, breaker.Down},
		{rules.Event{Protocol: "smtp", Status: 550}, breaker.Up},
	} {
		if got := evidence(&tt.e); got != tt.want {
			t.Errorf("evidence(%+v) = %v, want %v", tt.e, got, tt.want)
		}
	}
}
