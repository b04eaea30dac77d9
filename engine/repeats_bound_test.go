package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/h2test"
)

// tunnel lets a transport reach its server by a proxy's CONNECT.
func tunnel(base *http.Transport, wg *sync.WaitGroup) {
	dial := base.DialContext
	base.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		server, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		client, proxy := net.Pipe()
		wg.Go(func() {
			defer proxy.Close()
			defer server.Close()
			r := bufio.NewReader(proxy)
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			io.WriteString(proxy, "HTTP/1.1 200 OK\r\n\r\n")
			wg.Go(func() { io.Copy(proxy, server); proxy.Close() })
			io.Copy(server, r)
		})
		return client, nil
	}
}

// However a request comes to its server, and whatever that does to each stream, the server
// sees no more requests than attempts, and one that was repeated for nothing.
//
// Over HTTP/1.1 net/http repeats idempotent requests by itself, and how often is bounded
// nowhere: it repeats one that was lost on a connection from its pool. A connection that was
// dialed for a request which then got another one goes into the pool unused, and is ready
// just when the repeat, which has begun a dial of its own, waits for one; that dial then feeds
// the next repeat. So the test counts the connections from the pool that net/http has used:
// each of them costs one request at most, since what is lost on a fresh connection net/http
// does not repeat.
func TestServerSeesNoMoreThanAttempts(t *testing.T) {
	quiet(t)
	const attempts = 4 // of faultYAML
	faults := []row{
		{name: "REFUSED_STREAM", h2: reset2(h2test.CodeRefusedStream)},
		{name: "PROTOCOL_ERROR", h2: reset2(h2test.CodeProtocol)},
		{name: "INTERNAL_ERROR", h2: reset2(2)},
		{name: "ENHANCE_YOUR_CALM", h2: reset2(11)},
		{name: "GOAWAY below", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			c.Send(h2test.Away(0, h2test.CodeNo))
			return drain(c)
		}},
		{name: "GOAWAY below, with an error, closed", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			c.Send(h2test.Away(0, 11))
			return false
		}},
		{name: "REFUSED_STREAM, closed", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			c.Send(h2test.Reset(id, h2test.CodeRefusedStream))
			return false
		}},
		{name: "REFUSED_STREAM after GOAWAY above", h2: func(w *wire, c *h2test.Conn, id uint32) bool {
			c.Send(h2test.Away(id+100, h2test.CodeNo), h2test.Reset(id, h2test.CodeRefusedStream))
			return drain(c)
		}},
		{name: "closed", h2: func(*wire, *h2test.Conn, uint32) bool { return false }},
	}
	for _, way := range []struct {
		name  string
		http1 func(n int) bool // which connections are of HTTP/1.1
		warm  bool             // a GET is answered before
		keep  bool             // on a connection that is kept
		plain bool             // without TLS
		proxy bool
		only2 bool // the base knows HTTP/2 alone
		over2 bool // the server is a proxy over TLS, and what is behind it is without TLS
	}{
		{name: "unknown authority"},
		{name: "HTTP/2 known", warm: true},
		{name: "HTTP/2 known, kept", warm: true, keep: true},
		{name: "from HTTP/1.1", http1: func(n int) bool { return n == 1 }, warm: true},
		{name: "from HTTP/1.1, whose connection was kept", http1: func(n int) bool { return n == 1 }, warm: true, keep: true},
		{name: "to HTTP/1.1", http1: func(n int) bool { return n > 1 }, warm: true},
		{name: "to HTTP/1.1, kept", http1: func(n int) bool { return n > 1 }, warm: true, keep: true},
		{name: "to HTTP/1.1 of an unknown authority", http1: func(n int) bool { return n > 1 }},
		{name: "to and fro", http1: func(n int) bool { return n%2 == 1 }, warm: true},
		{name: "without TLS", plain: true},
		{name: "without TLS, kept", plain: true, warm: true, keep: true},
		{name: "by a proxy", proxy: true},
		{name: "by a proxy, from HTTP/1.1", proxy: true, http1: func(n int) bool { return n == 1 }, warm: true},
		{name: "a proxy over TLS", over2: true},
		{name: "a proxy over TLS, from HTTP/1.1", over2: true, http1: func(n int) bool { return n == 1 }, warm: true},
		{name: "HTTP/2 alone", only2: true},
	} {
		for _, wrapped := range []bool{false, true} {
			for i, fault := range faults {
				for j, k := range kinds {
					if !long && ((i+j)%5 != 0 && k.name != "GET" || wrapped != (i%2 == 1)) {
						continue
					}
					name := fmt.Sprintf("%s, wrapped %v/%s/%s", way.name, wrapped, fault.name, k.name)
					t.Run(name, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							w := &wire{faults: 1 << 30, fault: fault.h2, fault1: func(*wire, net.Conn) bool { return false }}
							serve := func(c *h2test.Conn) {
								if c.HTTP1 {
									w.http1(c.Net())
									return
								}
								w.http2(c)
							}
							listen := h2test.TLS
							if way.plain {
								listen = h2test.Plain
							}
							s := listen(serve)
							s.HTTP1 = way.http1
							base := s.Transport()
							if way.only2 {
								base.Protocols.SetHTTP1(false)
							}
							var wg sync.WaitGroup
							if way.proxy {
								tunnel(base, &wg)
							}
							u := s.URL()
							if way.over2 {
								u = "http://behind.test"
								base.Proxy = http.ProxyURL(&url.URL{Scheme: "https", Host: "example.com"})
							}
							var rt http.RoundTripper = base
							if wrapped {
								rt = wrapper{base}
							}
							made := 0
							var pooled atomic.Int32 // connections from net/http's pool that were used
							eng := faultEngine(t, engine.Options{Observer: engine.ObserverFunc(func(_ context.Context, n *engine.Notice) {
								if n.Kind == engine.NoticeAttempt {
									made++
								}
							})})
							tr := eng.Transport(rt)
							defer func() {
								synctest.Wait()
								s.Close()
								base.CloseIdleConnections()
								(&http.Client{Transport: tr}).CloseIdleConnections()
								wg.Wait()
							}()
							ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
							defer cancel()
							ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
								if c.Reused {
									pooled.Add(1)
								}
							}})
							send := func(k kind) error {
								resp, err := tr.RoundTrip(k.request(t, ctx, u))
								if err == nil {
									io.Copy(io.Discard, resp.Body)
									resp.Body.Close()
								}
								return err
							}
							if way.warm {
								if err := send(kinds[5]); err != nil {
									t.Fatalf("the first GET: %v", err)
								}
								if !way.keep {
									base.CloseIdleConnections()
									synctest.Wait()
								}
							}
							made = 0
							pooled.Store(0)
							w.on.Store(true)
							err := send(k)
							most := made + 1
							if way.http1 != nil && k.idempotent {
								most += int(pooled.Load())
							}
							if n := int(w.seen.Load()); made > attempts || n > most {
								t.Errorf("the server saw %d requests in %d attempts, %d on connections from the pool, want at most %d: %v", n, made, pooled.Load(), most, err)
							}
							if n := w.processed.Load(); !k.idempotent && n > 1+map[bool]int32{true: 1}[way.warm] {
								t.Errorf("processed %d times", n)
							}
						})
					})
				}
			}
		}
	}
}
