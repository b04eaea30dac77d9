package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/h2test"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// faultYAML is the policy of the tests that count what servers see.
const faultYAML = `
version: 1
provider: test
backoff: {default: {initial: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 4}}
attempt_timeout: 30s
limits: [{name: slots, key: account, concurrency: 4}]
rules:
  - {name: throttled, when: status == 429, action: wait, replay: safe}
  - {name: elsewhere, when: status == 421, action: retry, replay: safe}
  - {name: server, when: status >= 500, action: retry}
  - {name: network, when: 'network != "" and network != "canceled"', action: retry}
default: fail
`

func faultEngine(t *testing.T, o engine.Options) *engine.Engine {
	t.Helper()
	set, diags := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(faultYAML)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(diags.Err())
	}
	o.Policies = set
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// kind is a kind of request.
type kind struct {
	name       string
	method     string
	body       bool
	stream     bool // the body can be had once only
	key        string
	idempotent bool
}

var kinds = []kind{
	{name: "POST with a body", method: "POST", body: true},
	{name: "POST without a body", method: "POST"},
	{name: "POST of a stream", method: "POST", body: true, stream: true},
	{name: "POST with Idempotency-Key", method: "POST", body: true, key: "Idempotency-Key", idempotent: true},
	{name: "POST without a body, with X-Idempotency-Key", method: "POST", key: "X-Idempotency-Key", idempotent: true},
	{name: "GET", method: "GET", idempotent: true},
	{name: "PUT with a body", method: "PUT", body: true, idempotent: true},
}

func (k kind) request(t *testing.T, ctx context.Context, u string) *http.Request {
	t.Helper()
	var body io.Reader
	if k.body {
		body = strings.NewReader("mail")
	}
	req, err := http.NewRequestWithContext(engine.WithCall(ctx, engine.Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}), k.method, u+"/send", body)
	if err != nil {
		t.Fatal(err)
	}
	if k.stream {
		req.Body, req.GetBody, req.ContentLength = io.NopCloser(struct{ io.Reader }{body}), nil, -1
	}
	if k.key != "" {
		req.Header.Set(k.key, "7")
	}
	return req
}

// wire is what the servers of these tests count, and what they do.
type wire struct {
	fault     func(w *wire, c *h2test.Conn, stream uint32) (goes bool) // of HTTP/2
	fault1    func(w *wire, c net.Conn) (goes bool)                    // of HTTP/1.1
	faults    int32                                                    // how many requests meet it
	on        atomic.Bool
	seen      atomic.Int32 // whole requests while on
	processed atomic.Int32
}

// http2 serves a connection of HTTP/2.
func (w *wire) http2(c *h2test.Conn) {
	c.Settle()
	for id, ok := c.Request(); ok; id, ok = c.Request() {
		if w.on.Load() && w.seen.Add(1) <= w.faults {
			if !w.fault(w, c, id) {
				return
			}
			continue
		}
		w.processed.Add(1)
		c.Send(h2test.OK(id)...)
	}
}

// http1 serves a connection of HTTP/1.1.
func (w *wire) http1(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		if w.on.Load() && w.seen.Add(1) <= w.faults {
			if !w.fault1(w, c) {
				return
			}
			continue
		}
		w.processed.Add(1)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// end is how a request of these tests ended.
type end struct {
	as              string // the status, or what the call was given up as
	attempts        int
	took            time.Duration
	seen, processed int32
	err             error
}

// run sends one request of a kind; where warm, after a GET whose connection is
// kept.
func run(t *testing.T, base *http.Transport, u string, w *wire, k kind, warm bool) (e end) {
	t.Helper()
	attempts := 0
	eng := faultEngine(t, engine.Options{Observer: engine.ObserverFunc(func(_ context.Context, n *engine.Notice) {
		if n.Kind == engine.NoticeAttempt {
			attempts++
		}
	})})
	tr := eng.Transport(base)
	defer base.CloseIdleConnections()
	defer (&http.Client{Transport: tr}).CloseIdleConnections()
	send := func(k kind) end {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		resp, err := tr.RoundTrip(k.request(t, ctx, u))
		if err != nil {
			gave, _ := errors.AsType[*engine.GiveUpError](err)
			later, _ := errors.AsType[*engine.DeferError](err)
			switch {
			case gave != nil:
				return end{as: gave.Decision.As, err: err}
			case later != nil:
				return end{as: "handed back", err: err}
			}
			return end{as: "another error", err: err}
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		e := end{as: fmt.Sprint(resp.StatusCode), err: err}
		if out, ok := engine.Outcome(resp); ok {
			if e.as = out.Decision.As; out.Decision.Defer {
				e.as = "handed back"
			}
		}
		if e.as == "200" && (err != nil || string(b) != "ok") {
			e.as = "cut"
		}
		return e
	}
	if warm {
		if e := send(kinds[5]); e.as != "200" {
			t.Fatalf("the first GET: %+v", e)
		}
	}
	w.on.Store(true)
	w.processed.Store(0)
	attempts = 0
	start := time.Now()
	e = send(k)
	e.took, e.attempts, e.seen, e.processed = time.Since(start), attempts, w.seen.Load(), w.processed.Load()
	return e
}

// word says in a word what a repeat did.
func (e end) word() string {
	switch {
	case e.as == "200" && e.attempts == 1 && e.took < time.Second:
		return "at once"
	case e.as == "200":
		return "by schedule"
	}
	return e.as
}

// row is what one fault does.
type row struct {
	name string
	warm bool // it meets a connection that was kept
	h2   func(w *wire, c *h2test.Conn, stream uint32) bool
	h1   func(w *wire, c net.Conn) bool
}

func answer2(status byte) func(*wire, *h2test.Conn, uint32) bool {
	return func(w *wire, c *h2test.Conn, id uint32) bool {
		c.Send(h2test.Frame{Type: h2test.Headers, Flags: h2test.EndHeaders | h2test.EndStream, Stream: id, Payload: []byte{status}})
		return true
	}
}

func reset2(code uint32) func(*wire, *h2test.Conn, uint32) bool {
	return func(w *wire, c *h2test.Conn, id uint32) bool {
		if code != h2test.CodeRefusedStream {
			w.processed.Add(1)
		}
		c.Send(h2test.Reset(id, code))
		return true
	}
}

// drain waits for the client's end of a connection.
func drain(c *h2test.Conn) bool {
	for _, ok := c.Next(); ok; _, ok = c.Next() {
	}
	return false
}

var rows2 = []row{
	{name: "REFUSED_STREAM", h2: reset2(h2test.CodeRefusedStream)},
	{name: "GOAWAY below the stream", warm: true, h2: func(w *wire, c *h2test.Conn, id uint32) bool {
		c.Send(h2test.Away(id-2, h2test.CodeNo))
		return drain(c)
	}},
	{name: "GOAWAY with an error, below the first stream", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
		c.Send(h2test.Away(0, 11))
		return drain(c)
	}},
	{name: "GOAWAY of the stream or one above, then closed", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
		w.processed.Add(1)
		c.Send(h2test.Away(id, h2test.CodeNo))
		return false
	}},
	{name: "RST_STREAM with PROTOCOL_ERROR", h2: reset2(h2test.CodeProtocol)},
	{name: "RST_STREAM with another code", h2: reset2(2)},
	{name: "connection closed before the answer", h2: func(w *wire, c *h2test.Conn, id uint32) bool { w.processed.Add(1); return false }},
	{name: "connection error", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
		w.processed.Add(1)
		c.Send(h2test.Frame{Type: h2test.Data, Stream: 0, Payload: []byte("x")})
		return drain(c)
	}},
	{name: "no answer within attempt_timeout", h2: func(w *wire, c *h2test.Conn, id uint32) bool { w.processed.Add(1); return drain(c) }},
	{name: "421", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
		c.Send(h2test.Frame{Type: h2test.Headers, Flags: h2test.EndHeaders | h2test.EndStream, Stream: id,
			Payload: append([]byte{0x08, 3}, "421"...)}) // :status, literal without indexing
		return true
	}},
	{name: "500", h2: func(w *wire, c *h2test.Conn, id uint32) bool { w.processed.Add(1); return answer2(0x8e)(w, c, id) }},
}

var rows1 = []row{
	{name: "kept connection closed before anything was written", warm: true},
	{name: "connection closed before the answer", h1: func(w *wire, c net.Conn) bool { w.processed.Add(1); return false }},
	{name: "answer that is none", h1: func(w *wire, c net.Conn) bool {
		w.processed.Add(1)
		io.WriteString(c, "SSH-2.0-x\r\n\r\n")
		return false
	}},
	{name: "no answer within attempt_timeout", h1: func(w *wire, c net.Conn) bool {
		w.processed.Add(1)
		io.Copy(io.Discard, c)
		return false
	}},
	{name: "421", h1: func(w *wire, c net.Conn) bool {
		io.WriteString(c, "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n")
		return true
	}},
	{name: "500", h1: func(w *wire, c net.Conn) bool {
		w.processed.Add(1)
		io.WriteString(c, "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
		return true
	}},
}

// pipes1 is a transport to a server of HTTP/1.1. Where dead is set, connections
// that were made before write nothing.
func pipes1(w *wire, wg *sync.WaitGroup) (base *http.Transport, dead *atomic.Bool, dials *atomic.Int32) {
	dead, dials = new(atomic.Bool), new(atomic.Int32)
	base = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		wg.Go(func() { w.http1(server) })
		if dials.Add(1) == 1 {
			return deadConn{client, dead}, nil
		}
		return client, nil
	}}
	return base, dead, dials
}

// deadConn writes nothing once it is dead.
type deadConn struct {
	net.Conn
	dead *atomic.Bool
}

func (c deadConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")}
	}
	return c.Conn.Write(b)
}

// docs/repeats.md says what a repeat after each fault does, and this is what it does.
func TestRepeats(t *testing.T) {
	h2test.Warm()
	var got strings.Builder
	shown := []kind{kinds[0], kinds[1], kinds[2], kinds[5], kinds[6]}
	table := func(title string, rows []row, one func(t *testing.T, r row, k kind) end) {
		fmt.Fprintf(&got, "| %s |", title)
		for _, k := range shown {
			fmt.Fprintf(&got, " %s |", k.name)
		}
		got.WriteString("\n|---|---|---|---|---|---|\n")
		for _, r := range rows {
			fmt.Fprintf(&got, "| %s |", r.name)
			for _, k := range shown {
				synctest.Test(t, func(t *testing.T) {
					e := one(t, r, k)
					if !k.idempotent && e.processed > 1 {
						t.Errorf("%s, %s, %s: processed %d times", title, r.name, k.name, e.processed)
					}
					fmt.Fprintf(&got, " %s |", e.word())
				})
			}
			got.WriteString("\n")
		}
	}
	table("HTTP/2", rows2, func(t *testing.T, r row, k kind) end {
		w := &wire{fault: r.h2, faults: 1}
		s := h2test.TLS(w.http2)
		defer s.Close()
		return run(t, s.Transport(), s.URL(), w, k, r.warm)
	})
	got.WriteString("\n")
	table("HTTP/1.1", rows1, func(t *testing.T, r row, k kind) end {
		w := &wire{fault1: r.h1, faults: 1}
		var wg sync.WaitGroup
		defer wg.Wait()
		base, dead, _ := pipes1(w, &wg)
		if r.h1 == nil {
			w.faults = 0
			warmUp(t, base)
			dead.Store(true)
		}
		return run(t, base, "http://example.com", w, k, false)
	})
	b, err := os.ReadFile("../docs/repeats.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range strings.Split(strings.TrimSpace(got.String()), "\n") {
		if !bytes.Contains(b, []byte(want+"\n")) {
			t.Errorf("docs/repeats.md lacks the line\n%s", want)
		}
	}
	if t.Failed() {
		t.Logf("the tables are\n%s", got.String())
	}
}

// warmUp makes a connection that is kept.
func warmUp(t *testing.T, base *http.Transport) {
	t.Helper()
	resp, err := base.RoundTrip(kinds[5].request(t, t.Context(), "http://example.com"))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}
