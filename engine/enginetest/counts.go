package enginetest

import "maps"

// Counts is what a server saw.
type Counts struct {
	Requests       int           // requests, except those for tokens, or commands of IMAP and SMTP
	Refused        map[Fault]int // refusals by kind
	RepliesLost    int           // requests that were processed but whose reply was not sent
	EarlyReturns   int           // requests sent after a refusal had been read, and before the time that it named
	Refreshes      int           // tokens issued to a mailbox that already had one
	DuplicateSends int           // deliveries beyond the first of each message

	// These two are counted by a token endpoint only.
	TokenReuses   int // refresh tokens presented again after they had been used
	GrantsRevoked int // grants revoked because of that

	// The peaks are those of the mailbox with the highest, and include refused
	// requests. A limit that the provider lacks is 0. IMAP and SMTP servers count
	// connections that are logged in, and those refused because there were too many.
	PeakConcurrency    int
	ConcurrencyLimit   int
	PeakUnitsPerSecond int64 // over any sliding second
	UnitsLimit         int64 // the most that the provider lets through in one second: rate + burst
}

// RefusedTotal is the number of refusals of every kind.
func (c *Counts) RefusedTotal() int {
	n := 0
	for _, k := range c.Refused {
		n += k
	}
	return n
}

// Counts returns what the server saw since it was made or reset.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limits()
	c := Counts{
		Requests: s.requests, Refused: maps.Clone(s.refused), RepliesLost: s.lost, EarlyReturns: s.refusals.early,
		Refreshes:        s.refreshed,
		ConcurrencyLimit: l.concurrency, UnitsLimit: int64(l.rate + l.burst),
	}
	for _, m := range s.boxes {
		c.DuplicateSends += m.duplicates()
		c.PeakConcurrency = max(c.PeakConcurrency, m.peakInflight)
		c.PeakUnitsPerSecond = max(c.PeakUnitsPerSecond, m.peakUnits)
	}
	return c
}
