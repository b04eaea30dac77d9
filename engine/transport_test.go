package engine

import (
	"bufio"
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
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// serve runs an HTTP server behind in-memory connections, which work inside a
// synctest bubble, and returns a transport to it.
func serve(t *testing.T, h http.Handler) *http.Transport {
	t.Helper()
	return serveBy(t, nil, h)
}

// serveBy is serve by some versions of HTTP; nil = HTTP/1.1.
func serveBy(t *testing.T, protocols *http.Protocols, h http.Handler) *http.Transport {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: h, Protocols: protocols}
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(l) }()
	tr := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
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

func (l *pipes) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// With one connection to the host, nothing that Transport does keeps it.
func TestTransportMaxConnsPerHost(t *testing.T) {
	const yaml = overLoop + `
limits: [{name: inflight, key: account, concurrency: 1}]
attempt_timeout: 30s
inspect: [{status: 200, content_type: application/json}]
`
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
		e := testEngine(t, Options{MaxInline: time.Hour, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			resp, err := tr.RoundTrip(request(t, WithAccount(ctx, "tokens"), "GET", "/token", ""))
			if err == nil {
				resp.Body.Close()
			}
			return err
		}}}, yaml)
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

// Without limits and timeouts a success of a host that is known is the base's very own response.
func TestTransportSuccessIsUntouched(t *testing.T) {
	body := io.NopCloser(strings.NewReader("x"))
	resp := &http.Response{StatusCode: 200, Body: body}
	var sent *http.Request
	tr := testEngine(t, Options{}, unlimited).Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
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

// An upgraded connection is the caller's, in both directions, for as long as
// they like.
func TestTransportUpgrade(t *testing.T) {
	const yaml = overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n"
	for name, y := range map[string]string{"plain": yaml, "attempt_timeout": yaml + "attempt_timeout: 2s\n"} {
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

// HTTP/2: retries, concurrent streams on one connection, cancellation.
func TestTransportHTTP2(t *testing.T) {
	const yaml = overLoop + `
backoff:
  default: {initial: 1ms, min: 1ms, max: 1ms, multiplier: 2, jitter: none, attempts: 4, elapsed: 10m}
limits: [{name: inflight, key: account, concurrency: 50}]
`
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
	ctx := WithCall(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Idempotent: true})
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
	yaml := overLoop + "match: [{host: 'api.test:8443'}]\n"
	synctest.Test(t, func(t *testing.T) {
		var host string
		e := testEngine(t, Options{AttemptHeader: "X-Attempt", Observer: ObserverFunc(func(_ context.Context, n *Notice) { host = n.Host + " " + n.Operation })}, yaml)
		u, err := url.Parse("https://API.test:8443/items/1")
		if err != nil {
			t.Fatal(err)
		}
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
