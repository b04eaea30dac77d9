package enginetest

import (
	"net"
	"sync"
)

// clientConn is a client's end of a connection. It tells the server when the client sent
// something, and how much it has read.
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

// CloseWrite closes the direction to the server, as that of a *net.TCPConn does.
func (c *clientConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// marks records when a client sent and read, by the number of bytes that had passed.
type marks struct {
	wire *wire

	dialled  moment
	mu       sync.Mutex
	sent     int64      // bytes that the client has sent
	sends    []mark     // the writes that the server has not read to their end
	read     int64      // bytes that the client has read
	lastRead moment     // when it last read
	expected []expected // the refusals that it has not read to their end
}

// mark is one write of the client.
type mark struct {
	end   int64  // the value of marks.sent after it
	at    moment // when it was made
	after moment // when the client had last read before it
}

// expected is a refusal: its last byte is the end-th that the client reads.
type expected struct{ end, refusal int64 }

func (m *marks) sending(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent += int64(n)
	m.sends = append(m.sends, mark{m.sent, m.wire.moment(), m.lastRead})
}

// sentAt returns the write that sent the place-th byte; false = it is not known.
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

// expect notes that a refusal ends with the end-th byte that the client reads.
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
