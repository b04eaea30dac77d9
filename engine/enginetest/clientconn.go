package enginetest

import (
	"net"
	"sync"
)

// clientConn is a client's end of a connection. It tells the server when it
// sent, and what it has read.
type clientConn struct {
	net.Conn
	marks *marks
}

func (c *clientConn) Write(p []byte) (int, error) {
	c.marks.sending(len(p))
	return c.Conn.Write(p)
}

func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.marks.received(n)
	return n, err
}

// CloseWrite ends what the client has to say, as that of a *net.TCPConn.
func (c *clientConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// marks are the moments of a client's end, by how many bytes have passed.
type marks struct {
	wire *wire

	dialled  moment
	mu       sync.Mutex
	sent     int64
	sends    []mark // whose end the server has not read
	read     int64
	lastRead moment
	expected []expected
}

type mark struct {
	end   int64
	at    moment
	after moment // when the client had read last
}

type expected struct{ end, refusal int64 }

func (m *marks) sending(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent += int64(n)
	m.sends = append(m.sends, mark{m.sent, m.wire.moment(), m.lastRead})
}

// sentAt is when the byte before that place was sent.
func (m *marks) sentAt(place int64) (mark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.sends) > 0 && m.sends[0].end < place {
		m.sends = m.sends[1:]
	}
	if len(m.sends) == 0 {
		return mark{}, false
	}
	return m.sends[0], true
}

// expect waits for the client to have read as far as that place, where the refusal ends.
func (m *marks) expect(end, refusal int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expected = append(m.expected, expected{end, refusal})
}

func (m *marks) received(n int) {
	m.mu.Lock()
	m.read += int64(n)
	m.lastRead = m.wire.moment()
	var read []int64
	for len(m.expected) > 0 && m.expected[0].end <= m.read {
		read = append(read, m.expected[0].refusal)
		m.expected = m.expected[1:]
	}
	m.mu.Unlock()
	for _, id := range read {
		m.wire.mu.Lock()
		m.wire.refusals.finish(id, m.wire.moment())
		m.wire.mu.Unlock()
	}
}
