package enginetest

import (
	"slices"
	"sync"
	"time"
)

// Options configure a server. The zero value is usable.
type Options struct {
	Seed      uint64        // decides every fault by chance
	Mailboxes int           // 0 = 3
	Messages  int           // in each mailbox; 0 = 100
	Latency   time.Duration // an answer takes from half to one and a half of it; 0 = 20 ms
	// Faultless leaves out the faults by chance and the deleted messages. The
	// limits and the injected faults stay.
	Faultless bool
	// TokenLife is the number of requests after which an access token expires.
	// 0 = 60 for Nylas, and each but the first for at least 10 seconds, so that
	// no call meets two expiries; never for the others. Negative = never.
	TokenLife int
	// OAuth is whose access tokens are good; TokenLife is not read then. nil: the
	// HTTP servers issue tokens of their own, IMAP and SMTP servers take any.
	OAuth *OAuth
}

// Server is one fake provider with its mailboxes. NewTransport reaches it. It is
// safe for concurrent use.
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

// Reset empties the counts, refills the mailboxes and forgets all tokens and
// injected faults and outages, so that another run meets the same faults. No request may be
// in flight.
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

// Name is the name of the provider's policy, such as "gmail".
func (s *Server) Name() string { return s.name() }

// Host is the host name under which clients know the provider, such as
// "gmail.googleapis.com".
func (s *Server) Host() string { return s.host() }

// Mailboxes are the accounts that the server knows.
func (s *Server) Mailboxes() []string { return slices.Clone(s.names) }

// Messages are the messages of a mailbox, in order; nil for an unknown one.
func (s *Server) Messages(mailbox string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[mailbox]
	if m == nil {
		return nil
	}
	return slices.Clone(m.messages)
}

// Sent is how often the message of that identity was delivered from the mailbox.
func (s *Server) Sent(mailbox, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.boxes[mailbox]; m != nil {
		return m.sent[id]
	}
	return 0
}
