package enginetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// wire is what the fake IMAP and SMTP servers have in common: connections,
// accounts, faults and counts. It is safe for concurrent use.
type wire struct {
	spoken speaker
	o      Options
	names  []string // of the accounts, in order
	moments
	serving sync.WaitGroup
	done    chan struct{} // closed by Close

	mu       sync.Mutex
	port     net.Listener // nil without Listen
	closed   bool
	sessions map[*session]struct{}
	marks    map[string]*marks // of clients over loopback, by their address
	accounts map[string]*account
	scripted scripted
	refusals refusals
	counts   Counts
}

// speaker is what the two differ in.
type speaker interface {
	name() string
	host() string
	account(i int) string
	// connections is how many an account may have at once; 0 = no limit.
	connections() int
	faults() []FaultRate
	// suits says whether a fault can befall a command by itself.
	suits(f Fault, command string) bool
	// serve speaks with a client until the connection is to be closed.
	serve(c *session)
}

// account is what a server knows of an account. The server's lock guards it.
type account struct {
	name     string
	conns    int // that are logged in
	peak     int
	until    time.Time // throttled: everything is refused before this time
	refusals []*refusal
	tries    map[string]*tries // by command and what it is about
	sent     map[string]int    // messages appended or delivered, by Message-ID
	folders  map[string]*folder
}

// tries are how a command has fared that may be repeated.
type tries struct {
	failed, done int
	until        time.Time // greylisted: it is refused before this time
	refusals     []*refusal
}

// maxTries bounds the commands of an account that are told apart.
const maxTries = 100_000

func newWire(s speaker, o Options) *wire {
	o.fill()
	w := &wire{
		spoken: s, o: o, done: make(chan struct{}),
		sessions: map[*session]struct{}{}, marks: map[string]*marks{}, accounts: map[string]*account{},
	}
	w.counts.Refused = map[Fault]int{}
	w.refusals.reset()
	for i := range o.Mailboxes {
		name := s.account(i)
		w.names = append(w.names, name)
		w.accounts[name] = &account{name: name, tries: map[string]*tries{}, sent: map[string]int{}}
	}
	return w
}

// Name is the name of the server's policy, such as "gmail_imap".
func (w *wire) Name() string { return w.spoken.name() }

// Host is the host name under which clients know the server, such as "imap.gmail.com".
func (w *wire) Host() string { return w.spoken.host() }

// Mailboxes are the accounts that the server knows.
func (w *wire) Mailboxes() []string { return slices.Clone(w.names) }

// Faults states how the server misbehaves by chance.
func (w *wire) Faults() []FaultRate {
	if w.o.Faultless {
		return nil
	}
	return w.spoken.faults()
}

// Inject makes the next commands fail with these faults, in place of faults by chance. Each
// fault befalls the first command that it suits: TokenExpired suits a login, for example, and
// ReplyLost a command that delivers or appends a message.
func (w *wire) Inject(faults ...Fault) { w.InjectOn("", faults...) }

// InjectOn does what Inject does, for one command only, such as "SELECT", "UID FETCH" or
// "RCPT". Any fault can befall it. A fault on SMTP's "DATA" comes at the end of the message.
func (w *wire) InjectOn(command string, faults ...Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scripted.inject(strings.ToUpper(command), faults)
}

// Outage makes every command that the fault suits fail with it, until Outage("") ends it.
func (w *wire) Outage(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scripted.outage = f
}

// Counts returns what the server saw since it was made. DuplicateSends are
// messages of one Message-ID that an account appended or sent more than once.
func (w *wire) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.counts
	c.Refused, c.EarlyReturns, c.ConcurrencyLimit = maps.Clone(c.Refused), w.refusals.early, w.spoken.connections()
	for _, a := range w.accounts {
		c.PeakConcurrency = max(c.PeakConcurrency, a.peak)
		for _, n := range a.sent {
			c.DuplicateSends += n - 1
		}
	}
	return c
}

// FailOnEarlyReturn closes the server when the test ends, and then fails the
// test if a client came back early: if it sent a command for an account after it had read a
// refusal for that account, and before the time that the refusal named. Commands that follow
// one another without a pause count as one attempt. Only connections made by Dial are checked.
func (w *wire) FailOnEarlyReturn(tb TB) {
	tb.Helper()
	tb.Cleanup(func() {
		tb.Helper()
		w.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refusals.fail(tb, w.Name())
	})
}

// Listen makes the server listen on a port of the loopback interface, and
// returns its address, such as "127.0.0.1:40123". Dial dials it there from now on.
func (w *wire) Listen() (address string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return "", errClosed
	}
	if w.port == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("enginetest: listen for %q: %w", w.Name(), err)
		}
		w.port = l
		w.serving.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				w.start(conn, nil)
			}
		})
	}
	return w.port.Addr().String(), nil
}

// Dial opens a connection to the server, in memory unless it listens on a port.
// A server that is closed refuses it as a host does where nobody listens.
func (w *wire) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: context.Cause(ctx)}
	}
	w.mu.Lock()
	port, m := w.port, &marks{wire: w, dialled: w.moment()}
	w.mu.Unlock()
	if port == nil {
		client, server := newMemoryConns()
		if !w.start(server, m) {
			return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
		}
		return &clientConn{client, m}, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", port.Addr().String())
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.marks[conn.LocalAddr().String()] = m
	w.mu.Unlock()
	return &clientConn{conn, m}, nil
}

// Close stops the server at once, with the connections that are still open.
func (w *wire) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.done)
	}
	if w.port != nil {
		_ = w.port.Close()
	}
	for c := range w.sessions {
		_ = c.conn.Close()
	}
	w.mu.Unlock()
	w.serving.Wait()
}

// start speaks with a client, and reports whether the server does so at all.
func (w *wire) start(conn net.Conn, m *marks) bool {
	c := &session{wire: w, conn: conn, marks: m, writing: make(chan struct{}, 1)}
	c.r = bufio.NewReaderSize(&c.in, 4096)
	c.in.r = conn
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_ = conn.Close()
		return false
	}
	w.sessions[c] = struct{}{}
	w.serving.Go(func() {
		w.spoken.serve(c)
		_ = conn.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.sessions, c)
		delete(w.marks, conn.RemoteAddr().String())
		if c.account != nil {
			c.account.conns--
		}
	})
	return true
}

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

// readLine reads a line without its end. A line that is too long is passed over to its
// end and is errLine; beyond a hundred times of what is allowed the client is given up.
func (c *session) readLine() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(idleTime))
	var line []byte
	passed := 0
	for {
		part, err := c.r.ReadSlice('\n')
		if passed += len(part); passed <= maxLine {
			line = append(line, part...)
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull || passed > 100*maxLine {
			return "", io.ErrUnexpectedEOF
		}
	}
	if passed > maxLine {
		return "", errLine
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r"), nil
}

// pauseTime is how long a client is silent, once it has read a reply, that has stopped to think.
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

// writeRefusal is write for an answer that is the refusal of that number, if any.
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
func (c *session) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return false
	}
}

// login makes the connection an account's. It reports whether the account may have one more.
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

// outcome is what becomes of a command.
type outcome struct {
	fault   Fault     // "" = none
	until   time.Time // what a refusal names
	refusal int64     // of those that name a time
	took    time.Duration
}

// named is how long until o.until, in a form that the client understands, rounded up.
func (o outcome) named(unit time.Duration) int64 {
	return int64((time.Until(o.until) + unit - 1) / unit)
}

// throttleTime is what a refusal names that throttles.
const throttleTime = 2 * time.Second

// command counts a command of an account, nil before the login, and says what
// becomes of it. about is what tells it from others of its kind.
func (c *session) command(a *account, command, about string) outcome {
	sent, marked := c.sentAt()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Requests++
	who := c.conn.RemoteAddr().String()
	var t *tries
	if a != nil {
		who = a.name
		key := command + " " + about
		if t = a.tries[key]; t == nil {
			t = new(tries)
			if len(a.tries) < maxTries {
				a.tries[key] = t
			}
		}
		if marked {
			what := fmt.Sprintf("%s of %s", command, a.name)
			c.refusals.count(&a.refusals, sent, what)
			c.refusals.count(&t.refusals, sent, what)
		}
	}
	o := c.decide(a, t, command, about)
	attempt := 0
	if t != nil {
		attempt = t.failed + t.done
		if o.fault == "" {
			t.done++
		} else {
			t.failed++
		}
	}
	o.took = time.Duration((0.5 + chance(c.o.Seed, c.Name(), who, command, about, strconv.Itoa(attempt), "latency")) * float64(c.o.Latency))
	if o.fault == Slow {
		o.took += slowness
	}
	switch o.fault {
	case "", Slow, ConnectionLost:
	case ReplyLost:
		c.counts.RepliesLost++
	default:
		c.counts.Refused[o.fault]++
	}
	switch {
	case a == nil:
	case o.fault == Throttled:
		o.refusal = c.refusals.add(&a.refusals, o.until)
	case o.fault == Greylisted:
		o.refusal = c.refusals.add(&t.refusals, o.until)
	}
	return o
}

// decide says which fault a command meets. The caller holds the lock.
func (c *session) decide(a *account, t *tries, command, about string) outcome {
	suits := func(f Fault) bool { return c.spoken.suits(f, command) }
	now := time.Now()
	if a != nil && now.Before(a.until) {
		return outcome{fault: Throttled, until: a.until}
	}
	if t != nil && now.Before(t.until) {
		return outcome{fault: Greylisted, until: t.until}
	}
	fault, ok := c.scripted.next(command, suits)
	if !ok && !c.o.Faultless && t != nil && t.failed < maxFaults*(t.done+1) {
		u := chance(c.o.Seed, c.Name(), a.name, command, about, strconv.Itoa(t.failed), strconv.Itoa(t.done), "fault")
		for _, f := range c.spoken.faults() {
			if !suits(f.Fault) || f.Sends != (command == "APPEND" || command == "DATA") {
				continue
			}
			if u < f.Rate {
				fault = f.Fault
				break
			}
			u -= f.Rate
		}
	}
	o := outcome{fault: fault}
	switch fault {
	case Throttled:
		o.until = now.Add(throttleTime)
		if a != nil {
			a.until = o.until
		}
	case Greylisted:
		o.until = now.Add(throttleTime)
		if t != nil {
			t.until = o.until
		}
	}
	return o
}
