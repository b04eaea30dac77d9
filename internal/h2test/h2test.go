// Package h2test is an HTTP/2 server for tests that decide about every frame
// themselves. It knows the nine bytes of a frame's header and one line of HPACK's
// static table, and nothing that makes a server correct. Its connections are in
// memory, so that it works inside a synctest bubble.
package h2test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
)

// The types of frames (RFC 9113, section 6).
const (
	Data         = 0x0
	Headers      = 0x1
	Priority     = 0x2
	RSTStream    = 0x3
	Settings     = 0x4
	PushPromise  = 0x5
	Ping         = 0x6
	GoAway       = 0x7
	WindowUpdate = 0x8
	Continuation = 0x9
)

// The flags of frames.
const (
	EndStream  = 0x1
	Ack        = 0x1
	EndHeaders = 0x4
)

// The error codes that tests need by name (RFC 9113, section 7). All fourteen are
// the numbers from 0 to CodeHTTP11Required.
const (
	CodeNo             = 0x0
	CodeProtocol       = 0x1
	CodeRefusedStream  = 0x7
	CodeHTTP11Required = 0xd
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Server is a server whose connections are served by a function.
type Server struct {
	// HTTP1 reports whether the n-th connection, from 1, offers HTTP/1.1 only; nil =
	// none does. It works only over TLS.
	HTTP1 func(n int) bool

	serve func(*Conn)
	cert  *tls.Certificate // nil = unencrypted
	roots *x509.CertPool
	conns atomic.Int32
	down  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	open  map[net.Conn]bool
}

// certificate returns the certificate of net/http/httptest, which is for example.com.
var certificate = sync.OnceValues(func() (*tls.Certificate, *x509.CertPool) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return &s.TLS.Certificates[0], roots
})

// TLS returns a server over TLS. It calls serve with each connection, in a goroutine of
// its own, after the client's preface has come. serve must return when Conn.Next says
// that the connection has ended; then the connection is closed. In a synctest bubble,
// call Warm outside of it first.
func TLS(serve func(*Conn)) *Server {
	s := &Server{serve: serve, open: map[net.Conn]bool{}}
	s.cert, s.roots = certificate()
	return s
}

// Plain returns a server like that of [TLS], but unencrypted: its clients know that it
// speaks HTTP/2.
func Plain(serve func(*Conn)) *Server {
	return &Server{serve: serve, open: map[net.Conn]bool{}}
}

// Warm makes the certificate, which must not be made inside a synctest bubble.
func Warm() { certificate() }

// URL returns the server's URL.
func (s *Server) URL() string {
	if s.cert == nil {
		return "http://example.com"
	}
	return "https://example.com"
}

// Transport returns a new transport that connects to the server, whatever the address.
func (s *Server) Transport() *http.Transport {
	t := &http.Transport{DialContext: s.dial, Protocols: new(http.Protocols)}
	if s.cert == nil {
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(true)
		t.TLSClientConfig = &tls.Config{RootCAs: s.roots}
	}
	return t
}

// Conns returns how many connections have been made.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// Down sets whether new connections are refused.
func (s *Server) Down(down bool) { s.down.Store(down) }

// Close closes all connections and waits for their functions.
func (s *Server) Close() {
	s.Down(true)
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Server) dial(_ context.Context, network, _ string) (net.Conn, error) {
	if s.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errRefused{}}
	}
	client, server := net.Pipe()
	n := int(s.conns.Add(1))
	s.mu.Lock()
	s.open[server] = true
	s.mu.Unlock()
	s.wg.Go(func() {
		defer func() {
			server.Close()
			s.mu.Lock()
			delete(s.open, server)
			s.mu.Unlock()
		}()
		c := &Conn{N: n, raw: server, rw: server, frames: make(chan Frame, 4096)}
		if s.cert != nil {
			protocols := []string{"h2", "http/1.1"}
			if s.HTTP1 != nil && s.HTTP1(n) {
				protocols = protocols[1:]
			}
			secure := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{*s.cert}, NextProtos: protocols})
			if secure.Handshake() != nil {
				return
			}
			c.rw = secure
			c.HTTP1 = secure.ConnectionState().NegotiatedProtocol != "h2"
		}
		if !c.HTTP1 {
			b := make([]byte, len(preface))
			if _, err := io.ReadFull(c.rw, b); err != nil || string(b) != preface {
				return
			}
			s.wg.Go(c.read)
		}
		s.serve(c)
	})
	return client, nil
}

type errRefused struct{}

func (errRefused) Error() string { return "connect: connection refused" }

// Conn is a connection as the server sees it. Its methods may be called by one
// goroutine at a time.
type Conn struct {
	N     int  // the first is 1
	HTTP1 bool // the connection speaks HTTP/1.1: use Net

	raw, rw net.Conn
	mu      sync.Mutex
	frames  chan Frame
	in, out cut
}

// cut ends a connection after a number of bytes in one direction.
type cut struct {
	mu   sync.Mutex
	on   bool
	left int    // bytes that may still pass
	done func() // called when the connection is cut
}

// take returns how many of n bytes may pass. more is false if the connection must be
// closed after them.
func (c *cut) take(n int) (passed int, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.on:
		return n, true
	case n <= c.left:
		c.left -= n
		return n, true
	}
	c.done()
	return c.left, false
}

// Cut closes the connection after n more bytes that the server writes, if answer is
// true, or else reads. The bytes are those inside TLS. Then it calls done.
func (c *Conn) Cut(n int, answer bool, done func()) {
	at := &c.in
	if answer {
		at = &c.out
	}
	at.mu.Lock()
	at.on, at.left, at.done = true, n, done
	at.mu.Unlock()
}

// Net returns the connection itself, for HTTP/1.1.
func (c *Conn) Net() net.Conn { return c.rw }

// Frame is one frame.
type Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// Bytes returns the frame as it is sent.
func (f Frame) Bytes() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(f.Payload))<<8|uint32(f.Type))
	b = binary.BigEndian.AppendUint32(append(b, f.Flags), f.Stream)
	return append(b, f.Payload...)
}

func (c *Conn) read() {
	defer close(c.frames)
	for {
		var h [9]byte
		if _, err := io.ReadFull(c.rw, h[:]); err != nil {
			return
		}
		f := Frame{Type: h[3], Flags: h[4], Stream: binary.BigEndian.Uint32(h[5:]) & 0x7fffffff}
		f.Payload = make([]byte, int(h[0])<<16|int(h[1])<<8|int(h[2]))
		if _, err := io.ReadFull(c.rw, f.Payload); err != nil {
			return
		}
		if _, more := c.in.take(len(h) + len(f.Payload)); !more {
			c.raw.Close()
			return
		}
		c.frames <- f
	}
}

// Next returns the client's next frame; ok is false at the end of the connection.
func (c *Conn) Next() (f Frame, ok bool) { f, ok = <-c.frames; return f, ok }

// Request waits for the end of the next request and returns its stream. It
// acknowledges SETTINGS and PING while it waits. ok is false at the end of the connection.
func (c *Conn) Request() (stream uint32, ok bool) {
	for f, ok := c.Next(); ok; f, ok = c.Next() {
		switch {
		case f.Type == Settings && f.Flags&Ack == 0:
			c.Send(Frame{Type: Settings, Flags: Ack})
		case f.Type == Ping && f.Flags&Ack == 0:
			c.Send(Frame{Type: Ping, Flags: Ack, Payload: f.Payload})
		case (f.Type == Headers || f.Type == Data) && f.Flags&EndStream != 0:
			return f.Stream, true
		}
	}
	return 0, false
}

// Send sends frames as they are. After the end of the connection it does nothing.
func (c *Conn) Send(frames ...Frame) {
	var b bytes.Buffer
	for _, f := range frames {
		b.Write(f.Bytes())
	}
	c.Write(b.Bytes())
}

// Write sends bytes as they are.
func (c *Conn) Write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, more := c.out.take(len(b))
	c.rw.Write(b[:n])
	if !more {
		c.raw.Close()
	}
}

// Settle sends the empty SETTINGS that a server begins with.
func (c *Conn) Settle() { c.Send(Frame{Type: Settings}) }

// OK answers a stream with 200 and the body "ok".
func OK(stream uint32) []Frame {
	return []Frame{
		{Type: Headers, Flags: EndHeaders, Stream: stream, Payload: []byte{0x88}},
		{Type: Data, Flags: EndStream, Stream: stream, Payload: []byte("ok")},
	}
}

// Reset resets a stream.
func Reset(stream, code uint32) Frame {
	return Frame{Type: RSTStream, Stream: stream, Payload: binary.BigEndian.AppendUint32(nil, code)}
}

// Away returns a GOAWAY, which says that the server has not processed any stream above last.
func Away(last, code uint32) Frame {
	p := binary.BigEndian.AppendUint32(nil, last)
	return Frame{Type: GoAway, Payload: binary.BigEndian.AppendUint32(p, code)}
}
