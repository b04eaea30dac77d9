package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// A provider that there is no policy of is a mistake of the configuration, and
// the error says which one was meant.
func TestUnknownProvider(t *testing.T) {
	e := testEngine(t, Options{}, "version: 1\nprovider: gmail\nextends: [test]\nmatch: [{host: gmail.test}]\n")
	base := newServer()
	for _, tt := range []struct{ provider, text string }{
		{"gmial", `no policy for provider "gmial" (did you mean "gmail"?)`},
		{"Test", `no policy for provider "Test" (did you mean "test"?)`},
		{"nylas_v3", `no policy for provider "nylas_v3"`},
		{"", `no policy for provider "": the call names none`},
	} {
		call := Call{Provider: tt.provider, Keys: limiter.Keys{Account: "a", Operation: "items.get"}}
		errs := map[string]error{"Do": e.Do(t.Context(), call, func(context.Context) error { t.Error("it was called"); return nil })}
		if tt.provider != "" {
			_, errs["Transport"] = e.Transport(base).RoundTrip(request(t, WithCall(t.Context(), call), "POST", "/send", "mail"))
		}
		for by, err := range errs {
			gave, ok := errors.AsType[*GiveUpError](err)
			if !ok || gave.Decision.As != AsMisconfigured || gave.Decision.Action != policy.Fail || !strings.HasSuffix(err.Error(), tt.text) {
				t.Errorf("%s, provider %q: got %v\nwant a give-up as %s that ends with %s", by, tt.provider, err, AsMisconfigured, tt.text)
			}
		}
	}
	if len(base.sent) > 0 {
		t.Errorf("sent %q", base.sent)
	}
	if _, err := e.Provider("gmial"); err == nil || !strings.Contains(err.Error(), `did you mean "gmail"?`) {
		t.Errorf("Provider: %v", err)
	}
}

// A call without an account is noticed once a provider, where an account would
// matter, or refused.
func TestWithoutAccount(t *testing.T) {
	const byHost = overLoop + `
limits:
  - {name: inflight, key: host, concurrency: 2}
  - {name: requests, key: host, rate: 100/s, burst: 100}
  - {name: sending, key: host, operations: [send]}
`
	const withoutReauth = byHost + "rules: [{name: token, when: status == 401, action: fail}]\n"
	const sendingByAccount = overLoop + `
limits:
  - {name: inflight, key: host, concurrency: 2}
  - {name: requests, key: host, rate: 100/s, burst: 100}
  - {name: sending, key: account, operations: [send]}
`
	const tokens = overLoop + `
operations: [{method: POST, path: /send, operation: send, token: true}]
rules: [{name: token, when: 'status == 401 and operation != "send"', action: reauth}]
`
	reauth := func(context.Context, ReauthRequest) error { return nil }
	for _, tt := range []struct {
		name string
		yaml string
		o    Options
		call Call
		told bool
	}{
		{name: "limits by account", yaml: loopYAML, told: true},
		{name: "with an account", yaml: loopYAML, call: Call{Keys: limiter.Keys{Account: "a"}}},
		{name: "limits by host", yaml: byHost},
		{name: "credentials", yaml: byHost, o: Options{Reauth: Reauth{Refresh: reauth}}, told: true},
		{name: "credentials of requests", yaml: byHost, o: Options{Authorize: func(*http.Request, string) error { return nil }}, told: true},
		{name: "a policy that never refreshes them", yaml: withoutReauth, o: Options{Reauth: Reauth{Refresh: reauth}}},
		{name: "a request for tokens", yaml: tokens, o: Options{Reauth: Reauth{Refresh: reauth}}, call: Call{Keys: limiter.Keys{Operation: "send"}}},
		{name: "an operation that no such limit counts", yaml: sendingByAccount, call: Call{Keys: limiter.Keys{Operation: "items.get"}}},
	} {
		for _, required := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, required: %v", tt.name, required), func(t *testing.T) {
				seen := &notices{}
				tt.o.Observer, tt.o.RequireAccount = seen, required
				e := testEngine(t, tt.o, tt.yaml)
				s := newServer()
				for range 3 {
					call := tt.call
					call.Provider = "test"
					err := e.Do(t.Context(), call, func(context.Context) error { return nil })
					req, _ := http.NewRequestWithContext(WithCall(t.Context(), call), "GET", "https://api.test/items/1", nil)
					resp, err2 := e.Transport(s).RoundTrip(req)
					if err2 == nil {
						resp.Body.Close()
					}
					for _, err := range []error{err, err2} {
						gave, _ := errors.AsType[*GiveUpError](err)
						if (gave != nil) != (tt.told && required) || gave != nil && (gave.Decision.As != AsMisconfigured || gave.Decision.Reason != decision.ReasonNoAccount) {
							t.Errorf("got %v", err)
						}
					}
				}
				want, sent := 0, 3
				if tt.told && !required {
					want = 1
				}
				if tt.told && required {
					sent = 0
				}
				if n := len(seen.of(NoticeNoAccount)); n != want || len(s.sent) != sent {
					t.Errorf("noticed %d times, sent %d; want %d, %d", n, len(s.sent), want, sent)
				}
			})
		}
	}
}

// What a set without the built-in policies does not claim is not sent bare: the
// built-in `http` decides, and a host that a built-in policy claims is noticed.
func TestUnclaimedHosts(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		over      bool
		told      string
	}{
		{"a host of gmail", "https://gmail.googleapis.com/gmail/v1/users/me/messages", false, `gmail.googleapis.com is claimed by the built-in policy "gmail"`},
		{"by its path", "https://www.googleapis.com/calendar/v3/users/me/calendarList", false, `www.googleapis.com is claimed by the built-in policy "google_calendar"`},
		{"a host of nobody", "https://dav.example.com/", false, ""},
		{"over the built-in policies", "https://gmail.googleapis.com/gmail/v1/users/me/messages", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var o policy.LoadOptions
			if tt.over {
				o.Over = policy.Builtin()
			}
			set, diags := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(loopYAML)}}, o)
			if set == nil {
				t.Fatal(diags.Err())
			}
			seen := &notices{}
			e, err := New(Options{Policies: set, Observer: seen, MaxInline: 1})
			if err != nil {
				t.Fatal(err)
			}
			for _, account := range []string{"a", "b"} {
				req, _ := http.NewRequestWithContext(WithAccount(t.Context(), account), "GET", tt.url, nil)
				resp, err := e.Transport(newServer(reply{status: 429, header: "Retry-After: 5"})).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if out, ok := Outcome(resp); !ok || !out.Decision.Defer || !tt.over && out.Decision.Rule.Policy != "http" {
					t.Errorf("a throttle is not decided: %+v", out.Decision)
				}
			}
			told := seen.of(NoticeUnclaimed)
			if (len(told) == 1) != (tt.told != "") || len(told) > 0 && !strings.Contains(told[0].Err.Error(), tt.told) {
				t.Errorf("told %+v, want %q once", told, tt.told)
			}
		})
	}
}

// The log says once what is not set up right.
func TestLogOfMisconfiguration(t *testing.T) {
	var text bytes.Buffer
	e := testEngine(t, Options{Observer: LogObserver(slog.New(slog.NewTextHandler(&text, nil)))})
	for range 2 {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
		resp, err := e.Transport(newServer()).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for _, want := range []string{
		`level=WARN msg="call without an account" provider=http`,
		`level=WARN msg="no policy for a host of a built-in one" provider=http`,
	} {
		if n := strings.Count(text.String(), want); n != 1 {
			t.Errorf("%d times %s in\n%s", n, want, text.String())
		}
	}
}
