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

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// The error behind a failed refresh stays in the chain of every error that it
// ends calls with, and nothing that may be a secret in their texts.
func TestReauthErrorsTellWhyButNoSecret(t *testing.T) {
	u, _ := url.Parse("https://oauth2.googleapis.com/token?client_secret=s3cret")
	retrieve := func(status int, code string) error {
		return fmt.Errorf("refresh: %w", &retrieveErrorLike{
			RetrieveError: RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{URL: u}}, Body: []byte(`{"error":"` + code + `","hint":"refresh_token s3cret"}`)},
		})
	}
	for _, tt := range []struct {
		name string
		err  error
		says string
	}{
		{"a dead grant", retrieve(400, "invalid_grant"), "oauth2: HTTP 400 Bad Request"},
		{"an outage", retrieve(503, "x"), "oauth2: HTTP 503 Service Unavailable"},
		{"lost", &url.Error{Op: "Post", URL: u.String(), Err: io.EOF}, "oauth2.googleapis.com/token"},
		{"handed back", &DeferError{Until: time.Now().AddDate(50, 0, 0), Err: &url.Error{Op: "Post", URL: u.String(), Err: io.EOF}}, "deferred"},
		{"given up", &GiveUpError{Decision: Decision{As: "operator"}, Err: retrieve(400, "invalid_client")}, "operator"},
		{"of a store", fmt.Errorf("redis: %w", io.EOF), "EOF"},
		{"of unknown cause", errors.New("sent Bearer s3cret-s3cret"), "*errors.errorString"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var notices []error
				e := builtinEngine(t, Options{
					Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return tt.err }},
					Observer: ObserverFunc(func(_ context.Context, n *Notice) {
						if n.Kind == NoticeReauth {
							notices = append(notices, n.Err)
						}
					}),
				})
				check := func(what string, err error) {
					t.Helper()
					if err == nil || !errors.Is(err, tt.err) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), tt.says) {
						t.Errorf("%s: %v, want %q in it, the hook's own error in its chain, and no secret", what, err, tt.says)
					}
				}
				call := Call{Provider: "gmail", Keys: limiter.Keys{Account: "a"}, MaxInline: 1}
				check("the refused call", e.Do(t.Context(), call, refused401))
				check("one that is stopped", e.Do(t.Context(), call, refused401))
				call.MaxInline = time.Hour
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				check("one whose deadline is sooner", e.Do(ctx, call, refused401))
				later, ok := errors.AsType[*DeferError](e.Do(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Account: "a"}, MaxInline: 1}, refused401))
				if ok && time.Until(later.Until) > decision.MaxAsked {
					t.Errorf("handed back until %v", later.Until)
				}
				for _, err := range notices {
					check("the observer's", err)
				}
				if len(notices) != 1 {
					t.Errorf("%d notices of a refresh, want 1", len(notices))
				}
			})
		})
	}
}

// retrieveErrorLike has the text of x/oauth2's.
type retrieveErrorLike struct{ RetrieveError }

func (r *retrieveErrorLike) Unwrap() error { return &r.RetrieveError }

func (r *retrieveErrorLike) Error() string { return "oauth2: " + r.RetrieveError.Error() }

// Of a token endpoint's answer the status and the code are shown, of others' errors
// the type alone.
func TestTextWithoutBodies(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&RetrieveError{}, "oauth2: no answer"},
		{&RetrieveError{Response: &http.Response{StatusCode: 599}, Body: []byte("s3cret")}, "oauth2: HTTP 599"},
		{fmt.Errorf("a: %w", &RetrieveError{Response: &http.Response{StatusCode: 400}, Body: []byte("s3cret")}), "oauth2: HTTP 400 Bad Request"},
		{&RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "invalid_grant"}, "oauth2: HTTP 400 Bad Request (invalid_grant)"},
		{&RetrieveError{Response: &http.Response{StatusCode: 400}, ErrorCode: "s3cr3t-t0k3n"}, "oauth2: HTTP 400 Bad Request (…)"},
		{fmt.Errorf("b: %w", &bodyError{"HTTP 500 with body", "s3cret"}), "*engine.bodyError"},
		{&ResponseError{Status: 400, Body: []byte("400")}, "HTTP 400 Bad Request"},
		{&ResponseError{Status: 400, Code: "token s3cr3t-t0k3n is invalid"}, "HTTP 400 Bad Request (…)"},
		{errors.Join(io.EOF, &bodyError{"x", "s3cret"}), "EOF; *engine.bodyError"},
		{Permanent(io.EOF), "EOF"},
		{&httpattempt.TimedOutError{Err: context.Canceled}, "engine: attempt timed out: context canceled"},
		{&httpattempt.TimedOutError{Err: fmt.Errorf("read: %w", httpattempt.ErrTimeout)}, "engine: attempt timed out"},
		{hookPanic("s3cret"), "engine: the Reauth hook panicked with a string"},
		{credential.ErrTooEarly, "engine: the credentials were refreshed a moment ago, and cannot be again yet"},
		{&limiter.WaitError{Limit: "sending", Until: time.Unix(0, 0).UTC(), Err: context.Canceled}, `limiter: limit "sending": gave up waiting: context canceled`},
		{&limiter.WaitError{Limit: "sending", Err: errors.New("s3cret")}, "*limiter.WaitError: *errors.errorString"},
		{wrapsNil{}, "*url.Error"},
		{wrapsItself{}, "…"},
	} {
		if got := shownText(tt.err); got != tt.want {
			t.Errorf("given %v\ngot  %q\nwant %q", tt.err, got, tt.want)
		}
	}
}

// What a failure shows: the answer's facts, the error, the kind of failure.
func TestFailureText(t *testing.T) {
	answer := &rules.Event{Protocol: "http", Status: 429, Codes: []string{"slowDown"}, Message: "Too many requests."}
	for _, tt := range []struct {
		name  string
		event *rules.Event
		err   error
		want  string
	}{
		{"nothing", nil, nil, ""},
		{"no facts", nil, io.EOF, "EOF"},
		{"response", answer, &ResponseError{Status: 429, Code: "slowDown"}, "HTTP 429 Too Many Requests (slowDown): Too many requests"},
		{"response alone", answer, nil, "HTTP 429 Too Many Requests (slowDown): Too many requests"},
		{"SDK", answer, fmt.Errorf("list: %w", &sdkError{"s3cret"}), "HTTP 429 Too Many Requests (slowDown): Too many requests: *engine.sdkError"},
		{"network", &rules.Event{Network: rules.NetworkReset}, &sdkError{"s3cret"}, "*engine.sdkError, network=reset"},
		{"SMTP", &rules.Event{Protocol: "smtp", Status: 535, Codes: []string{"5.7.8"}}, &textproto.Error{Code: 535, Msg: "s3cret"}, "SMTP 535 (5.7.8): reply 535"},
	} {
		if got := shownFailure(tt.event, tt.err); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

type bodyError struct{ text, Body string }

func (e *bodyError) Error() string { return e.text + ": " + e.Body }

type wrapsNil struct{}

type wrapsItself struct{}

func (e wrapsItself) Unwrap() []error { return []error{e} }
