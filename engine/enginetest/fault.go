package enginetest

import (
	"slices"
	"strconv"
	"time"
)

// Fault is a way in which a server fails a request. Its text is a short name for tables.
type Fault string

// The faults. Each provider has its own answers for them. A provider that does not have a
// fault answers it with 400.
const (
	OverQuota           Fault = "quota"        // over the provider's limit of units or requests
	OverConcurrency     Fault = "concurrency"  // too many requests at the same time
	Throttled           Fault = "throttled"    // told to come back at a given time, for no visible reason
	Overloaded          Fault = "overloaded"   // throttled, but not told when to come back
	Unavailable         Fault = "unavailable"  // 503: refused before processing
	ServerError         Fault = "server error" // another 5xx
	NotReady            Fault = "not ready"    // Nylas: a 202 that is an error
	ProviderUnreachable Fault = "provider"     // Nylas: it cannot reach the provider behind it
	TokenExpired        Fault = "token"        // 401; IMAP and SMTP: the login is refused
	Slow                Fault = "slow"         // the request is served, but the answer takes a minute

	GrantDead     Fault = "grant dead"    // a token endpoint: invalid_grant
	TooManyLogins Fault = "logins"        // IMAP and SMTP: too many logins; the credentials may be good
	MailboxFull   Fault = "mailbox full"  // IMAP: APPEND finds no room; SMTP: a recipient's mailbox is full
	Greylisted    Fault = "greylisted"    // SMTP: a recipient is refused for now, and told until when
	Rejected      Fault = "rejected"      // SMTP: a recipient that does not exist
	ShuttingDown  Fault = "shutting down" // IMAP: BYE; SMTP: 421. The connection is closed

	ConnectionLost Fault = "connection lost" // the connection is closed before the request is processed
	ReplyLost      Fault = "reply lost"      // the request is processed, but the connection is closed without a reply
	FailedLate     Fault = "failed late"     // the request is processed, but answered with a 5xx
)

// slowness is how long the answer to a request with the fault Slow takes.
const slowness = time.Minute

// Refusals that Counts does not count.
const (
	missing   Fault = "not found"   // 404
	malformed Fault = "bad request" // 400
)

// FaultRate is how often a fault befalls requests by chance.
type FaultRate struct {
	Fault Fault
	Sends bool    // it befalls sends; otherwise it befalls reads
	Rate  float64 // the share of attempts, from 0 to 1, among the first three for each message

	wait time.Duration // how long the refusal tells the client to wait, while the mailbox is throttled; 0 = it does not tell
}

// maxFaults is how many attempts for a message can fail by chance, since providers recover.
const maxFaults = 3

// gone is the share of messages that are listed although they were deleted.
const gone = 0.01

// Faults returns the faults that befall requests by chance, and how often. It is nil with
// Options.Faultless.
func (s *Server) Faults() []FaultRate {
	if s.o.Faultless {
		return nil
	}
	return s.faults()
}

// Inject makes the next requests fail with these faults, one fault for each request, in order,
// whichever mailbox the requests are for, and in place of faults by chance. A request that is
// refused because of a limit or its token uses up none of them. After a fault that names a
// time to come back, the mailbox is throttled until then.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripted.inject("", faults)
}

// Outage makes every request, except those for tokens, fail with f until Outage("") ends it.
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

// next returns the fault that a command is to meet: the first injected one that is for it,
// else that of the outage. suits says whether a fault that is for no particular command can
// befall this one.
func (s *scripted) next(command string, suits func(Fault) bool) (Fault, bool) {
	for i, in := range s.injected {
		if in.command == command || in.command == "" && suits(in.fault) {
			s.injected = slices.Delete(s.injected, i, i+1)
			return in.fault, true
		}
	}
	return s.outage, s.outage != "" && suits(s.outage)
}

// befallsLocked returns the fault that befalls this attempt.
func (s *Server) befallsLocked(m *mailbox, c call, attempt string) (FaultRate, bool) {
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
	return drawn(s.faults(), u, c.op == opSend, func(Fault) bool { return true })
}

// drawn returns the fault that u, a number in [0,1), draws from those that befall sends or
// reads, and suit.
func drawn(faults []FaultRate, u float64, sends bool, suits func(Fault) bool) (FaultRate, bool) {
	for _, f := range faults {
		if f.Sends != sends || !suits(f.Fault) {
			continue
		}
		if u < f.Rate {
			return f, true
		}
		u -= f.Rate
	}
	return FaultRate{}, false
}
