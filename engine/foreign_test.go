package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// selfError wraps itself.
type selfError struct{}

func (e *selfError) Error() string { return "self" }
func (e *selfError) Unwrap() error { return e }

// circleError wraps itself twice, so that looking at all of it takes longer
// with each level.
type circleError struct{}

func (e *circleError) Error() string   { return "circle" }
func (e *circleError) Unwrap() []error { return []error{e, e} }

// foreignErrors are errors that package errors cannot look into.
func foreignErrors() map[string]error {
	var nilURL *url.Error
	var nilRetrieve *RetrieveError
	wide := make([]error, 5000)
	for i := range wide {
		wide[i] = &selfError{}
	}
	return map[string]error{
		"itself":                 &selfError{},
		"a circle":               &circleError{},
		"itself, joined":         errors.Join(io.EOF, &selfError{}),
		"itself, in an answer":   fmt.Errorf("%w: %w", &ResponseError{Status: 503}, &selfError{}),
		"itself, in a give-up":   &GiveUpError{Decision: Decision{As: AsExhausted}, Err: &selfError{}},
		"itself, in a hand-back": &DeferError{Until: time.Now().Add(time.Second), Err: &selfError{}, Cause: &circleError{}},
		"itself, permanent":      Permanent(&selfError{}),
		"itself, to come back":   RetryAfter(time.Second, &selfError{}),
		"too many":               errors.Join(wide...),
		"typed nil":              nilURL,
		"typed nil, wrapped":     fmt.Errorf("inside: %w", nilURL),
		"typed nil, joined":      errors.Join(io.EOF, nilURL),
		"typed nil answer":       (*ResponseError)(nil),
		"typed nil give-up":      (*GiveUpError)(nil),
		"typed nil hand-back":    (*DeferError)(nil),
		"typed nil circle":       (*circleError)(nil),
		"typed nil of x/oauth2":  nilRetrieve,
		"panics in Error":        hostileError{"Error"},
		"panics in Unwrap":       hostileError{"Unwrap"},
		"panics in Is":           hostileError{"Is"},
		"panics in As":           hostileError{"As"},
		"panics in Timeout":      hostileError{"Timeout"},
	}
}

// Whatever error foreign code returns, the call ends, nothing panics, and who
// asks about the end by package errors gets an answer.
func TestForeignErrors(t *testing.T) {
	for where, call := range map[string]func(t *testing.T, e *Engine, foreign error) error{
		"Do": func(t *testing.T, e *Engine, foreign error) error {
			return e.Do(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get", Account: "a"}}, func(context.Context) error { return foreign })
		},
		"Do in Do": func(t *testing.T, e *Engine, foreign error) error {
			c := Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.get"}}
			return e.Do(t.Context(), c, func(ctx context.Context) error {
				return e.Do(ctx, c, func(context.Context) error { return foreign })
			})
		},
		"Transport": func(t *testing.T, e *Engine, foreign error) error {
			tr := e.Transport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, foreign }))
			_, err := tr.RoundTrip(foreignRequest(t, "POST", gmailURL, "mail"))
			return err
		},
		"the token endpoint's Transport": func(t *testing.T, e *Engine, foreign error) error {
			tr := e.Transport(roundTripper(func(*http.Request) (*http.Response, error) { return nil, foreign }))
			_, err := tr.RoundTrip(foreignRequest(t, "POST", unknownIdP, "grant_type=refresh_token"))
			return err
		},
		"Reauth": func(t *testing.T, e *Engine, foreign error) error {
			return e.Do(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Account: "reauth"}, MaxInline: 1}, refused401)
		},
		"Authorize": func(t *testing.T, e *Engine, foreign error) error {
			tr := e.Transport(answers(func(*http.Request) int { return 200 }))
			_, err := tr.RoundTrip(foreignRequest(t, "GET", gmailURL, "").WithContext(WithAccount(t.Context(), "authorize")))
			return err
		},
		"a request's body": func(t *testing.T, e *Engine, foreign error) error {
			tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				_, err := io.Copy(io.Discard, req.Body)
				return nil, err
			}))
			req := foreignRequest(t, "PUT", gmailURL, "")
			req.Body, req.GetBody, req.ContentLength = io.NopCloser(brokenReader{foreign}), nil, 10
			_, err := tr.RoundTrip(req)
			return err
		},
		"a response's body": func(t *testing.T, e *Engine, foreign error) error {
			tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 403, Header: http.Header{}, Body: io.NopCloser(brokenReader{foreign}), Request: req}, nil
			}))
			return e.Do(t.Context(), Call{Provider: "gmail"}, func(ctx context.Context) error {
				resp, err := tr.RoundTrip(foreignRequest(t, "GET", gmailURL, "").WithContext(ctx))
				if err != nil {
					return err
				}
				return e.CheckResponse(ctx, resp)
			})
		},
	} {
		for name, foreign := range foreignErrors() {
			t.Run(where+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					e := builtinEngine(t, Options{
						Observer: LogObserver(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
						Recent:   10,
						Reauth:   Reauth{Refresh: func(context.Context, ReauthRequest) error { return foreign }},
						Authorize: func(_ *http.Request, account string) error {
							if account == "authorize" {
								return foreign
							}
							return nil
						},
					})
					err := call(t, e, foreign)
					if where == "Authorize" && err == nil {
						return // a response, once the hook's error was taken for a wait
					}
					gave, isGiveUp := errors.AsType[*GiveUpError](err)
					_, isDefer := errors.AsType[*DeferError](err)
					if !isGiveUp && !isDefer || err.Error() == "" {
						t.Errorf("ended with %v", err)
					}
					if errors.Is(err, http.ErrNotSupported) {
						t.Errorf("%v is an error that nobody has returned", err)
					}
					if isGiveUp {
						gave.Timeout()
					}
					if (where == "Do" || where == "Transport") && !kept(err, foreign) {
						t.Errorf("%#v is lost: %#v", foreign, err)
					}
				})
			})
		}
	}
}

func foreignRequest(t *testing.T, method, url, body string) *http.Request {
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// kept reports whether what Do or Transport returned has the attempt's error.
func kept(err, attempt error) bool {
	switch e := err.(type) {
	case *GiveUpError:
		return e.Err == attempt
	case *DeferError:
		return e.Err == attempt
	}
	return false
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// An error that package errors cannot look into is still found by it in what Do returns.
func TestForeignErrorIsFound(t *testing.T) {
	e := builtinEngine(t, Options{})
	err := e.Do(t.Context(), Call{Provider: "gmail"}, func(context.Context) error {
		return fmt.Errorf("outer: %w", errors.Join(&selfError{}, io.ErrShortWrite))
	})
	self, ok := errors.AsType[*selfError](err)
	if !ok || self == nil {
		t.Errorf("%v: the *selfError is not found", err)
	}
	sane := fmt.Errorf("sane: %w", io.ErrShortWrite)
	err = e.Do(t.Context(), Call{Provider: "gmail"}, func(context.Context) error { return sane })
	if got := errors.Unwrap(err); got != sane {
		t.Errorf("Unwrap gave %#v, want the attempt's error itself", got)
	}
}
