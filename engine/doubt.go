package engine

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// doubts keep an account's other requests back for the moment between the
// headers of a failed response and the hold that may follow from its body.
// Without them a worker that has its permit already would send right into the
// wall that another has just been told of, and many providers count that
// against the account.
//
// Accounts share a fixed number of stripes, so a doubt may keep back a
// stranger too: for microseconds, and never longer than maxDoubt.
type doubts struct {
	stripes atomic.Pointer[[1024]stripe] // made by the first call; few providers of many are used
}

type stripe struct {
	open atomic.Int32 // responses being decided
	mu   sync.Mutex
	wait chan struct{} // closed when open gets to zero
}

// maxDoubt bounds the wait, for a response whose body does not come.
const maxDoubt = 50 * time.Millisecond

var doubtSeed = maphash.MakeSeed()

func (d *doubts) of(account string) *stripe {
	stripes := d.stripes.Load()
	if stripes == nil {
		d.stripes.CompareAndSwap(nil, new([1024]stripe))
		stripes = d.stripes.Load()
	}
	return &stripes[maphash.String(doubtSeed, account)%uint64(len(stripes))]
}

// enter begins a doubt.
func (s *stripe) enter() {
	s.mu.Lock()
	if s.open.Add(1) == 1 {
		s.wait = make(chan struct{})
	}
	s.mu.Unlock()
}

// leave ends it.
func (s *stripe) leave() {
	s.mu.Lock()
	if s.open.Add(-1) == 0 {
		close(s.wait)
	}
	s.mu.Unlock()
}

// settled waits until nothing is in doubt, or for maxDoubt. It reports whether
// it had to.
func (s *stripe) settled(ctx context.Context) bool {
	if s.open.Load() == 0 {
		return false
	}
	s.mu.Lock()
	wait := s.wait
	open := s.open.Load()
	s.mu.Unlock()
	if open == 0 {
		return false
	}
	t := time.NewTimer(maxDoubt)
	defer t.Stop()
	select {
	case <-wait:
	case <-t.C:
	case <-ctx.Done():
	}
	return true
}
