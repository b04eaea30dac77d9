package enginetest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// session is one connection, as the server sees it.
type session struct {
	*wire
	conn  net.Conn
	in    countingReader
	r     *bufio.Reader
	marks *marks // nil = the client's end is not known

	began   moment // of the attempt; see sentAt
	refused bool   // the last reply named a time

	writing chan struct{} // a lock, for whose holder testing/synctest can wait
	written int64
	broken  bool

	// The server's lock guards these.
	account *account // nil before the login
	idle    *folder  // in which the client waits for news; nil = it does not
}

type countingReader struct {
	r io.Reader
	n int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	return n, err
}

// The most that a line and a message may have, in bytes.
const (
	maxLine    = 8 << 10
	maxMessage = maxRequest
)

// idleTime is how long a client may be silent (RFC 9051, section 5.4).
const idleTime = 30 * time.Minute

var errLine = errors.New("line too long")

// readLine reads a line without its end. A line that is longer than maxLine is read to its
// end and dropped, and the error is errLine. After a hundred times maxLine without an end the
// connection is given up.
func (c *session) readLine() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(idleTime))
	var line []byte
	size := 0
	for {
		part, err := c.r.ReadSlice('\n')
		if size += len(part); size <= maxLine {
			line = append(line, part...)
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull || size > 100*maxLine {
			return "", io.ErrUnexpectedEOF
		}
	}
	if size > maxLine {
		return "", errLine
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}

// pauseTime is how long a client is silent after a reply at least, if its next command begins
// another attempt.
const pauseTime = time.Millisecond

// sentAt returns when the client began the attempt to which the latest command belongs, if
// that is known. Commands that follow one another without a pause, such as a login, a SELECT
// and a FETCH, are one attempt, which begins with the first of them, or with the connection.
// After a refusal another attempt begins.
func (c *session) sentAt() (moment, bool) {
	if c.marks == nil {
		c.mu.Lock()
		c.marks = c.wire.marks[c.conn.RemoteAddr().String()]
		c.mu.Unlock()
		if c.marks == nil {
			return moment{}, false
		}
	}
	sent, ok := c.marks.sentAt(c.in.n - int64(c.r.Buffered()))
	switch {
	case !ok:
		return moment{}, false
	case c.began.seq == 0:
		c.began = c.marks.dialled
	case c.refused || sent.at.at.Sub(sent.after.at) >= pauseTime:
		c.began = sent.at
	}
	c.refused = false
	return c.began, true
}

// write sends lines to the client, and reports whether it is still there.
func (c *session) write(lines string) bool { return c.writeRefusal(lines, 0) }

// writeRefusal does what write does, for lines that are the refusal of that number; 0 = they
// are none.
func (c *session) writeRefusal(lines string, id int64) bool {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	if c.broken {
		return false
	}
	if id != 0 {
		c.refused = true // by the session's own goroutine
	}
	if id != 0 && c.marks != nil {
		c.marks.expect(c.written+int64(len(lines)), id)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(idleTime))
	n, err := io.WriteString(c.conn, lines)
	c.written += int64(n)
	c.broken = err != nil
	return err == nil
}

// pause waits, and reports whether the server is still open.
func (c *session) pause(d time.Duration) bool { return pause(c.done, d) }

// login makes the connection one of the account. It returns false if the account has as many
// as it may have.
func (c *session) login(a *account) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.spoken.connections()
	a.peak = max(a.peak, a.conns+1)
	if limit > 0 && a.conns >= limit {
		c.counts.Refused[OverConcurrency]++
		return false
	}
	a.conns++
	c.account = a
	return true
}

// refuse counts a refusal that no fault has made.
func (w *wire) refuse(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Refused[f]++
}

// credentials reports whether a password or an access token is good.
func (w *wire) credentials(a *account, secret string) bool {
	if a == nil || secret == "" {
		return false
	}
	return w.o.OAuth == nil || w.o.OAuth.good(a.name, secret)
}

// authenticate decides about a login with that command. fault is why it is refused; "" = the
// connection is the account's now. open is false if the connection is to be closed without an
// answer.
func (c *session) authenticate(command, user, secret string) (fault Fault, o outcome, open bool) {
	a := c.accounts[user] // the map does not change
	o = c.command(a, command, "")
	if !c.pause(o.took) {
		return "", o, false
	}
	switch {
	case o.fault == ConnectionLost || o.fault == ReplyLost:
		return "", o, false
	case o.fault != "" && o.fault != Slow:
		return o.fault, o, true
	case !c.credentials(a, secret):
		c.refuse(TokenExpired)
		return TokenExpired, o, true
	case !c.login(a):
		return OverConcurrency, o, true
	}
	return "", o, true
}

// challenge sends a line that the client answers with a line of its own. It reports whether it
// has done so.
func (c *session) challenge(line string) (answer string, ok bool) {
	if !c.write(line) {
		return "", false
	}
	answer, err := c.readLine()
	return answer, err == nil
}
