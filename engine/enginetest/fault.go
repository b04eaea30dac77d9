package enginetest

import (
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
	TokenExpired        Fault = "token"        // 401

	ConnectionLost Fault = "connection lost" // before processing
	ReplyLost      Fault = "reply lost"      // processed, and the connection closed without a reply
	FailedLate     Fault = "failed late"     // processed, and then answered with a 5xx
)

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
	s.injected = append(s.injected, faults...)
}

// befalls returns the fault that befalls this attempt. The caller holds the lock.
func (s *Server) befalls(m *mailbox, c call, attempt string) (FaultRate, bool) {
	if len(s.injected) > 0 {
		f := FaultRate{Fault: s.injected[0]}
		s.injected = s.injected[1:]
		switch f.Fault {
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
