package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
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

// speaker is what the servers of IMAP and of SMTP differ in.
type speaker interface {
	name() string
	host() string
	account(i int) string
	// connections is how many an account may have at once; 0 = no limit.
	connections() int
	faults() []FaultRate
	// suits reports whether a fault that a test injected for no particular command, or that
	// comes by chance, can befall this command.
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

// tries count how often a command, and what it is about, has failed and succeeded.
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

// Name returns the name of the server's policy, such as "gmail_imap".
func (w *wire) Name() string { return w.spoken.name() }

// Host returns the host name under which clients know the server, such as "imap.gmail.com".
func (w *wire) Host() string { return w.spoken.host() }

// Mailboxes returns the names of the server's accounts, in order.
func (w *wire) Mailboxes() []string { return slices.Clone(w.names) }

// Faults returns the faults that befall commands by chance, and how often. It is nil with
// Options.Faultless.
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
	w.refusals.failOnEarlyReturn(tb, w.Name(), &w.mu, w.Close)
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
