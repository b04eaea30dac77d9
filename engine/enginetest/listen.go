package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// listeners is where an HTTP server listens: in memory from the first dial on, or, after
// Listen, on a port.
type listeners struct {
	server  http.Server
	serving sync.WaitGroup

	mu     sync.Mutex
	pipe   *pipeListener // nil until the first dial
	port   net.Addr      // nil without Listen
	closed bool
}

// handle sets the handler of requests.
func (n *listeners) handle(h http.HandlerFunc) {
	n.server = http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
}

var errClosed = errors.New("enginetest: server closed")

// Listen makes the server listen on a port of the loopback interface, and
// returns its address, such as "127.0.0.1:40123". A Transport dials it there
// from now on.
func (s *Server) Listen() (address string, err error) { return s.net.listen(s.Name()) }

// Close stops the server at once, and closes its open connections. Later requests fail.
func (s *Server) Close() { s.net.close() }

func (n *listeners) listen(name string) (address string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return "", errClosed
	}
	if n.port == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("enginetest: listen for %q: %w", name, err)
		}
		n.serveLocked(l)
		n.port = l.Addr()
	}
	return n.port.String(), nil
}

func (n *listeners) close() {
	n.mu.Lock()
	n.closed = true
	if n.pipe != nil {
		_ = n.pipe.Close()
	}
	n.mu.Unlock()
	_ = n.server.Close()
	n.serving.Wait()
}

func (s *Server) dial(ctx context.Context) (net.Conn, error) { return s.net.dial(ctx) }

// serveLocked serves a listener until Close.
func (n *listeners) serveLocked(l net.Listener) {
	n.serving.Go(func() { _ = n.server.Serve(l) })
}

// dial opens a connection to the server.
func (n *listeners) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, errClosed
	}
	if n.port == nil && n.pipe == nil {
		n.pipe = &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		n.serveLocked(n.pipe)
	}
	port, pipe := n.port, n.pipe
	n.mu.Unlock()
	if port != nil {
		var d net.Dialer
		return d.DialContext(ctx, port.Network(), port.String())
	}
	return pipe.dial(ctx)
}

// pipeListener hands the server's end of a net.Pipe to Accept, and the other to
// dial. No system call blocks, so it works in a testing/synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, errClosed
	}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, errClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
