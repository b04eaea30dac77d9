package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/h2test"
)

// The fault suite: whatever a server does to a connection, what is not idempotent
// is processed once at most, what was processed is never called a plain failure,
// and nothing hangs (a hang is a deadlock of the bubble). The tables of what each
// fault does are in docs/repeats.md. RECOURSE_FAULTS=long tries each combination, which
// takes about half a minute.

// quiet prepares a test of servers whose faults net/http logs.
func quiet(t *testing.T) {
	t.Helper()
	h2test.Warm()
	log.SetOutput(io.Discard)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
}

var long = os.Getenv("RECOURSE_FAULTS") == "long"

// faults2 are further faults of HTTP/2, beside rows2. After each the connection
// waits for the client's end, or is closed.
func faults2() []row {
	rows := append([]row(nil), rows2...)
	say := func(name string, close bool, frames func(id uint32) []byte) {
		rows = append(rows, row{name: name, h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			w.processed.Add(1)
			c.Write(frames(id))
			if close {
				return false
			}
			return drain(c)
		}})
	}
	one := func(f h2test.Frame) func(uint32) []byte {
		return func(id uint32) []byte {
			if f.Stream == 1 {
				f.Stream = id
			}
			return f.Bytes()
		}
	}
	for code := range uint32(h2test.CodeHTTP11Required + 2) {
		if code != h2test.CodeRefusedStream {
			rows = append(rows, row{name: fmt.Sprintf("RST_STREAM %d", code), h2: reset2(code)})
		}
		for above := range uint32(2) {
			say(fmt.Sprintf("GOAWAY %d, %d above, closed", code, 2*above), true, func(id uint32) []byte { return h2test.Away(id+2*above, code).Bytes() })
		}
		rows = append(rows, row{name: fmt.Sprintf("GOAWAY %d, below", code), warm: true, h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			c.Send(h2test.Away(id-2, code))
			return drain(c)
		}})
		rows = append(rows, row{name: fmt.Sprintf("GOAWAY %d, below the first", code), h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			c.Send(h2test.Away(0, code))
			return drain(c)
		}})
	}
	setting := func(id uint16, v uint32) []byte {
		return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), v)
	}
	large := make([]byte, 9)
	binary.BigEndian.PutUint32(large, 1<<30)
	say("garbage", false, func(uint32) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") })
	say("zeros", true, func(uint32) []byte { return make([]byte, 100) })
	say("a frame too large", false, func(uint32) []byte { return large })
	say("a cut header of a frame", true, func(uint32) []byte { return []byte{0, 0, 1, 1} })
	say("a cut frame", true, func(id uint32) []byte { return h2test.OK(id)[0].Bytes()[:9] })
	say("SETTINGS of a wrong length", false, one(h2test.Frame{Type: h2test.Settings, Payload: []byte{1}}))
	say("SETTINGS of a stream", false, one(h2test.Frame{Type: h2test.Settings, Stream: 1}))
	say("SETTINGS with a window too large", false, one(h2test.Frame{Type: h2test.Settings, Payload: setting(4, 1<<31)}))
	say("SETTINGS with a frame size too small", false, one(h2test.Frame{Type: h2test.Settings, Payload: setting(5, 1)}))
	say("SETTINGS without streams, then closed", true, one(h2test.Frame{Type: h2test.Settings, Payload: setting(3, 0)}))
	say("DATA of no stream", false, one(h2test.Frame{Type: h2test.Data, Payload: []byte("x")}))
	say("DATA before HEADERS", false, one(h2test.Frame{Type: h2test.Data, Stream: 1, Payload: []byte("x")}))
	say("DATA of an idle stream", false, one(h2test.Frame{Type: h2test.Data, Stream: 99, Payload: []byte("x")}))
	say("HEADERS that are no HPACK", false, one(h2test.Frame{Type: h2test.Headers, Flags: h2test.EndHeaders, Stream: 1, Payload: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}))
	say("HEADERS without a status", false, one(h2test.Frame{Type: h2test.Headers, Flags: h2test.EndHeaders | h2test.EndStream, Stream: 1, Payload: []byte{0x90}}))
	say("HEADERS without an end, then closed", true, one(h2test.Frame{Type: h2test.Headers, Stream: 1, Payload: []byte{0x88}}))
	say("CONTINUATION of nothing", false, one(h2test.Frame{Type: h2test.Continuation, Stream: 1}))
	say("PUSH_PROMISE", false, one(h2test.Frame{Type: h2test.PushPromise, Flags: h2test.EndHeaders, Stream: 1, Payload: []byte{0, 0, 0, 2, 0x82}}))
	say("WINDOW_UPDATE of nothing", false, one(h2test.Frame{Type: h2test.WindowUpdate, Payload: make([]byte, 4)}))
	say("WINDOW_UPDATE of the stream by nothing", false, one(h2test.Frame{Type: h2test.WindowUpdate, Stream: 1, Payload: make([]byte, 4)}))
	say("RST_STREAM of no stream", false, one(h2test.Frame{Type: h2test.RSTStream, Payload: make([]byte, 4)}))
	say("PING of a wrong length", false, one(h2test.Frame{Type: h2test.Ping, Payload: []byte{1}}))
	say("a frame of no known type, then closed", true, one(h2test.Frame{Type: 0xee, Payload: []byte("x")}))
	say("1xx, then PROTOCOL_ERROR", false, func(id uint32) []byte {
		h := h2test.Frame{Type: h2test.Headers, Flags: h2test.EndHeaders, Stream: id, Payload: append([]byte{0x08, 3}, "103"...)}
		return append(h.Bytes(), h2test.Reset(id, h2test.CodeProtocol).Bytes()...)
	})
	return rows
}

// checkEnd holds what became of a request to what the server saw.
func checkEnd(t *testing.T, name string, k kind, e end) {
	t.Helper()
	bad := func(format string, args ...any) {
		t.Errorf("%s, %s: %s\n%+v", name, k.name, fmt.Sprintf(format, args...), e)
	}
	if !k.idempotent && e.processed > 1 {
		bad("processed %d times", e.processed)
	}
	switch {
	case e.as == "200" && e.processed == 0, e.as == "200" && !k.idempotent && e.processed != 1:
		bad("a success that is none")
	case e.as == "permanent", e.as == "another error":
		bad("called %s", e.as)
	case (e.as == "exhausted" || e.as == "handed back") && !k.idempotent && e.processed > 0:
		bad("called %s", e.as)
	}
	if e.attempts > 4 || e.seen > 5 {
		bad("a hot loop")
	}
}

// Each frame's fault, once and always, over connections that are new or kept.
func TestFaultsHTTP2(t *testing.T) {
	quiet(t)
	rows := faults2()
	for i, r := range rows {
		for j, k := range kinds {
			for _, times := range []int32{1, 1 << 30} {
				for n, listen := range []func(func(*h2test.Conn)) *h2test.Server{h2test.TLS, h2test.Plain} {
					if !long && (i+j+n)%2 == 1 {
						continue
					}
					synctest.Test(t, func(t *testing.T) {
						w := &wire{fault: r.h2, faults: times}
						s := listen(w.http2)
						defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
						checkEnd(t, fmt.Sprintf("%s (%d times, server %d)", r.name, times, n), k, run(t, s.Transport(), s.URL(), w, k, r.warm))
					})
				}
			}
		}
	}
}

// The connection is cut after each byte of the request and of the answer.
func TestCutsHTTP2(t *testing.T) {
	quiet(t)
	for n, listen := range []func(func(*h2test.Conn)) *h2test.Server{h2test.Plain, h2test.TLS} {
		for j, k := range kinds {
			if k.key != "" && !long {
				continue
			}
			for _, answer := range []bool{false, true} {
				for _, warm := range []bool{false, true} {
					last := false
					for at := 1; !last; at++ {
						if !long && (n == 1 || warm) && (at+j)%9 != 0 {
							continue
						}
						synctest.Test(t, func(t *testing.T) {
							var cut atomic.Bool
							w := &wire{}
							s := listen(func(c *h2test.Conn) {
								if !warm && c.N == 1 {
									c.Cut(at, answer, func() { cut.Store(true) })
								}
								c.Settle()
								for id, ok := c.Request(); ok; id, ok = c.Request() {
									if w.on.Load() {
										w.seen.Add(1)
									}
									w.processed.Add(1)
									c.Send(h2test.OK(id)...)
									if warm && c.N == 1 {
										c.Cut(at, answer, func() { cut.Store(true) })
									}
								}
							})
							defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
							checkEnd(t, fmt.Sprintf("server %d, answer %v, kept %v, cut at %d", n, answer, warm, at), k, run(t, s.Transport(), s.URL(), w, k, warm))
							last = !cut.Load() || at > 2000
						})
					}
				}
			}
		}
	}
}

// The same over HTTP/1.1.
func TestCutsHTTP1(t *testing.T) {
	for _, k := range kinds {
		for _, answer := range []bool{false, true} {
			for _, warm := range []bool{false, true} {
				last := false
				for at := 1; !last; at++ {
					synctest.Test(t, func(t *testing.T) {
						w := &wire{}
						var wg sync.WaitGroup
						defer wg.Wait()
						var cut atomic.Bool
						dials := 0
						base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
							dials++
							client, server := net.Pipe()
							c := &cutConn{Conn: server, left: -1, answer: answer, cut: &cut}
							if dials == 1 {
								if c.left = at; warm {
									c.armed = &w.on
								}
							}
							wg.Go(func() { w.http1(c) })
							return client, nil
						}}
						checkEnd(t, fmt.Sprintf("answer %v, kept %v, cut at %d", answer, warm, at), k, run(t, base, "http://example.com", w, k, warm))
						last = !cut.Load() || at > 2000
					})
				}
			}
		}
	}
}

// cutConn closes itself after so many bytes of one direction.
type cutConn struct {
	net.Conn
	left   int // < 0 = never
	answer bool
	armed  *atomic.Bool // counts from then on; nil = always
	cut    *atomic.Bool
}

func (c *cutConn) on() bool { return c.left >= 0 && (c.armed == nil || c.armed.Load()) }

func (c *cutConn) Read(p []byte) (int, error) {
	if c.answer || !c.on() {
		// While it is not armed, one byte at a time, so that the one after is not read ahead.
		if c.armed != nil && !c.armed.Load() && !c.answer {
			n, err := c.Conn.Read(p[:1])
			if n > 0 && c.armed.Load() {
				c.left--
			}
			return n, err
		}
		return c.Conn.Read(p)
	}
	if c.left == 0 {
		c.cut.Store(true)
		c.Conn.Close()
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	if !c.answer || !c.on() {
		return c.Conn.Write(p)
	}
	if len(p) > c.left {
		n, _ := c.Conn.Write(p[:c.left])
		c.left = 0
		c.cut.Store(true)
		c.Conn.Close()
		return n, io.ErrClosedPipe
	}
	c.left -= len(p)
	return c.Conn.Write(p)
}

// A server resets the stream and goes down: what its connection has carried
// counts, although the dial after it fails.
func TestRestart(t *testing.T) {
	quiet(t)
	for _, k := range kinds {
		for _, code := range []uint32{h2test.CodeProtocol, 2} {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{faults: 1}
				var s *h2test.Server
				w.fault = func(w *wire, c *h2test.Conn, id uint32) bool {
					w.processed.Add(1)
					s.Down(true)
					time.AfterFunc(1500*time.Millisecond, func() { s.Down(false) })
					c.Send(h2test.Reset(id, code))
					return true
				}
				s = h2test.TLS(w.http2)
				defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
				e := run(t, s.Transport(), s.URL(), w, k, true)
				time.Sleep(10 * time.Second)
				checkEnd(t, "restart", k, e)
				if want := map[bool]string{true: "200", false: "ambiguous"}[k.idempotent]; e.as != want {
					t.Errorf("code %d, %s: %+v, want %s", code, k.name, e, want)
				}
			})
		}
	}
}

// Nor where HTTP/2 was not to be expected: without TLS, behind a base that is not known.
func TestNoHotLoopUnexpected(t *testing.T) {
	quiet(t)
	for _, code := range []uint32{h2test.CodeRefusedStream, h2test.CodeProtocol} {
		for _, k := range kinds {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{fault: reset2(code), faults: 1 << 30}
				s := h2test.Plain(w.http2)
				defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
				base := s.Transport()
				defer base.CloseIdleConnections()
				tr := faultEngine(t, engine.Options{}).Transport(wrapper{base})
				w.on.Store(true)
				_, err := tr.RoundTrip(k.request(t, t.Context(), s.URL()))
				if n := w.seen.Load(); err == nil || n > 5 {
					t.Errorf("code %d, %s: %d requests, %v", code, k.name, n, err)
				}
			})
		}
	}
}

// Without TLS a refused stream is told from others as well.
func TestRefusedWithoutTLS(t *testing.T) {
	quiet(t)
	for _, wrapped := range []bool{false, true} {
		for _, k := range kinds {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{fault: reset2(h2test.CodeRefusedStream), faults: 1}
				s := h2test.Plain(w.http2)
				defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
				base := s.Transport()
				defer base.CloseIdleConnections()
				var rt http.RoundTripper = base
				if wrapped {
					rt = wrapper{base}
				}
				w.on.Store(true)
				resp, err := faultEngine(t, engine.Options{}).Transport(rt).RoundTrip(k.request(t, t.Context(), s.URL()))
				want := "200"
				switch {
				case k.stream:
					want = "handed back"
				case wrapped && !k.body && !k.idempotent:
					want = "ambiguous" // such a base may have sent it twice itself
				}
				got := ""
				if err == nil {
					got = fmt.Sprint(resp.StatusCode)
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				} else if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
					got = gave.Decision.As
				} else if _, ok := errors.AsType[*engine.DeferError](err); ok {
					got = "handed back"
				}
				if got != want {
					t.Errorf("wrapped %v, %s: %s (%v), want %s", wrapped, k.name, got, err, want)
				}
			})
		}
	}
}

// A base above net/http may send again what was answered, with a credential for
// example.
func TestBaseSendsAgain(t *testing.T) {
	quiet(t)
	for _, k := range kinds {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{}
			s := h2test.TLS(w.http2)
			defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
			base := s.Transport()
			defer base.CloseIdleConnections()
			twice := roundTrip(func(r *http.Request) (*http.Response, error) {
				first := r.Clone(r.Context())
				first.Body, first.GetBody, first.ContentLength = nil, nil, 0
				resp, err := base.RoundTrip(first)
				if err != nil {
					return nil, err
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				return base.RoundTrip(r)
			})
			resp, err := faultEngine(t, engine.Options{}).Transport(twice).RoundTrip(k.request(t, t.Context(), s.URL()))
			if err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
			resp.Body.Close()
			if n := w.processed.Load(); n != 2 || resp.StatusCode != 200 {
				t.Errorf("%s: HTTP %d after %d requests, want 200 after 2", k.name, resp.StatusCode, n)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A dial that makes requests of its own in the context of the request that it is
// for, as of DNS over HTTPS, does not end that request, and hides no repeat.
func TestDialMakesRequests(t *testing.T) {
	quiet(t)
	for _, k := range kinds {
		for _, bad := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{fault: reset2(h2test.CodeProtocol)}
				if bad {
					w.faults = 1
				}
				s := h2test.TLS(w.http2)
				defer func() { synctest.Wait(); s.Close() }() // a connection that is being made is closed too
				base := s.Transport()
				dial := base.DialContext
				base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if trace := httptrace.ContextClientTrace(ctx); trace != nil {
						for range 3 {
							trace.GetConn("dns.test:443")
							trace.GotConn(httptrace.GotConnInfo{})
							trace.WroteHeaderField(":authority", []string{"dns.test"})
						}
					}
					return dial(ctx, network, addr)
				}
				e := run(t, base, s.URL(), w, k, false)
				checkEnd(t, fmt.Sprintf("a dial with requests, fault %v", bad), k, e)
				want := "200"
				if bad && !k.idempotent {
					want = "ambiguous"
				}
				if e.as != want {
					t.Errorf("fault %v, %s: %+v, want %s", bad, k.name, e, want)
				}
			})
		}
	}
}
