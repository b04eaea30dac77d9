package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/rules"
)

// serve runs an HTTP server behind in-memory connections, which work inside a
// synctest bubble, and returns a transport to it.
func serve(t *testing.T, h http.Handler) *http.Transport {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: h}
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(l) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case l.conns <- server:
			return client, nil
		case <-l.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
		<-served
	})
	return tr
}

type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// With one connection to the host, nothing that Transport does keeps it.
func TestTransportMaxConnsPerHost(t *testing.T) {
	yaml := strings.Replace(loopYAML, "concurrency: 2", "concurrency: 1", 1)
	yaml = strings.Replace(yaml, "backoff:", "attempt_timeout: 30s\ninspect: [{status: 200, content_type: application/json}]\nbackoff:", 1)
	synctest.Test(t, func(t *testing.T) {
		big := strings.Repeat("x", 1<<20)
		var tr http.RoundTripper
		script := []func(http.ResponseWriter){
			func(w http.ResponseWriter) { w.WriteHeader(503); io.WriteString(w, "busy") },
			func(w http.ResponseWriter) { w.WriteHeader(503); io.WriteString(w, big) },
			func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(429)
				io.WriteString(w, big)
			},
			func(w http.ResponseWriter) { w.WriteHeader(401); io.WriteString(w, big) },
			func(w http.ResponseWriter) { w.WriteHeader(202) },
			func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, `{"fine":true}`)
			},
		}
		var mu sync.Mutex
		next := 0
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				return
			}
			mu.Lock()
			f := script[next%len(script)]
			next++
			mu.Unlock()
			f(w)
		}))
		base.MaxConnsPerHost = 1
		e := testEngine(t, Options{MaxInline: time.Hour, Reauth: func(ctx context.Context, r ReauthRequest) error {
			resp, err := tr.RoundTrip(request(t, WithAccount(ctx, "tokens"), "GET", "/token", ""))
			if err == nil {
				resp.Body.Close()
			}
			return err
		}}, yaml)
		tr = e.Transport(base)
		client := &http.Client{Transport: tr}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 3 {
					req := request(t, t.Context(), "GET", "/items/1", "")
					resp, err := client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		wg.Wait() // a hang is a deadlock of the bubble
	})
}

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

// Without limits and timeouts a success of a host that is known is the base's very own response.
func TestTransportSuccessIsUntouched(t *testing.T) {
	bare := strings.NewReplacer(loopYAML[strings.Index(loopYAML, "limits:"):strings.Index(loopYAML, "budget:")], "",
		", hold: sending", "", ", hold: requests", "").Replace(loopYAML)
	body := io.NopCloser(strings.NewReader("x"))
	resp := &http.Response{StatusCode: 200, Body: body}
	var sent *http.Request
	tr := testEngine(t, Options{}, bare).Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		sent, resp.Body = r, body
		return resp, nil
	}))
	req := request(t, t.Context(), "GET", "/items/1", "")
	if _, err := tr.RoundTrip(req); err != nil { // which learns the version of HTTP
		t.Fatal(err)
	}
	got, err := tr.RoundTrip(req)
	if err != nil || got != resp || got.Body != body || sent != req {
		t.Errorf("got %p with body %v for request %p, want %p, %v, %p", got, got.Body, sent, resp, body, req)
	}
}

// A body-less answer keeps no permit, since nobody need close it.
func TestTransportBodilessAnswers(t *testing.T) {
	yaml := strings.Replace(loopYAML, "concurrency: 2", "concurrency: 1", 1)
	yaml = strings.Replace(yaml, "backoff:", "attempt_timeout: 30s\nbackoff:", 1)
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

// Each attempt carries its number where that is wanted, the caller's request never.
func TestTransportAttemptHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			got = append(got, r.Header.Get("X-Attempt")+"/"+fmt.Sprint(Attempt(r.Context())))
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
		req := request(t, t.Context(), "GET", "/items/1", "")
		ending(testEngine(t, Options{AttemptHeader: "X-Attempt"}).Transport(base).RoundTrip(req))
		if want := "[1/1 2/2 3/3 4/4]"; fmt.Sprint(got) != want || len(req.Header) != 0 {
			t.Errorf("sent %v with %v in the caller's request, want %s", got, req.Header, want)
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
		if string(b) != "slow down" || err != nil || out.Decision.Reason != ReasonBody || out.Decision.As != AsPermanent || len(s.sent) != 1 {
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

// An upgraded connection is the caller's, in both directions, for as long as
// they like.
func TestTransportUpgrade(t *testing.T) {
	yaml := strings.Replace(loopYAML, "concurrency: 2", "concurrency: 1", 1)
	for name, y := range map[string]string{"plain": yaml, "attempt_timeout": strings.Replace(yaml, "backoff:", "attempt_timeout: 2s\nbackoff:", 1)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					c, rw, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
					line, _ := rw.ReadString('\n')
					io.WriteString(c, "echo "+line)
				}))
				e := testEngine(t, Options{}, y)
				req := request(t, t.Context(), "GET", "/push", "")
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "echo")
				resp, err := e.Transport(base).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				get(t, e, newServer()) // it keeps no permit
				conn, ok := resp.Body.(io.ReadWriteCloser)
				if resp.StatusCode != 101 || !ok {
					t.Fatalf("HTTP %d, body %T; want a connection", resp.StatusCode, resp.Body)
				}
				if _, ok := resp.Body.(interface{ CloseWrite() error }); !ok {
					t.Logf("%T cannot close one direction", resp.Body)
				}
				time.Sleep(time.Hour)
				if _, err := io.WriteString(conn, "hello\n"); err != nil {
					t.Error(err)
				}
				if line, err := bufio.NewReader(conn).ReadString('\n'); line != "echo hello\n" {
					t.Errorf("read %q, %v", line, err)
				}
				conn.Close()
			})
		})
	}
}

// http.Client follows redirects through it, each hop a request of its own.
func TestTransportRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			got = append(got, r.Method+" "+r.URL.Path+" "+string(b))
			switch len(got) {
			case 1:
				http.Redirect(w, r, "/mark", http.StatusTemporaryRedirect)
			case 2:
				w.WriteHeader(503)
			case 3:
				http.Redirect(w, r, "/items/1", http.StatusSeeOther)
			default:
				w.WriteHeader(404)
			}
		}))
		client := &http.Client{Transport: testEngine(t, Options{}).Transport(base)}
		req := request(t, t.Context(), "POST", "/send", "mail")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		out, ok := Outcome(resp)
		want := "[POST /send mail POST /mark mail POST /mark mail GET /items/1 ]"
		if fmt.Sprint(got) != want || !ok || out.Decision.Rule.Name != "default" || resp.Request.URL.Path != "/items/1" || resp.Request.Response == nil {
			t.Errorf("sent %v, want %s; outcome %v of %v", got, want, ok, resp.Request.URL)
		}
	})
}

// http.Client's own Timeout is a deadline like any other.
func TestTransportClientTimeout(t *testing.T) {
	run := func(name string, f func(*testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	run("a wait that does not fit", func(t *testing.T) {
		client := &http.Client{Transport: testEngine(t, Options{}).Transport(newServer(reply{status: 429, header: "Retry-After: 20", body: "slow"})), Timeout: 10 * time.Second}
		start := time.Now()
		resp, err := client.Do(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if out, _ := Outcome(resp); out.Decision.As != AsDeadline || string(b) != "slow" || err != nil || time.Since(start) != 0 {
			t.Errorf("got %q, %v as %q after %v", b, err, out.Decision.As, time.Since(start))
		}
	})
	run("an attempt that takes too long", func(t *testing.T) {
		client := &http.Client{Transport: testEngine(t, Options{}).Transport(newServer(reply{took: time.Hour})), Timeout: 10 * time.Second}
		start := time.Now()
		_, err := client.Do(request(t, t.Context(), "GET", "/items/1", ""))
		uerr, ok := err.(*url.Error)
		if !ok || !uerr.Timeout() || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v, want a timeout after 10 s", err, time.Since(start))
		}
	})
	run("a body that takes too long", func(t *testing.T) {
		client := &http.Client{Transport: testEngine(t, Options{}).Transport(newServer(reply{status: 200, body: "half", stall: true})), Timeout: 10 * time.Second}
		resp, err := client.Do(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != "half" || err == nil {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

// The idle timeout of a body is reported as such, and leaves no timer behind.
func TestTransportIdleBody(t *testing.T) {
	yaml := strings.Replace(loopYAML, "backoff:", "attempt_timeout: 2s\nbackoff:", 1)
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

// HTTP/2: retries, concurrent streams on one connection, cancellation.
func TestTransportHTTP2(t *testing.T) {
	yaml := strings.NewReplacer("initial: 1s, min: 1s, max: 8s", "initial: 1ms, min: 1ms, max: 1ms", "concurrency: 2", "concurrency: 50").Replace(loopYAML)
	var n atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
			return
		}
		if n.Add(1)%3 == 1 {
			w.WriteHeader(503)
			return
		}
		fmt.Fprintf(w, "%s %s", r.Proto, b)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	e := testEngine(t, Options{}, yaml)
	client := &http.Client{Transport: e.Transport(s.Client().Transport)}
	ctx := WithCall(t.Context(), Call{Provider: "test", Account: "a", Idempotent: true})
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			want := fmt.Sprintf("HTTP/2.0 body %d", i)
			req, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/mark", strings.NewReader(fmt.Sprintf("body %d", i)))
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 && resp.StatusCode != 503 || resp.StatusCode == 200 && string(b) != want || err != nil {
				t.Errorf("HTTP %d %q, %v; want %q", resp.StatusCode, b, err, want)
			}
		})
	}
	wg.Wait()
	hang, cancel := context.WithCancel(ctx)
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(hang, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }}), "POST", s.URL+"/hang", strings.NewReader("x"))
	_, err := client.Do(req)
	if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	s.Client().CloseIdleConnections()
}

// A request is not changed, whatever is added for its attempts.
func TestTransportLeavesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{AttemptHeader: "X-Attempt", Authorize: func(r *http.Request, _ string) error {
			r.Header.Set("Authorization", "Bearer x")
			r.URL.RawQuery = "key=x"
			return nil
		}})
		req := request(t, t.Context(), "POST", "/mark", "mail")
		req.Header.Set("X-Own", "1")
		ctx, u, body := req.Context(), *req.URL, req.Body
		ending(e.Transport(newServer(reply{status: 503}, reply{status: 503})).RoundTrip(req))
		if len(req.Header) != 1 || *req.URL != u || req.Context() != ctx || req.Body != body {
			t.Errorf("the caller's request has become %+v", req)
		}
	})
}

// What net/http allows, Transport takes: contexts that cannot be compared,
// requests without headers, hosts with a port and in capitals.
func TestTransportTakesAnyRequest(t *testing.T) {
	yaml := strings.Replace(loopYAML, "{host: api.test}", "{host: 'api.test:8443'}", 1)
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{AttemptHeader: "X-Attempt"}, yaml)
		u, err := url.Parse("https://API.test:8443/items/1")
		if err != nil {
			t.Fatal(err)
		}
		var host string
		e.o.Observer = ObserverFunc(func(_ context.Context, n *Notice) { host = n.Host + " " + n.Operation })
		req := (&http.Request{URL: u}).WithContext(uncomparable{WithAccount(t.Context(), "a"), nil})
		resp, err := e.Transport(newServer(reply{status: 200})).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := "api.test items.get"; host != want {
			t.Errorf("told %q, want %q", host, want)
		}
	})
}

type uncomparable struct {
	context.Context
	_ []string
}

// idle counts calls of CloseIdleConnections.
type idle struct {
	http.RoundTripper
	closed int
}

func (i *idle) CloseIdleConnections() { i.closed++ }

func TestCloseIdleConnections(t *testing.T) {
	var base idle
	(&http.Client{Transport: testEngine(t, Options{}).Transport(&base)}).CloseIdleConnections()
	if base.closed != 1 {
		t.Errorf("closed %d times, want 1", base.closed)
	}
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
		if took := time.Since(start); took > maxHeadTime+time.Second || resp.StatusCode != 404 || len(b) < 5 || err != io.ErrUnexpectedEOF {
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
		yaml := strings.Replace(loopYAML, "extract:", "inspect: [{status: 200, operations: [items.get], max: "+c.max+"}]\nextract:", 1)
		yaml = strings.Replace(yaml, "rules:\n", "rules:\n  - {name: hidden, when: 'status == 200 and code == \"bad\"', action: fail, as: hidden}\n", 1)
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

// Over HTTP/2 net/http tells that a request was written after the bytes are
// gone, in another goroutine: an attempt that is cut off in between was sent.
func TestGateWithHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			trace.GetConn("api.test:443")
			trace.GotConn(httptrace.GotConnInfo{})
			sent++ // and WroteHeaders is still to come
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 1s\n")
		as := ending(e.Transport(base).RoundTrip(request(t, t.Context(), "POST", "/send", "mail")))
		if as != AsAmbiguous || sent != 1 {
			t.Errorf("%s after %d requests, want %s after 1", as, sent, AsAmbiguous)
		}
		refused := roundTripper(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GetConn("api.test:443")
			if sent++; sent > 2 {
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
			}
			return nil, errors.New("a proxy's own error")
		})
		if as := ending(e.Transport(refused).RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != "200" && as != AsPermanent {
			t.Errorf("without a connection: %s", as)
		}
	})
}

// After a redirect inside Do it is the first request that must not happen twice.
func TestGateAfterRedirect(t *testing.T) {
	for _, method := range []string{"", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			sent := 0
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "POST" {
					sent++
					http.Redirect(w, r, "/sent/1", http.StatusSeeOther)
					return
				}
				w.WriteHeader(503)
			}))
			p, err := testEngine(t, Options{}).Provider("test")
			if err != nil {
				t.Fatal(err)
			}
			err = p.Do(t.Context(), Call{Account: "a", Method: method}, func(ctx context.Context) error {
				resp, err := (&http.Client{Transport: base}).Do(request(t, ctx, "POST", "/send", "mail"))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return p.CheckResponse(ctx, resp)
			})
			if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsAmbiguous || sent != 1 {
				t.Errorf("method %q: sent %d times, %v", method, sent, err)
			}
		})
	}
}

// A kept connection that turns out to be dead has carried nothing: net/http asks
// for another, and where there is none the request was not sent.
func TestGateOnDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		posts := 0
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				posts++
			}
		}))
		var dead atomic.Bool
		dial, dials := base.DialContext, 0
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 2 {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			c, err := dial(ctx, network, addr)
			if dials == 1 {
				c = deadConn{c, &dead}
			}
			return c, err
		}
		tr := testEngine(t, Options{}).Transport(base)
		if as := ending(tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))); as != "200" {
			t.Fatal(as)
		}
		dead.Store(true)
		if as := ending(tr.RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != "200" || posts != 1 || dials != 3 {
			t.Errorf("%s after %d dials, %d requests at the server", as, dials, posts)
		}
	})
}

// deadConn writes nothing once it is dead.
type deadConn struct {
	net.Conn
	dead *atomic.Bool
}

func (c deadConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	return c.Conn.Write(b)
}

// What the calling code knows of an error counts: also that it was not sent.
func TestClassifyKnowsWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sent := range []bool{true, false} {
			n := 0
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				trace := httptrace.ContextClientTrace(r.Context())
				trace.GetConn("api.test:443")
				trace.GotConn(httptrace.GotConnInfo{})
				if n++; n > 1 {
					return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
				}
				return nil, errors.New("of this client's own")
			})
			want := map[bool]string{true: AsAmbiguous, false: "200"}[sent]
			e := testEngine(t, Options{Classify: func(_ error, e *rules.Event) bool {
				e.Network, e.Sent = rules.NetworkReset, sent
				return true
			}})
			if as := ending(e.Transport(base).RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != want {
				t.Errorf("sent %v: %s, want %s", sent, as, want)
			}
		}
	})
}

// The token endpoint is found by its port too.
func TestEndpointWithPort(t *testing.T) {
	sso := strings.NewReplacer("provider: test", "provider: sso", "{host: api.test}", "{host: 'sso.test:8443'}",
		"operations:\n", "operations:\n  - {method: POST, path: /token, form: {grant_type: refresh_token}, operation: token.refresh, token: true}\n",
		"  - {name: token, when: status == 401, action: reauth}\n", "").Replace(loopYAML)
	e := testEngine(t, Options{}, loopYAML, sso)
	u, err := url.Parse("https://SSO.test:8443/token")
	if err != nil {
		t.Fatal(err)
	}
	if p, operation, claimed := e.endpoint(u); !claimed || p.name != "sso" || operation != "token.refresh" {
		t.Errorf("operation %q, claimed %v", operation, claimed)
	}
}

// A dial that is still under way when its request has found another connection
// may make requests of its own: what they do says nothing about that request.
func TestGateOnRequestOfDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		posts := 0
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/slow":
				time.Sleep(time.Second)
			case r.Method == "POST":
				posts++
				time.Sleep(3 * time.Second)
				panic(http.ErrAbortHandler) // carried out, and the answer is lost
			}
		}))
		dial, dials := base.DialContext, 0
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 2 {
				time.Sleep(2 * time.Second)
				httptrace.ContextClientTrace(ctx).GetConn("dns.test:443") // as of DNS over HTTPS
				return nil, errors.New("no such host")
			}
			return dial(ctx, network, addr)
		}
		tr := testEngine(t, Options{}).Transport(base)
		go func() { ending(tr.RoundTrip(request(t, t.Context(), "GET", "/slow", ""))) }()
		time.Sleep(100 * time.Millisecond)
		if as := ending(tr.RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != AsAmbiguous || posts != 1 || dials != 2 {
			t.Errorf("%s after %d requests at the server and %d dials, want %s after 1 and 2", as, posts, dials, AsAmbiguous)
		}
	})
}
