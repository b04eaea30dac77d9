package enginetest

import (
	"slices"
	"strconv"
	"time"
)

// Fault is what a server does instead of what it was asked for. Its text is a
// short name for tables.
type Fault string

// The faults. Each provider words them in its own way, and answers one that it
// does not know with 400.
const (
	OverQuota           Fault = "quota"        // over the provider's limit of units or requests
	OverConcurrency     Fault = "concurrency"  // too many requests at once
	Throttled           Fault = "throttled"    // told to come back later, for reasons of the provider's own
	Overloaded          Fault = "overloaded"   // throttled without a word on when to come back
	Unavailable         Fault = "unavailable"  // 503: refused before processing
	ServerError         Fault = "server error" // another 5xx
	NotReady            Fault = "not ready"    // Nylas: a 202 that is an error
	ProviderUnreachable Fault = "provider"     // Nylas: it cannot reach the provider behind it
	TokenExpired        Fault = "token"        // 401; IMAP and SMTP: the login is refused
	Slow                Fault = "slow"         // it is served, but the answer comes after a minute

	GrantDead     Fault = "grant dead"    // a token endpoint: invalid_grant
	TooManyLogins Fault = "logins"        // IMAP and SMTP: too many of them, whose credentials may be good
	MailboxFull   Fault = "mailbox full"  // IMAP: APPEND finds no room; SMTP: of a recipient
	Greylisted    Fault = "greylisted"    // SMTP: a recipient is refused for now, and told until when
	Rejected      Fault = "rejected"      // SMTP: a recipient that does not exist
	ShuttingDown  Fault = "shutting down" // IMAP: BYE; SMTP: 421. The connection is closed

	ConnectionLost Fault = "connection lost" // before processing
	ReplyLost      Fault = "reply lost"      // processed, and the connection closed without a reply
	FailedLate     Fault = "failed late"     // processed, and then answered with a 5xx
)

// slowness is how long an answer takes that is slow.
const slowness = time.Minute

// What is refused without being counted as a refusal.
const (
	missing   Fault = "not found"   // 404
	malformed Fault = "bad request" // 400
)

// FaultRate is how often a fault befalls requests by chance.
type FaultRate struct {
	Fault Fault
	Sends bool    // it befalls sends; else reads
	Rate  float64 // of first attempts; no message is befallen more than three times

	wait time.Duration // what the refusal names; 0 = nothing. Until then the mailbox is throttled
}

// maxFaults bounds the faults that one message meets by chance: providers do recover.
const maxFaults = 3

// gone is the share of messages that are listed but deleted since.
const gone = 0.01

// Faults states how the server misbehaves by chance.
func (s *Server) Faults() []FaultRate {
	if s.o.Faultless {
		return nil
	}
	return s.faults()
}

// Inject makes the requests that the server would serve next meet these faults:
// one each, in order, whichever mailbox they are for, and before any fault by
// chance. A request that a limit or its token keeps out uses up none of them. A
// fault of a kind that names a time to come back closes the mailbox until then.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripted.inject("", faults)
}

// Outage makes every request meet a fault, until Outage("") ends it. Requests
// for tokens are not concerned.
func (s *Server) Outage(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripted.outage = f
}

// scripted are the faults that a test asked for. Its server's lock guards it.
type scripted struct {
	outage   Fault // of every request; "" = none
	injected []injection
}

// injection is a fault that one request is to meet.
type injection struct {
	fault   Fault
	command string // the only one that it befalls; "" = any that suits it
}

func (s *scripted) inject(command string, faults []Fault) {
	for _, f := range faults {
		s.injected = append(s.injected, injection{f, command})
	}
}

// next is the fault that a command is to meet: of the injected ones the first
// that is for it, else the outage's. suits says whether a fault that is for no command
// of its own can befall this one.
func (s *scripted) next(command string, suits func(Fault) bool) (Fault, bool) {
	for i, in := range s.injected {
		if in.command == command || in.command == "" && suits(in.fault) {
			s.injected = slices.Delete(s.injected, i, i+1)
			return in.fault, true
		}
	}
	return s.outage, s.outage != "" && suits(s.outage)
}

// befalls returns the fault that befalls this attempt. The caller holds the lock.
func (s *Server) befalls(m *mailbox, c call, attempt string) (FaultRate, bool) {
	if why, ok := s.scripted.next(string(c.op), func(Fault) bool { return true }); ok {
		f := FaultRate{Fault: why}
		switch why {
		case OverQuota, OverConcurrency, Throttled:
			f.wait = s.limits().throttle
		}
		return f, true
	}
	if s.o.Faultless {
		return FaultRate{}, false
	}
	if n, err := strconv.Atoi(attempt); err != nil || n > maxFaults {
		return FaultRate{}, false
	}
	u := chance(s.o.Seed, s.Name(), m.name, string(c.op), c.id, c.page, attempt, "fault")
	for _, f := range s.faults() {
		if f.Sends != (c.op == opSend) {
			continue
		}
		if u < f.Rate {
			return f, true
		}
		u -= f.Rate
	}
	return FaultRate{}, false
}
