package main

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy is between the workers and the store, and spoils what comes back.
type proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	mu    sync.Mutex
	conns map[net.Conn]struct{} // the workers' ends
	slow  time.Duration         // by which answers are late
	lost  bool                  // answers are swallowed
	often chan struct{}         // ends the resets that resetOften began
}

// newProxy starts a proxy to an address. It ends with the test.
func newProxy(t *testing.T, network, address string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, conns: map[net.Conn]struct{}{}}
	p.dial = func() (net.Conn, error) { return net.Dial(network, address) }
	t.Cleanup(func() { _ = l.Close(); p.reset() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve(client net.Conn) {
	server, err := p.dial()
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.conns[client] = struct{}{}
	p.mu.Unlock()
	go p.copy(server, client)
	p.answer(client, server)
	p.mu.Lock()
	delete(p.conns, client)
	p.mu.Unlock()
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// answer brings answers back, as late as the proxy is slow, but no later for one after another.
func (p *proxy) answer(client, server net.Conn) {
	type piece struct {
		at time.Time
		b  []byte
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer client.Close()
		for c := range pieces {
			time.Sleep(time.Until(c.at))
			if _, err := client.Write(c.b); err != nil {
				break
			}
		}
		for range pieces {
		}
	}()
	defer close(pieces)
	b := make([]byte, 1<<16)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		slow, lost := p.slow, p.lost
		p.mu.Unlock()
		if !lost {
			pieces <- piece{time.Now().Add(slow), append([]byte(nil), b[:n]...)}
		}
	}
}

// beSlow makes answers late from now on.
func (p *proxy) beSlow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = d
}

// lose swallows answers, or ends that. Connections that have lost some are then of no use.
func (p *proxy) lose(lost bool) {
	p.mu.Lock()
	p.lost = lost
	p.mu.Unlock()
	if !lost {
		p.reset()
	}
}

// reset ends all connections at once, with what is under way.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// resetOften ends all connections twenty times a second, or ends that.
func (p *proxy) resetOften(on bool) {
	if !on {
		close(p.often)
		return
	}
	p.often = make(chan struct{})
	go func(done <-chan struct{}) {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				p.reset()
			}
		}
	}(p.often)
}
