package enginetest

import (
	"slices"
	"sync"
	"time"
)

// Options configure a server. The zero value is usable.
type Options struct {
	Seed      uint64        // decides which faults occur by chance
	Mailboxes int           // how many there are; 0 = 3
	Messages  int           // how many each mailbox has; 0 = 100
	Latency   time.Duration // an answer takes from 0.5 to 1.5 times this; 0 = 20 ms
	// Faultless leaves out the faults by chance and the deleted messages. Limits and
	// injected faults stay.
	Faultless bool
	// TokenLife is the number of requests after which an access token expires. Negative =
	// never. 0 = never, except for Nylas: there it is 60, but each token of a mailbox
	// except the first is good for at least 10 seconds, so that no call meets two
	// expiries.
	TokenLife int
	// OAuth is the endpoint whose access tokens the server accepts; TokenLife is then
	// ignored. nil = HTTP servers issue their own tokens, and IMAP and SMTP servers
	// accept any secret.
	OAuth *OAuth
}

// Server is one fake provider with its mailboxes. A Transport reaches it. It is safe for
// concurrent use.
type Server struct {
	provider
	o     Options
	names []string // of the mailboxes, in order
	moments
	net listeners

	mu        sync.Mutex
	boxes     map[string]*mailbox
	scripted  scripted
	refusals  refusals
	requests  int
	refused   map[Fault]int
	lost      int // replies withheld after the request had been processed
	refreshed int
}

// fill replaces zeros by their defaults.
func (o *Options) fill() {
	if o.Mailboxes <= 0 {
		o.Mailboxes = 3
	}
	if o.Messages <= 0 {
		o.Messages = 100
	}
	if o.Latency <= 0 {
		o.Latency = defaultLatency
	}
}

const defaultLatency = 20 * time.Millisecond

func newServer(p provider, o Options) *Server {
	o.fill()
	s := &Server{provider: p, o: o, boxes: map[string]*mailbox{}}
	s.net.handle(s.answer)
	for i := range o.Mailboxes {
		s.names = append(s.names, p.mailbox(i))
	}
	s.Reset()
	return s
}

// Reset sets the counts to zero, refills the mailboxes and forgets all tokens, injected faults
// and outages, so that another run meets the same faults by chance. No request may be in
// flight.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.reset()
	s.refused, s.scripted = map[Fault]int{}, scripted{}
	s.requests, s.lost, s.refreshed = 0, 0, 0
	l := s.limits()
	share := gone
	if s.o.Faultless {
		share = 0
	}
	for _, name := range s.names {
		m := &mailbox{name: name}
		m.reset(s.o.Seed, s.Name(), s.o.Messages, share, bucket{rate: l.rate, burst: l.burst})
		s.boxes[name] = m
	}
}

// Name returns the name of the provider's policy, such as "gmail".
func (s *Server) Name() string { return s.name() }

// Host returns the host name under which clients know the provider, such as
// "gmail.googleapis.com".
func (s *Server) Host() string { return s.host() }

// Mailboxes returns the names of the server's mailboxes, in order.
func (s *Server) Mailboxes() []string { return slices.Clone(s.names) }

// Messages returns the messages of a mailbox, in order; nil for an unknown mailbox.
func (s *Server) Messages(mailbox string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[mailbox]
	if m == nil {
		return nil
	}
	return slices.Clone(m.messages)
}

// Sent returns how often the message with that identity was delivered from the mailbox.
func (s *Server) Sent(mailbox, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.boxes[mailbox]; m != nil {
		return m.sent[id]
	}
	return 0
}
