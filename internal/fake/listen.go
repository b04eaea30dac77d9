package fake

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

// Network is a set of servers that listen, each for its own host name.
type Network struct {
	servers []*http.Server
	dial    map[string]func(context.Context) (net.Conn, error) // by host name
	serving sync.WaitGroup
}

// Listen starts every server on a loopback port of its own.
func Listen(servers ...*Server) (*Network, error) {
	n := &Network{dial: map[string]func(context.Context) (net.Conn, error){}}
	for _, s := range servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			n.Close()
			return nil, fmt.Errorf("fake: listen for %q: %w", s.Host(), err)
		}
		address := l.Addr().String()
		n.serve(l, s, func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		})
	}
	return n, nil
}

// ListenPipe starts every server behind in-memory connections. Nothing leaves
// the process and no operating system call blocks, so it works in a
// testing/synctest bubble.
func ListenPipe(servers ...*Server) *Network {
	n := &Network{dial: map[string]func(context.Context) (net.Conn, error){}}
	for _, s := range servers {
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		n.serve(l, s, l.dial)
	}
	return n
}

func (n *Network) serve(l net.Listener, s *Server, dial func(context.Context) (net.Conn, error)) {
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	n.servers = append(n.servers, hs)
	n.dial[s.Host()] = dial
	n.serving.Go(func() { _ = hs.Serve(l) })
}

// Transport returns a transport of plain HTTP/1.1 that dials the servers by
// their providers' host names, and nothing else. Close its idle connections
// when done.
func (n *Network) Transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, fmt.Errorf("fake: dial %q: %w", address, err)
			}
			dial := n.dial[host]
			if dial == nil {
				return nil, fmt.Errorf("fake: dial %q: no such server", address)
			}
			return dial(ctx)
		},
		MaxIdleConns:        0, // no limit
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
	}
}

// Close stops the servers at once, with the connections that are still open.
func (n *Network) Close() {
	for _, s := range n.servers {
		_ = s.Close()
	}
	n.serving.Wait()
}

// pipeListener hands the server's end of a net.Pipe to Accept, and the other to dial.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

var errListenerClosed = errors.New("fake: listener closed")

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, errListenerClosed
	}
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, errListenerClosed
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
