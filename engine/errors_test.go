package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// sdkError is the error type of some SDK, with a method of its own.
type sdkError struct{ Quota string }

func (e *sdkError) Error() string { return "sdk: quota of " + e.Quota }

// Whatever ends a call of Do, the caller finds the SDK's own error in it, and
// one of the two types around it.
func TestDoKeepsTheError(t *testing.T) {
	own := &sdkError{"mail"}
	classify := func(err error, e *rules.Event) bool {
		if _, ok := errors.AsType[*sdkError](err); !ok {
			return false
		}
		e.Protocol, e.Status = "http", 429
		return true
	}
	for _, tt := range []struct {
		name  string
		o     Options
		call  Call
		limit time.Duration // of the context
		err   error
		as    string // "" = deferred
		cause error
	}{
		{name: "default", err: fmt.Errorf("list: %w", own), as: AsPermanent},
		{name: "exhausted", o: Options{Classify: classify}, call: Call{MaxAttempts: 1}, err: own, as: AsExhausted},
		{name: "deadline", o: Options{Classify: classify}, limit: time.Millisecond, err: own, as: AsDeadline},
		{name: "deferred", o: Options{Classify: classify, MaxInline: time.Millisecond}, err: own},
		{name: "deferred by code", err: RetryAfter(time.Hour, own)},
		{name: "permanent by code", o: Options{Classify: classify}, err: Permanent(own), as: AsPermanent},
		{name: "permanent of backoff/v4", o: Options{Classify: classify}, err: backoff.Permanent(own), as: AsPermanent},
		{name: "an inner call was given up", o: Options{Classify: classify},
			err: &GiveUpError{Decision: Decision{As: AsResync}, Err: own}, as: AsResync},
		{name: "an inner call was handed back", o: Options{Classify: classify},
			err: &DeferError{Until: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC), Err: own}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, tt.o)
				ctx := t.Context()
				if tt.limit > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.limit)
					defer cancel()
				}
				call := tt.call
				call.Provider, call.Method = "test", "GET"
				n := 0
				err := e.Do(ctx, call, func(context.Context) error { n++; return tt.err })
				if got, ok := errors.AsType[*sdkError](err); !ok || got != own {
					t.Errorf("the SDK's error is lost: %v", err)
				}
				gave, isGiveUp := errors.AsType[*GiveUpError](err)
				later, isDefer := errors.AsType[*DeferError](err)
				switch {
				case n != 1:
					t.Errorf("%d attempts, want 1", n)
				case tt.as == "" && (!isDefer || later.Until.Before(time.Now())):
					t.Errorf("got %v, want a deferral", err)
				case tt.as != "" && (!isGiveUp || gave.Decision.As != tt.as):
					t.Errorf("got %v, want a give-up as %s", err, tt.as)
				case isGiveUp && gave.Decision.Rule == nil, isDefer && later.Decision.Rule == nil:
					t.Errorf("no rule in %v", err)
				}
			})
		})
	}
}

// Every end of Do but success is one of the two types, also before any attempt.
func TestDoEndsTyped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{})
		ok := func(context.Context) error { return nil }
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		past, cancel2 := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel2()
		for _, tt := range []struct {
			name string
			ctx  context.Context
			call Call
			as   string
			is   error
		}{
			{"no such provider", t.Context(), Call{Provider: "nobody"}, AsMisconfigured, nil},
			{"cancelled before", gone, Call{Provider: "test"}, AsCanceled, context.Canceled},
			{"past its deadline", past, Call{Provider: "test"}, AsDeadline, context.DeadlineExceeded},
			{"larger than a limit", t.Context(), Call{Provider: "test", N: 1000}, AsPermanent, nil},
		} {
			err := e.Do(tt.ctx, tt.call, ok)
			gave, is := errors.AsType[*GiveUpError](err)
			if !is || gave.Decision.As != tt.as || gave.Decision.Rule == nil || gave.Attempts != 0 || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s: got %#v, want a give-up as %s", tt.name, err, tt.as)
			}
			if tt.name == "larger than a limit" {
				if large, ok := errors.AsType[*limiter.TooLargeError](err); !ok || large.MaxN != 100 {
					t.Errorf("%s: got %v, want the limiter's error with the largest N", tt.name, err)
				}
			}
		}
	})
}

func TestValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{})
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		for name, d := range map[string]Doer{"engine": e, "provider": p} {
			n := 0
			got, err := Value(t.Context(), d, Call{Provider: "test", Method: "GET"}, func(context.Context) ([]string, error) {
				if n++; n == 1 {
					return []string{"half"}, io.ErrUnexpectedEOF
				}
				return []string{"a", "b"}, nil
			})
			if err != nil || len(got) != 2 || n != 2 {
				t.Errorf("%s: got %q, %v after %d attempts", name, got, err, n)
			}
			got, err = Value(t.Context(), d, Call{Provider: "test", Method: "GET"}, func(context.Context) ([]string, error) {
				return []string{"what there is"}, Permanent(io.EOF)
			})
			if !errors.Is(err, io.EOF) || len(got) != 1 {
				t.Errorf("%s: got %q, %v; want the last attempt's value beside its error", name, got, err)
			}
		}
	})
}

// What an error's text must not show.
func TestErrorsShowNoSecrets(t *testing.T) {
	const secret = "s3cr3t-t0k3n"
	for name, err := range map[string]error{
		"query":     &url.Error{Op: "Get", URL: "https://api.test/x?access_token=" + secret, Err: io.EOF},
		"fragment":  errors.New(`redirect to https://app.test/cb#id_token=` + secret + ` refused`),
		"user":      &url.Error{Op: "Get", URL: "https://ann:" + secret + "@api.test/x", Err: io.EOF},
		"nested":    fmt.Errorf("sync: %w", &url.Error{Op: "Get", URL: "https://api.test/a", Err: &url.Error{Op: "Post", URL: "https://login.test/token?refresh_token=" + secret, Err: io.EOF}}),
		"two":       errors.Join(&url.Error{Op: "Get", URL: "https://a.test/?k=" + secret, Err: io.EOF}, &url.Error{Op: "Get", URL: "https://b.test/?k=" + secret, Err: io.EOF}),
		"bearer":    errors.New("bad header: Authorization: Bearer " + secret),
		"basic":     errors.New(`"authorization": "Basic ` + secret + `="`),
		"headers":   &ResponseError{Status: 401, Header: http.Header{"Set-Cookie": {secret}}, Body: []byte(secret)},
		"upper":     errors.New("HTTPS://API.TEST/x?sig=" + secret),
		"proxy":     errors.New(`proxyconnect tcp: dial "socks5://u:` + secret + `@proxy:1080"`),
		"textproto": &textproto.Error{Code: 535, Msg: "see https://mail.test/?continue=" + secret},
	} {
		for _, text := range []string{
			(&GiveUpError{Err: err}).Error(), (&GiveUpError{Err: io.EOF, Cause: err}).Error(), (&DeferError{Err: err, Cause: err}).Error(),
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

// The shapes of foreign libraries' errors, none of them a dependency.
type (
	googleapiError struct { // google.golang.org/api/googleapi.Error
		Code    int
		Message string
		Body    string
		Header  http.Header
	}
	RetrieveError struct { // golang.org/x/oauth2.RetrieveError
		Response         *http.Response
		Body             []byte
		ErrorCode        string
		ErrorDescription string
		ErrorURI         string
	}
	apiError struct { // github.com/microsoft/kiota-abstractions-go.ApiError
		Message            string
		ResponseStatusCode int
		ResponseHeaders    *responseHeaders
	}
	responseHeaders struct{ headers map[string][]string }
	odataError      struct { // Microsoft Graph's odataerrors.ODataError
		apiError
		main mainError
	}
	mainError struct{ code, message string }
)

func (e *googleapiError) Error() string           { return "googleapi: " + e.Message }
func (e *RetrieveError) Error() string            { return "oauth2: " + e.ErrorCode }
func (e *odataError) Error() string               { return e.main.message }
func (h *responseHeaders) Get(k string) []string  { return h.headers[strings.ToLower(k)] }
func (e *odataError) GetErrorEscaped() *mainError { return &e.main }
func (m *mainError) GetCode() *string             { return &m.code }
func (m *mainError) GetMessage() *string          { return &m.message }
func (h *responseHeaders) ListKeys() (keys []string) {
	for k := range h.headers {
		keys = append(keys, k)
	}
	return keys
}

// Do reads the errors of SDKs by their shapes, and decides by the packs.
func TestDoReadsSDKErrors(t *testing.T) {
	tokenResponse := func(u string, status int) *http.Response {
		parsed, _ := url.Parse(u)
		return &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{Method: "POST", URL: parsed}}
	}
	retrieve := func(u string, status int, body string) error {
		return &url.Error{Op: "Get", URL: "https://gmail.googleapis.com/x",
			Err: &RetrieveError{Response: tokenResponse(u, status), Body: []byte(body)}}
	}
	for _, tt := range []struct {
		name     string
		call     Call
		err      error
		again    bool
		wait     time.Duration
		as, rule string
		policy   string
	}{
		{name: "googleapi, throttled with a time inside the text",
			call: Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get"}, Method: "GET"},
			err: &googleapiError{Code: 403, Body: `{"error":{"code":403,"errors":[{"reason":"rateLimitExceeded"}],"message":"User-rate limit exceeded.  Retry after 2000-01-01T00:00:20Z"}}`,
				Header: http.Header{"Content-Type": {"application/json"}}},
			again: true, wait: 20 * time.Second, policy: "gmail"},
		{name: "googleapi, history gone",
			call: Call{Provider: "gmail", Keys: limiter.Keys{Operation: "history.list"}, Method: "GET"},
			err:  &googleapiError{Code: 404, Body: `{"error":{"code":404,"errors":[{"reason":"notFound"}]}}`}, as: AsResync, policy: "gmail"},
		{name: "OData, throttled with Retry-After",
			call: Call{Provider: "microsoft_graph", Keys: limiter.Keys{Operation: "messages.list"}, Method: "GET"},
			err: &odataError{apiError{ResponseStatusCode: 429, ResponseHeaders: &responseHeaders{map[string][]string{"retry-after": {"12"}}}},
				mainError{"ApplicationThrottled", "Application is over its MailboxConcurrency limit."}},
			again: true, wait: 12 * time.Second, policy: "microsoft_graph"},
		{name: "textproto, a temporary refusal",
			call: Call{Provider: "smtp", Keys: limiter.Keys{Operation: "MAIL"}, Method: "MAIL"},
			err:  &textproto.Error{Code: 451, Msg: "4.7.1 try again later"}, again: true, policy: "smtp"},
		{name: "textproto, no such user",
			call: Call{Provider: "smtp", Keys: limiter.Keys{Operation: "RCPT"}, Method: "RCPT"},
			err:  &textproto.Error{Code: 550, Msg: "5.1.1 no such user"}, as: AsPermanent, policy: "smtp"},
		{name: "oauth2, a dead grant at Google",
			call: Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get"}, Method: "GET"},
			err:  retrieve("https://oauth2.googleapis.com/token", 400, `{"error":"invalid_grant"}`), as: AsNeedsUser, policy: "google_oauth"},
		{name: "oauth2, Entra's refresh loop looks like a dead grant",
			call:  Call{Provider: "microsoft_graph", Keys: limiter.Keys{Operation: "messages.list"}, Method: "GET"},
			err:   retrieve("https://login.microsoftonline.com/common/oauth2/v2.0/token", 400, `{"error":"invalid_grant","error_description":"AADSTS50196: The server terminated an operation because it encountered a client request loop.","error_codes":[50196]}`),
			again: true, policy: "entra"},
		{name: "oauth2, an endpoint that no policy knows",
			call: Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get"}, Method: "GET"},
			err:  retrieve("https://id.example.com/oauth/token", 400, `{"error":"invalid_grant"}`), as: AsNeedsUser, policy: "oauth2"},
		{name: "oauth2, the endpoint is down, and a send that was never made goes on",
			call:  Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.send"}, Method: "POST"},
			err:   retrieve("https://oauth2.googleapis.com/token", 503, ""),
			again: true, policy: "google_oauth"},
		{name: "oauth2, a client that is refused says nothing about the grant",
			call: Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get"}, Method: "GET"},
			err:  retrieve("https://oauth2.googleapis.com/token", 401, `{"error":"invalid_client"}`), as: "operator", policy: "google_oauth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var decided Decision
				e, err := New(Options{MaxInline: time.Hour, Rand: func() float64 { return 0 }, Observer: ObserverFunc(func(_ context.Context, n *Notice) {
					if n.Kind == NoticeDecision {
						decided = *n.Decision
					}
				})})
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				start := time.Now()
				err = e.Do(t.Context(), tt.call, func(context.Context) error {
					if n++; n == 1 {
						return fmt.Errorf("call: %w", tt.err)
					}
					return nil
				})
				if tt.again {
					if err != nil || n != 2 || time.Since(start) < tt.wait {
						t.Errorf("got %v after %d attempts and %v, want a repeat after %v", err, n, time.Since(start), tt.wait)
					}
				} else if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != tt.as || !errors.Is(err, tt.err) {
					t.Errorf("got %v, want a give-up as %q", err, tt.as)
				}
				if decided.Rule == nil || decided.Rule.Policy != tt.policy || decided.Action == policy.Accept {
					t.Errorf("decided %v by %+v, want a rule of %q", decided.Action, decided.Rule, tt.policy)
				}
				nothingLeft(t, e)
			})
		})
	}
}

// An error's text names the provider of the call, also where the policy of a token
// endpoint has decided: of that only the rule is.
func TestErrorNamesTheProvider(t *testing.T) {
	for _, tt := range []struct {
		name string
		hook error // of Authorize
		in   bool  // Do around it
		want string
	}{
		{"the endpoint's policy gave up", io.EOF, false, `engine: gmail messages.get: gave up as exhausted after 6 attempts (rule "network" of "oauth2": `},
		{"the code gave up", errors.New("no token"), false, `engine: gmail messages.get: gave up as permanent after 1 attempt (rule "permanent": `},
		{"in a call inside", errors.New("no token"), true, `engine: gmail messages.get: gave up as permanent after 1 attempt (rule "inner": `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, err := New(Options{Authorize: func(*http.Request, string) error { return tt.hook }})
				if err != nil {
					t.Fatal(err)
				}
				send := func(ctx context.Context) error {
					req, err := http.NewRequestWithContext(WithAccount(ctx, "ann"), "GET", "https://gmail.googleapis.com/gmail/v1/users/me/messages/1", nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := e.Transport(nil).RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
					return err
				}
				if tt.in {
					err = e.Do(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Account: "ann", Operation: "messages.get"}}, send)
				} else {
					err = send(t.Context())
				}
				if got := fmt.Sprint(err); !strings.HasPrefix(got, tt.want) {
					t.Errorf("Authorize failed with %q: got %q, want %q…", tt.hook, got, tt.want)
				}
			})
		})
	}
}
