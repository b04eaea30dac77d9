package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
)

// What is returned in the end is whole, however large.
func TestTransportLastBodyIsWhole(t *testing.T) {
	for _, size := range []int{0, 1, 64 << 10, 64<<10 + 1, 3 << 20} {
		for _, status := range []int{200, 404, 410} { // a success, a failure, an accepted failure
			synctest.Test(t, func(t *testing.T) {
				want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Trailer", "X-Sum")
					w.WriteHeader(status)
					w.Write(want)
					w.Header().Set("X-Sum", "42")
				}))
				e := testEngine(t, Options{})
				resp, err := e.Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || !bytes.Equal(got, want) || resp.StatusCode != status || resp.Trailer.Get("X-Sum") != "42" {
					t.Errorf("HTTP %d, %d bytes: got %d, %v, trailer %q", status, size, len(got), err, resp.Trailer)
				}
			})
		}
	}
}

// A body-less answer keeps no permit, since nobody need close it.
func TestTransportBodilessAnswers(t *testing.T) {
	const yaml = overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n" +
		"attempt_timeout: 30s\n"
	synctest.Test(t, func(t *testing.T) {
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			switch r.URL.Path {
			case "/204":
				w.Header().Del("Content-Length")
				w.WriteHeader(204)
			case "/304":
				w.WriteHeader(304)
			}
		}))
		e := testEngine(t, Options{}, yaml)
		for range 3 {
			for _, r := range []struct{ method, path string }{{"HEAD", "/"}, {"GET", "/204"}, {"GET", "/304"}} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				resp, err := e.Transport(base).RoundTrip(request(t, ctx, r.method, r.path, ""))
				if err != nil {
					t.Fatalf("%s %s: %v", r.method, r.path, err)
				}
				if r.method == "HEAD" && resp.ContentLength != 100 {
					t.Errorf("HEAD: Content-Length %d", resp.ContentLength)
				}
				cancel() // and nobody closes the body
			}
		}
	})
}

// countedBody tells how often it was closed, and whether it was read after.
type countedBody struct {
	io.Reader
	closed atomic.Int32
}

func (b *countedBody) Close() error { b.closed.Add(1); return nil }

// A RoundTripper closes the request's body, also when it sends nothing.
func TestTransportClosesRequestBodies(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	refuse := roundTripper(func(r *http.Request) (*http.Response, error) {
		r.Body.Close()
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	})
	for _, tt := range []struct {
		name string
		ctx  context.Context
		o    Options
		base http.RoundTripper
	}{
		{name: "success"},
		{name: "cancelled before", ctx: gone},
		{name: "over a limit", ctx: WithCall(context.Background(), Call{N: 1000})},
		{name: "no such provider", ctx: WithCall(context.Background(), Call{Provider: "nobody"})},
		{name: "never connected", base: refuse},
		{name: "no credentials", o: Options{Authorize: func(*http.Request, string) error { return errors.New("none") }}},
		{name: "refused", base: newServer(reply{status: 429}, reply{status: 503}, reply{status: 404})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := tt.ctx
				if ctx == nil {
					ctx = t.Context()
				}
				var mu sync.Mutex
				var bodies []*countedBody
				open := func() io.ReadCloser {
					mu.Lock()
					defer mu.Unlock()
					bodies = append(bodies, &countedBody{Reader: strings.NewReader("mail")})
					return bodies[len(bodies)-1]
				}
				req, _ := http.NewRequestWithContext(ctx, "POST", "http://api.test/mark", open())
				req.GetBody = func() (io.ReadCloser, error) { return open(), nil }
				base := tt.base
				if base == nil {
					base = newServer()
				}
				ending(testEngine(t, tt.o).Transport(base).RoundTrip(req))
				for i, b := range bodies {
					if b.closed.Load() == 0 {
						t.Errorf("body %d of %d was never closed", i+1, len(bodies))
					}
				}
			})
		})
	}
}

// A body that cannot be had again ends the call with the response that there is.
func TestTransportGetBodyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(reply{status: 429, body: "slow down"})
		req := request(t, t.Context(), "POST", "/send", "mail")
		broken := errors.New("the file is gone")
		req.GetBody = func() (io.ReadCloser, error) { return nil, broken }
		resp, err := testEngine(t, Options{}).Transport(s).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		out, _ := Outcome(resp)
		if string(b) != "slow down" || err != nil || out.Decision.Reason != decision.ReasonBody || out.Decision.As != AsPermanent || len(s.sent) != 1 {
			t.Errorf("got %q, %v as %q (%v) after %q", b, err, out.Decision.As, out.Decision.Reason, s.sent)
		}

		s = newServer(reply{err: &net.OpError{Op: "dial", Err: errors.New("connection refused")}})
		resp, err = testEngine(t, Options{}).Transport(s).RoundTrip(req.WithContext(t.Context()))
		if resp != nil || !errors.Is(err, broken) || !strings.Contains(fmt.Sprint(err), "refused") {
			t.Errorf("without a response: %v, %v; want both errors", resp, err)
		}
	})
}

// Expect: 100-continue works through: a refusal comes before the body goes out.
func TestTransportExpectContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n++; n == 1 {
				w.WriteHeader(429) // without reading the body
				return
			}
			b, _ := io.ReadAll(r.Body)
			w.Write(b)
		}))
		base.ExpectContinueTimeout = time.Hour
		req := request(t, t.Context(), "POST", "/send", "mail")
		req.Header.Set("Expect", "100-continue")
		resp, err := testEngine(t, Options{}).Transport(base).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(b) != "mail" || n != 2 || err != nil {
			t.Errorf("HTTP %d %q, %v after %d requests", resp.StatusCode, b, err, n)
		}
	})
}

// The idle timeout of a body is reported as such, and leaves no timer behind.
func TestTransportIdleBody(t *testing.T) {
	yaml := overLoop + "attempt_timeout: 2s\n"
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, yaml)
		resp, err := e.Transport(newServer(reply{status: 200, body: "half", stall: true})).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(resp.Body)
		nerr, ok := errors.AsType[net.Error](err)
		if !ok || !nerr.Timeout() || errors.Is(err, context.Canceled) && t.Context().Err() != nil {
			t.Errorf("read %v, want a timeout", err)
		}
		resp.Body.Close()
	})
}

// A failed response whose body only drips holds its worker for a moment only.
func TestDrippingErrorBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "."); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(time.Second)
			}
		}))
		base.MaxConnsPerHost = 1
		start := time.Now()
		resp, err := testEngine(t, Options{}).Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if took := time.Since(start); took > httpattempt.MaxHeadTime+time.Second || resp.StatusCode != 404 || len(b) < 5 || err != io.ErrUnexpectedEOF {
			t.Errorf("HTTP %d with %d bytes and error %v after %v", resp.StatusCode, len(b), err, took)
		}
		time.Sleep(2 * time.Second) // until the server has noticed
	})
}

// Where a policy says so, more of a body is looked at, or less.
func TestInspectMax(t *testing.T) {
	for _, c := range []struct {
		max string
		pad int
		as  string
	}{{"1MiB", 100 << 10, "hidden"}, {"64KiB", 100 << 10, ""}, {"1KiB", 2 << 10, ""}, {"1KiB", 10, "hidden"}} {
		yaml := overLoop + "inspect: [{status: 200, operations: [items.get], max: " + c.max + "}]\n" +
			"rules: [{name: hidden, when: 'status == 200 and code == \"bad\"', action: fail, as: hidden}]\n"
		synctest.Test(t, func(t *testing.T) {
			body := `{"pad":"` + strings.Repeat("x", c.pad) + `","error":{"code":"bad"}}`
			resp, err := testEngine(t, Options{}, yaml).Transport(newServer(reply{status: 200, body: body})).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if out, _ := Outcome(resp); out.Decision.As != c.as || string(b) != body || err != nil {
				t.Errorf("max %s, an error after %d bytes: as %q, want %q; %d of %d bytes, error %v", c.max, c.pad, out.Decision.As, c.as, len(b), len(body), err)
			}
		})
	}
}
