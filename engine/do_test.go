package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/limiter"
)

func TestDo(t *testing.T) {
	boom := errors.New("boom")
	for _, tt := range []struct {
		name  string
		call  Call
		errs  []error
		as    string // "" = success
		after time.Duration
		n     int
	}{
		{name: "success", n: 1},
		{name: "an unknown error fails", errs: []error{boom}, as: AsPermanent, n: 1},
		{name: "permanent", errs: []error{Permanent(io.ErrUnexpectedEOF)}, as: AsPermanent, n: 1},
		{name: "retry after", errs: []error{RetryAfter(5*time.Second, boom)}, n: 2, after: 5 * time.Second},
		{name: "EOF on a read", call: Call{Method: "GET"}, errs: []error{io.ErrUnexpectedEOF}, n: 2, after: time.Second},
		{name: "EOF on a send", call: Call{Method: "POST"}, errs: []error{io.ErrUnexpectedEOF}, as: AsAmbiguous, n: 1},
		{name: "EOF on a send that is harmless to repeat", call: Call{Method: "POST", Idempotent: true}, errs: []error{io.ErrUnexpectedEOF}, n: 2, after: time.Second},
		{name: "attempts of the call", call: Call{Method: "GET", MaxAttempts: 2}, errs: []error{io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, nil}, as: AsExhausted, n: 2, after: time.Second},
		{name: "deferred work", call: Call{Method: "GET", State: failedThrice(t)}, errs: []error{io.ErrUnexpectedEOF}, as: AsExhausted, n: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{Rand: func() float64 { return 0 }})
				tt.call.Provider = "test"
				n := 0
				start := time.Now()
				err := e.Do(t.Context(), tt.call, func(context.Context) error {
					n++
					if n <= len(tt.errs) {
						return tt.errs[n-1]
					}
					return nil
				})
				var gave *GiveUpError
				errors.As(err, &gave)
				switch {
				case tt.as == "" && err != nil, tt.as != "" && (gave == nil || gave.Decision.As != tt.as):
					t.Errorf("got %v, want %q", err, tt.as)
				case gave != nil && !errors.Is(err, tt.errs[n-1]):
					t.Errorf("%v does not unwrap to %v", err, tt.errs[n-1])
				}
				if took := time.Since(start); n != tt.n || took != tt.after {
					t.Errorf("%d attempts in %v, want %d in %v", n, took, tt.n, tt.after)
				}
			})
		})
	}
}

// Each request of an attempt has the attempt's timeout, also after others.
func TestAttemptTimeoutOfLaterRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/items/2" {
				<-stuck
			}
			io.WriteString(w, "x")
		}))
		defer close(stuck)
		e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 30s\n")
		start := time.Now()
		err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET", MaxAttempts: 1}, func(ctx context.Context) error {
			for _, path := range []string{"/items/1", "/items/2"} {
				resp, err := base.RoundTrip(request(t, ctx, "GET", path, ""))
				if err != nil {
					return err
				}
				if err := e.CheckResponse(ctx, resp); err != nil {
					return err
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				time.Sleep(time.Minute) // storing it takes its time
			}
			return nil
		})
		if took := time.Since(start); took != 90*time.Second || !errors.Is(err, httpattempt.ErrTimeout) {
			t.Errorf("ended after %v: %v", took, err)
		}
	})
}

// A response that Value returns can be read, and its end lets go of everything.
func TestValueOfResponse(t *testing.T) {
	for _, how := range []string{"read", "closed", "stalled"} {
		synctest.Test(t, func(t *testing.T) {
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, strings.Repeat("x", 100<<10))
				if how == "stalled" {
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				}
			}))
			e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 30s\n")
			var inner context.Context
			resp, err := Value(t.Context(), e, Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(ctx context.Context) (*http.Response, error) {
				inner = ctx
				resp, err := base.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
				if err != nil {
					return nil, err
				}
				return resp, e.CheckResponse(ctx, resp)
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // nobody waits for the server meanwhile
			if how != "closed" {
				b, err := io.ReadAll(resp.Body)
				if stalled := errors.Is(err, httpattempt.ErrTimeout); len(b) != 100<<10 || stalled != (how == "stalled") || err != nil && !stalled {
					t.Errorf("%s: %d bytes, error %v", how, len(b), err)
				}
			}
			resp.Body.Close()
			if inner.Err() == nil {
				t.Errorf("%s: the attempt's context outlives the body", how)
			}
		})
	}
}

// A refusal that is joined with a lost request does not speak for it.
func TestJoinedErrors(t *testing.T) {
	throttled := &ResponseError{Status: 429, Header: http.Header{"Retry-After": {"1"}}}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want string
	}{
		{throttled, "200"},
		{fmt.Errorf("page 3: %w", throttled), "200"},
		{errors.Join(io.ErrUnexpectedEOF, throttled), AsAmbiguous},
		{errors.Join(io.ErrUnexpectedEOF, refused), AsAmbiguous},
		{errors.Join(refused, refused), "200"},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := "200"
			err := testEngine(t, Options{}).Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "POST"}, func(ctx context.Context) error {
				if Attempt(ctx) == 1 {
					return c.err
				}
				return nil
			})
			if err != nil {
				got = ending(nil, err)
			}
			if got != c.want || err != nil && !errors.Is(err, c.err) {
				t.Errorf("%q: %s (%v), want %s", c.err, got, err, c.want)
			}
		})
	}
}

// An attempt's context ends with it, whatever becomes of its responses.
func TestAttemptContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/items/none" {
				w.WriteHeader(204)
				return
			}
			io.WriteString(w, `{"a":1}`)
			w.(http.Flusher).Flush()
			io.WriteString(w, strings.Repeat(" ", 1<<20))
		}))
		e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 30s\n")
		for _, path := range []string{"/items/1", "/items/none"} {
			var inner context.Context
			err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(ctx context.Context) error {
				inner = ctx
				resp, err := base.RoundTrip(request(t, ctx, "GET", path, ""))
				if err != nil {
					return err
				}
				defer resp.Body.Close() // of the body as it is now
				if err := e.CheckResponse(ctx, resp); err != nil {
					return err
				}
				resp.Body.Read(make([]byte, 7))
				return nil
			})
			if err != nil || inner.Err() == nil {
				t.Errorf("%s: error %v, and the attempt's context says %v", path, err, inner.Err())
			}
		}
	})
}

// What Transport has decided about a response inside Do stands.
func TestDoOverTransport(t *testing.T) {
	for status, want := range map[int]string{503: AsExhausted, 404: AsPermanent, 410: "", 200: ""} {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{})
			s := newServer(slices.Repeat([]reply{{status: status}}, 100)...)
			client := &http.Client{Transport: e.Transport(s)}
			err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "b"}, Method: "GET"}, func(ctx context.Context) error {
				resp, err := client.Do(request(t, ctx, "GET", "/items/1", ""))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return e.CheckResponse(ctx, resp)
			})
			as := ""
			if gave, ok := errors.AsType[*GiveUpError](err); ok {
				as = gave.Decision.As
			}
			if resp, ok := errors.AsType[*ResponseError](err); as != want || len(s.sent) > 4 || ok && resp.Status != status || (want != "") != ok {
				t.Errorf("HTTP %d: %v after %d requests, want %q", status, err, len(s.sent), want)
			}
		})
	}
}

// A connection that the server has switched to another protocol stays one.
func TestCheckResponseOf101(t *testing.T) {
	resp := &http.Response{StatusCode: 101, Body: struct{ io.ReadWriteCloser }{}}
	e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 5s\n")
	err := e.Do(t.Context(), Call{Provider: "test"}, func(ctx context.Context) error { return e.CheckResponse(ctx, resp) })
	if _, ok := resp.Body.(io.ReadWriteCloser); err != nil || !ok {
		t.Errorf("error %v, and the body is a %T", err, resp.Body)
	}
}

// A response that passes through two Values ends both attempts' contexts.
func TestValueInsideValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
		e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 30s\n")
		call := Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}
		var outer, inner context.Context
		resp, err := Value(t.Context(), e, call, func(ctx context.Context) (*http.Response, error) {
			outer = ctx
			return Value(ctx, e, call, func(ctx context.Context) (*http.Response, error) {
				inner = ctx
				return base.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if outer.Err() != nil || inner.Err() != nil {
			t.Errorf("before the body was read: outer %v, inner %v", outer.Err(), inner.Err())
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err != nil {
			t.Errorf("read %q, error %v", b, err)
		}
		resp.Body.Close()
		if outer.Err() == nil || inner.Err() == nil {
			t.Errorf("after it: outer %v, inner %v", outer.Err(), inner.Err())
		}
	})
}

// Value leaves a connection as it is.
func TestValueOf101(t *testing.T) {
	e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 5s\n")
	resp, err := Value(t.Context(), e, Call{Provider: "test"}, func(ctx context.Context) (*http.Response, error) {
		return &http.Response{StatusCode: 101, Body: struct{ io.ReadWriteCloser }{}}, nil
	})
	if _, ok := resp.Body.(io.ReadWriteCloser); err != nil || !ok {
		t.Errorf("error %v, and the body is a %T", err, resp.Body)
	}
}
