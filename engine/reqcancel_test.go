package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// http.Request.Cancel ends a call wherever it waits, also where it is net/http that
// waits, over HTTP/1.1 and HTTP/2.
func TestRequestCancel(t *testing.T) {
	inspects := loopYAML + "inspect: [{operations: [mark]}]\n"
	answer := func(status int, stall bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			if stall {
				<-r.Context().Done()
			}
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	for _, tt := range []struct {
		name   string
		yaml   string
		method string
		path   string
		body   func(pr *io.PipeReader) io.ReadCloser // that does not come
		length int64
		serve  []http.HandlerFunc
		at     time.Duration
		sent   int
		status int // of the answer, in the error
		own    int // of the answer, which is returned all the same
	}{
		{name: "the answer does not come", serve: []http.HandlerFunc{hang}, at: 3 * time.Second, sent: 1},
		{name: "the answer to a POST does not come", method: "POST", path: "/send", serve: []http.HandlerFunc{hang}, at: 3 * time.Second, sent: 1},
		{name: "the second answer does not come", serve: []http.HandlerFunc{answer(503, false), hang}, at: 3 * time.Second, sent: 2},
		{name: "the answer does not come in attempt_timeout", yaml: "attempt_timeout: 30s\n" + loopYAML, serve: []http.HandlerFunc{hang}, at: 3 * time.Second, sent: 1},
		{name: "the body of an error stalls", serve: []http.HandlerFunc{answer(503, true)}, at: 3 * time.Second, sent: 1, status: 503},
		{name: "the body of an inspected success stalls", yaml: inspects, method: "POST", path: "/mark", serve: []http.HandlerFunc{answer(200, true)}, at: 3 * time.Second, sent: 1, own: 200},
		{name: "backoff, the error drained", serve: []http.HandlerFunc{answer(503, false)}, at: 500 * time.Millisecond, sent: 1, status: 503},
		{name: "the request's body does not come, and is not kept", method: "POST", path: "/send", length: -1, at: 3 * time.Second, serve: []http.HandlerFunc{hang}, sent: 1,
			body: func(pr *io.PipeReader) io.ReadCloser { return pr }},
		{name: "the request's body does not come, and is to be kept", method: "POST", path: "/send", length: 10, at: 3 * time.Second,
			body: func(pr *io.PipeReader) io.ReadCloser { return pr }},
		{name: "it does not come, and Close does nothing", method: "POST", path: "/send", length: 10, at: 3 * time.Second,
			body: func(pr *io.PipeReader) io.ReadCloser { return io.NopCloser(pr) }},
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
			for _, by := range []string{"Request.Cancel", "context"} {
				t.Run(fmt.Sprint(tt.name, "/", version, "/", by), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						protocols := new(http.Protocols)
						protocols.SetHTTP1(version == "HTTP/1.1")
						protocols.SetUnencryptedHTTP2(version == "HTTP/2")
						seen := make(chan struct{}, 10)
						base := serveBy(t, protocols, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							seen <- struct{}{}
							tt.serve[min(len(seen), len(tt.serve))-1](w, r)
						}))
						if tt.yaml == "" {
							tt.yaml = loopYAML
						}
						if tt.method == "" {
							tt.method, tt.path = "GET", "/items/1"
						}
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						var out Result
						ctx = WithCall(ctx, Call{Keys: limiter.Keys{Account: "a"}, Outcome: &out})
						req := request(t, ctx, tt.method, tt.path, "")
						if tt.body != nil {
							pr, pw := io.Pipe()
							defer pw.Close()
							req.Body, req.ContentLength = tt.body(pr), tt.length
						}
						end := cancel
						if by != "context" {
							canceled := make(chan struct{})
							//lint:ignore SA1019 it must end a wait all the same
							req.Cancel = canceled
							end = func() { close(canceled) }
						}
						start := time.Now()
						time.AfterFunc(tt.at, end)
						e := testEngine(t, Options{Rand: func() float64 { return 0 }}, tt.yaml)
						resp, err := e.Transport(base).RoundTrip(req)
						if took := time.Since(start); took != tt.at {
							t.Errorf("took %v, want %v", took, tt.at)
						}
						if n := len(seen); n != tt.sent {
							t.Errorf("sent %d requests, want %d", n, tt.sent)
						}
						if tt.own != 0 {
							if err != nil || resp.StatusCode != tt.own {
								t.Fatalf("got %v, want HTTP %d", err, tt.own)
							}
							if b, err := io.ReadAll(resp.Body); err == nil {
								t.Errorf("the body is whole: %q", b)
							}
							resp.Body.Close()
							return
						}
						if err == nil {
							resp.Body.Close()
							t.Fatalf("got HTTP %d, want an error", resp.StatusCode)
						}
						gave, ok := errors.AsType[*GiveUpError](err)
						if !ok || gave.Decision.As != AsCanceled || gave.Decision.Reason != decision.ReasonCanceled || !errors.Is(err, context.Canceled) || out.Decision.As != AsCanceled {
							t.Errorf("got %v, outcome %q, want a give-up as canceled", err, out.Decision.As)
						}
						if last, _ := errors.AsType[*ResponseError](err); (last != nil) != (tt.status != 0) || last != nil && last.Status != tt.status {
							t.Errorf("got %v, want HTTP %d in it", err, tt.status)
						}
					})
				})
			}
		}
	}
}

// A base that words the end of a request itself is asked nothing: the caller has
// given up.
func TestRequestCancelInOwnWords(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			canceled := make(chan struct{})
			sent := 0
			req := request(t, t.Context(), method, "/send", "mail")
			//lint:ignore SA1019 it must end a call all the same
			req.Cancel = canceled
			_, err := testEngine(t, Options{}).Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				sent++
				close(canceled)
				return nil, errors.New("gone fishing")
			})).RoundTrip(req)
			gave, ok := errors.AsType[*GiveUpError](err)
			if !ok || gave.Decision.As != AsCanceled || sent != 1 || !strings.Contains(errors.Unwrap(err).Error(), "fishing") {
				t.Errorf("%s: got %v after %d requests, want a give-up as canceled", method, err, sent)
			}
		})
	}
}

// A response that nobody reads or closes gives its permit back when the caller
// gives up, since net/http frees its connection then.
func TestRequestCancelFreesThePermit(t *testing.T) {
	yaml := overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n"
	for _, status := range []int{200, 404} {
		synctest.Test(t, func(t *testing.T) {
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				io.WriteString(w, strings.Repeat("x", 1<<20))
			}))
			e := testEngine(t, Options{}, yaml)
			get := func() chan struct{} {
				canceled := make(chan struct{})
				req := request(t, t.Context(), "GET", "/items/1", "")
				//lint:ignore SA1019 it must free a permit all the same
				req.Cancel = canceled
				resp, err := e.Transport(base).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { resp.Body.Close() })
				return canceled
			}
			start := time.Now()
			first := get()
			time.AfterFunc(time.Second, func() { close(first) })
			second := get() // waits for the permit
			if took := time.Since(start); took != time.Second {
				t.Errorf("HTTP %d: took %v, want 1s", status, took)
			}
			close(second)
			synctest.Wait()
		})
	}
}
