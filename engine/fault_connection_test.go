package engine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/h2test"
)

// A server that ends each stream or each connection gets no hot loop: limits,
// budget and backoff see each further try.
func TestNoHotLoop(t *testing.T) {
	quiet(t)
	for name, fault := range map[string]func(*wire, *h2test.Conn, uint32) bool{
		"refused":        reset2(h2test.CodeRefusedStream),
		"PROTOCOL_ERROR": reset2(h2test.CodeProtocol),
		"GOAWAY": func(_ *wire, c *h2test.Conn, _ uint32) bool {
			c.Send(h2test.Away(0, 0))
			return drain(c)
		},
		"GOAWAY with an error": func(_ *wire, c *h2test.Conn, _ uint32) bool {
			c.Send(h2test.Away(0, 11))
			return drain(c)
		},
	} {
		for _, k := range kinds {
			for _, warm := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					w := &wire{fault: fault, faults: 1 << 30}
					s := h2test.TLS(w.http2)
					defer s.Close()
					e := run(t, s.Transport(), s.URL(), w, k, warm)
					if e.seen > 5 || e.seen > 2 && e.took < 7*time.Second {
						t.Errorf("%s, %s, kept %v: %d requests in %v", name, k.name, warm, e.seen, e.took)
					}
				})
			}
		}
	}
}

// A server that says goodbye before it has heard anything gets no hot loop of
// connections, and nothing was sent.
func TestNoHotLoopOfConnections(t *testing.T) {
	quiet(t)
	for _, k := range kinds {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{}
			s := h2test.TLS(func(c *h2test.Conn) {
				c.Settle()
				c.Send(h2test.Away(0, 0))
				drain(c)
			})
			defer s.Close()
			slow := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { time.Sleep(time.Millisecond) }}
			base := s.Transport()
			defer base.CloseIdleConnections()
			eng := faultEngine(t, engine.Options{})
			ctx := httptrace.WithClientTrace(t.Context(), slow)
			_, err := eng.Transport(base).RoundTrip(k.request(t, ctx, s.URL()))
			as := ""
			if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
				as = gave.Decision.As
			} else if _, ok := errors.AsType[*engine.DeferError](err); ok {
				as = "handed back"
			}
			// Three a try at most, and one that was being made when the try was cut off.
			if s.Conns() > 40 || w.seen.Load() > 0 || as != "exhausted" && as != "handed back" {
				t.Errorf("%s: %d connections, %q (%v), want a few and exhausted", k.name, s.Conns(), as, err)
			}
		})
	}
}

// A proxy that refuses a tunnel has sent nothing on.
func TestProxyRefusesConnect(t *testing.T) {
	quiet(t)
	for _, tt := range []struct {
		status string
		again  bool
	}{
		{"429 Too Many Requests", true}, {"502 Bad Gateway", true}, {"503 Service Unavailable", true}, {"504 Gateway Timeout", true},
		{"503 Try later", true}, {"503 ", true},
		{"403 Forbidden", false}, {"407 Proxy Authentication Required", false},
	} {
		for _, k := range []kind{kinds[0], kinds[1], kinds[5]} {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{}
				s := h2test.TLS(w.http2)
				defer s.Close()
				base := s.Transport()
				dial, connects := base.DialContext, 0
				base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})
				base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					connects++
					first := connects == 1
					client, proxy := net.Pipe()
					go func() {
						defer proxy.Close()
						head := make([]byte, 0, 512)
						for b := make([]byte, 1); !strings.HasSuffix(string(head), "\r\n\r\n"); head = append(head, b[0]) {
							if _, err := proxy.Read(b); err != nil {
								return
							}
						}
						if first {
							io.WriteString(proxy, "HTTP/1.1 "+tt.status+"\r\nContent-Length: 0\r\n\r\n")
							return
						}
						to, err := dial(ctx, network, addr)
						if err != nil {
							return
						}
						defer to.Close()
						io.WriteString(proxy, "HTTP/1.1 200 OK\r\n\r\n")
						go func() { io.Copy(to, proxy); to.Close() }()
						io.Copy(proxy, to)
					}()
					return client, nil
				}
				e := run(t, base, s.URL(), w, k, false)
				want, n := "200", 2
				if !tt.again {
					want, n = "permanent", 1
				}
				if e.as != want || connects != n {
					t.Errorf("%q, %s: %d times, %+v; want %s after %d", tt.status, k.name, connects, e, want, n)
				}
			})
		}
	}
}

// A 421, and an attempt over HTTP/2 that times out, are followed by one on another
// connection. The streams of others go on.
func TestAnotherConnection(t *testing.T) {
	quiet(t)
	for _, way := range []string{"421", "no answer", "421, wrapped"} {
		for _, k := range []kind{kinds[0], kinds[5]} {
			if way == "no answer" && !k.idempotent {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				var others, met atomic.Int32
				s := h2test.TLS(func(c *h2test.Conn) {
					c.Settle()
					first := c.N == 1
					for id, ok := c.Request(); ok; id, ok = c.Request() {
						switch {
						case first && others.Add(1) == 1:
							// The stream of somebody else, answered in two minutes.
							time.AfterFunc(2*time.Minute, func() { c.Send(h2test.OK(id)...) })
						case first:
							if met.Add(1); way != "no answer" {
								c.Send(h2test.Frame{Type: h2test.Headers, Flags: h2test.EndHeaders | h2test.EndStream, Stream: id, Payload: append([]byte{0x08, 3}, "421"...)})
							}
						default:
							c.Send(h2test.OK(id)...)
						}
					}
				})
				defer s.Close()
				base := s.Transport()
				defer base.CloseIdleConnections()
				var rt http.RoundTripper = base
				if strings.HasSuffix(way, "wrapped") {
					rt = wrapper{base}
				}
				var other sync.WaitGroup
				other.Go(func() {
					resp, err := base.RoundTrip(kinds[5].request(t, t.Context(), s.URL()))
					if err != nil {
						t.Errorf("%s: the stream of somebody else: %v", way, err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				})
				synctest.Wait()
				eng := faultEngine(t, engine.Options{})
				tr := eng.Transport(rt)
				resp, err := tr.RoundTrip(k.request(t, t.Context(), s.URL()))
				status, conns := 0, 2
				if err == nil {
					status = resp.StatusCode
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				want, meets := 200, int32(1)
				if rt != http.RoundTripper(base) {
					want, meets, conns = 421, 4, 1 // such a base decides by itself
				}
				if status != want || met.Load() != meets || s.Conns() != conns {
					t.Errorf("%s, %s: HTTP %d (%v), %d requests on the first connection of %d; want HTTP %d, %d and %d", way, k.name, status, err, met.Load(), s.Conns(), want, meets, conns)
				}
				other.Wait()
				(&http.Client{Transport: tr}).CloseIdleConnections()
			})
		}
	}
}

// wrapper is a base that is no *http.Transport.
type wrapper struct{ http.RoundTripper }

// The protocol of a server may change between two connections.
func TestProtocolChanges(t *testing.T) {
	quiet(t)
	for _, to2 := range []bool{true, false} {
		for _, wrapped := range []bool{false, true} {
			for _, k := range kinds {
				synctest.Test(t, func(t *testing.T) {
					w := &wire{faults: 1, fault: func(w *wire, c *h2test.Conn, id uint32) bool {
						w.processed.Add(1)
						c.Send(h2test.Reset(id, h2test.CodeProtocol))
						return true
					}}
					s := h2test.TLS(func(c *h2test.Conn) {
						if c.HTTP1 {
							w.http1(c.Net())
							return
						}
						w.http2(c)
					})
					defer s.Close()
					s.HTTP1 = func(n int) bool { return (n == 1) == to2 }
					base := s.Transport()
					var rt http.RoundTripper = base
					if wrapped {
						rt = wrapper{base}
					}
					eng := faultEngine(t, engine.Options{})
					tr := eng.Transport(rt)
					if to2 { // the first request teaches HTTP/1.1, the next goes over HTTP/2
						resp, err := tr.RoundTrip(kinds[5].request(t, t.Context(), s.URL()))
						if err != nil {
							t.Fatal(err)
						}
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						base.CloseIdleConnections()
						w.processed.Store(0)
					}
					w.on.Store(true)
					resp, err := tr.RoundTrip(k.request(t, t.Context(), s.URL()))
					if err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					base.CloseIdleConnections()
					(&http.Client{Transport: tr}).CloseIdleConnections()
					gave, _ := errors.AsType[*engine.GiveUpError](err)
					switch n := w.processed.Load(); {
					case k.idempotent && err != nil:
						t.Errorf("to HTTP/2 %v, wrapped %v, %s: %v", to2, wrapped, k.name, err)
					case !k.idempotent && (n != 1 || gave == nil || gave.Decision.As != "ambiguous"):
						t.Errorf("to HTTP/2 %v, wrapped %v, %s: processed %d times, %v; want once and ambiguous", to2, wrapped, k.name, n, err)
					}
				})
			}
		}
	}
}
