package enginetest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memoryConn is one end of a connection in memory. Unlike net.Pipe, and like a socket, it
// has buffers, so that both ends can write before either reads. Unlike with a socket, a
// goroutine that waits for it is durably blocked for testing/synctest.
type memoryConn struct {
	in, out *half
}

// bufferSize is how many bytes an end can write before the other end reads.
const bufferSize = 64 << 10

// half is one direction of a connection.
type half struct {
	mu   sync.Mutex
	cond *sync.Cond // signals every change
	buf  []byte
	eof  bool // nobody writes any more
	gone bool // nobody reads any more

	reading, writing deadline
}

// deadline ends waits at a time. Its half's lock guards it.
type deadline struct {
	at    time.Time // zero = never
	timer *time.Timer
}

// newMemoryConns returns both ends of a connection.
func newMemoryConns() (client, server net.Conn) {
	a, b := new(half), new(half)
	a.cond, b.cond = sync.NewCond(&a.mu), sync.NewCond(&b.mu)
	return &memoryConn{in: a, out: b}, &memoryConn{in: b, out: a}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// setLocked moves a deadline.
func (h *half) setLocked(d *deadline, at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.at, d.timer = at, nil
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			h.mu.Lock() // or it may come between a look at the clock and the wait
			defer h.mu.Unlock()
			h.cond.Broadcast()
		})
	}
	h.cond.Broadcast()
}

func (c *memoryConn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, c.error("read", net.ErrClosed)
		case h.reading.passed():
			return 0, c.error("read", os.ErrDeadlineExceeded)
		case len(h.buf) > 0:
			n := copy(p, h.buf)
			h.buf = h.buf[n:]
			h.cond.Broadcast()
			return n, nil
		case h.eof:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		h.cond.Wait()
	}
}

func (c *memoryConn) Write(p []byte) (n int, err error) {
	h := c.out
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.eof:
			return n, c.error("write", net.ErrClosed)
		case h.gone:
			return n, c.error("write", syscall.EPIPE)
		case h.writing.passed():
			return n, c.error("write", os.ErrDeadlineExceeded)
		}
		if room := bufferSize - len(h.buf); room > 0 {
			k := min(room, len(p))
			h.buf = append(h.buf, p[:k]...)
			n, p = n+k, p[k:]
			h.cond.Broadcast()
		}
		if len(p) == 0 {
			return n, nil
		}
		h.cond.Wait()
	}
}

// CloseWrite ends the direction to the other end, which can read what was
// written before.
func (c *memoryConn) CloseWrite() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.eof = true
	c.out.setLocked(&c.out.writing, time.Time{})
	return nil
}

// Close ends both directions. What was written before can still be read.
func (c *memoryConn) Close() error {
	_ = c.CloseWrite()
	c.in.mu.Lock()
	c.in.gone, c.in.buf = true, nil
	c.in.setLocked(&c.in.reading, time.Time{})
	c.in.mu.Unlock()
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.setLocked(&c.in.reading, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.setLocked(&c.out.writing, t)
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) LocalAddr() net.Addr  { return pipeAddr{} }
func (c *memoryConn) RemoteAddr() net.Addr { return pipeAddr{} }

func (c *memoryConn) error(op string, err error) error {
	return &net.OpError{Op: op, Net: "pipe", Err: err}
}
