package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// Memory is a [limiter.Store], a [limiter.CredentialStore] and a [limiter.PauseStore] in memory.
// [NewMemory] makes one; the zero value cannot be used. It is safe for concurrent use.
type Memory struct {
	*Credentials // what it knows of credentials

	clock func() time.Time

	// mu guards what follows. The exported methods and do lock it; the others need it locked.
	mu       sync.Mutex
	fault    func(op string) Fault
	values   map[limiter.StoreKey]*value
	epochs   map[byte]int64 // by the first byte of a key's place, since when the store has lost no such key
	members  map[limiter.StoreID]member
	watchers map[*watcher]bool
	pauses   pauses
}

type member struct {
	numbers     [8]byte
	table       []byte
	apart       bool
	seen, until int64
}

var _ limiter.Store = (*Memory)(nil)

// NewMemory returns an empty store, like a server that has just started without its data:
// buckets begin empty, and no slots are granted for a third of a lease. A test that does not
// want this can set the clock forward first. clock tells the time; nil = time.Now.
func NewMemory(clock func() time.Time) *Memory {
	if clock == nil {
		clock = time.Now
	}
	m := &Memory{Credentials: NewCredentials(clock), clock: clock, watchers: map[*watcher]bool{}}
	m.Forget()
	return m
}

func (m *Memory) now() int64 { return m.clock().UnixMicro() }

// Forget loses all data, as a restart of a server without its data does. Watch goes on.
func (m *Memory) Forget() {
	m.Credentials.Forget()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values, m.epochs, m.members = map[limiter.StoreKey]*value{}, map[byte]int64{}, map[limiter.StoreID]member{}
	m.pauses = pauses{}
	now := m.now()
	for i := range epochs {
		m.epochs[byte(i)] = now
	}
}

// ForgetKey loses the data of one key, as an eviction does.
func (m *Memory) ForgetKey(k limiter.StoreKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, k)
}

// Sweep drops the values that are as good as new, and returns how many are left.
func (m *Memory) Sweep() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for k, v := range m.values {
		if v.newAt() <= now {
			delete(m.values, k)
		}
	}
	return len(m.values)
}

// Key returns the digests of the two strings.
func (m *Memory) Key(place, name string) (k limiter.StoreKey) {
	return limiter.StoreKey{Place: digest(place), Name: digest(name)}
}

// value returns the value of a key, and the time by which to decide about it: now, or the
// newest time that the value has seen if that is later. It makes a value that is missing.
func (m *Memory) value(k limiter.StoreKey, now int64) (*value, int64) {
	v := m.values[k]
	if v != nil {
		now = max(now, v.seen)
		if now < v.newAt() {
			v.advance(now)
			return v, now
		}
	}
	v = &value{since: m.epochs[k.Place[0]]}
	m.values[k] = v
	return v, now
}

// existing is like value, but returns nil for a key that has no value.
func (m *Memory) existing(k limiter.StoreKey, now int64) (*value, int64) {
	if v := m.values[k]; v == nil || max(now, v.seen) >= v.newAt() {
		return nil, now
	}
	return m.value(k, now)
}

// changed records a change at the time now, and returns the new version.
func (v *value) changed(now int64) uint64 {
	v.seen = max(v.seen, now)
	v.version++
	return uint64(v.version)
}

// End implements [limiter.Store].
func (m *Memory) End(ctx context.Context, ends []limiter.StoreEnd) error {
	ends = slices.Clone(ends)
	for i := range ends {
		if err := checkParts(ends[i].Parts); err != nil {
			return err
		}
		ends[i].Parts = cloneParts(ends[i].Parts)
	}
	_, err := do(ctx, m, "end", func() any {
		for i := range ends {
			m.end(&ends[i])
		}
		return nil
	})
	return err
}

func (m *Memory) end(e *limiter.StoreEnd) {
	for i := range e.Parts {
		p := &e.Parts[i]
		m.endPart(e, p)
	}
}

func (m *Memory) endPart(e *limiter.StoreEnd, p *limiter.StorePart) {
	refund := e.Ending == limiter.StoreCancelled || e.Ending == limiter.StoreRefunded
	over := e.Ending != limiter.StoreSucceeded && e.Ending != limiter.StoreRefunded
	good := e.Ending == limiter.StoreCompleted || e.Ending == limiter.StoreSucceeded
	ago := span(e.Ago, false)

	now := m.now()
	v, now := m.existing(p.Key, now)
	if v == nil {
		if !refund && !(over && ago < recentFor) {
			return
		}
		v, now = m.value(p.Key, now)
	}
	is, ended := v.isVoid(e.ID)
	if ended {
		return
	}
	at, known := v.grantOf(e.ID, now)
	if !known {
		at = now - ago
	}
	if refund || over && !known && ago < recentFor {
		v.voidIt(e.ID, over, now+leaseOf(e.Lease))
	}
	giveBack := refund && !is && (known || ago >= recentFor)
	for i := range p.Uses {
		u := &p.Uses[i]
		s := v.find(u.Limit.Name)
		if s == nil || s.kind != u.Limit.Kind {
			continue
		}
		s.advance(now)
		s.tune(&u.Limit, now)
		if giveBack {
			s.refund(u.Cost, &u.Limit, at, v.newest(at), now)
		}
		if good && at >= s.refusedAt {
			s.refusals = 0
		}
		s.probed(e.ID, !refund, &u.Limit, now)
		if i := s.leaseOf(e.ID); i >= 0 && over {
			s.leases = slices.Delete(s.leases, i, i+1)
			m.freed(p.Key, s.offer(s.lowered(units(u.Limit.Units)), now, nil))
		}
	}
	v.changed(now)
}

// Change implements [limiter.Store].
func (m *Memory) Change(ctx context.Context, c *limiter.StoreChange) (limiter.StoreState, error) {
	change := *c
	change.Steps = slices.Clone(c.Steps)
	return do(ctx, m, "change", func() limiter.StoreState { return m.change(&change) })
}

func (m *Memory) change(c *limiter.StoreChange) limiter.StoreState {
	v, now := m.value(c.Key, m.now())
	s := v.state(&c.Limit, now)
	cause, told, lifted := c.Cause, false, false
	if cause != (limiter.Cause{}) {
		cause.At = time.UnixMicro(now)
	}
	switch c.Kind {
	case limiter.StoreRefused:
		s.refuse(span(c.Sent, false), c.Limit.Adapt, now)
		if n := min(int64(len(c.Steps)), s.refusals); n > 0 {
			told = s.close(now+span(c.Steps[n-1], true), cause, now)
		}
	case limiter.StoreHeld:
		told = s.close(now+span(c.Hold, true), cause, now)
	case limiter.StoreLifted:
		told, lifted = true, true // also if the store has lost the hold, since others may know of it
		s.lift(now)
	case limiter.StoreLearned:
		s.learn(c, now)
	}
	if told {
		m.tell(limiter.StoreEvent{Key: c.Key, Lifted: lifted}, nil)
	}
	st := limiter.StoreState{Version: v.changed(now), Refusals: int(s.refusals), Lowered: s.cut, Quota: s.quota}
	if c.Limit.Learn {
		st.Count = s.granted
	}
	if s.reset != 0 && !s.guessed {
		st.Left, st.Reset = max(0, s.left), duration(s.reset-now)
	}
	if s.hold != 0 {
		st.Held = duration(s.hold - now)
	}
	if s.hold != 0 || s.allowed > 0 {
		st.Cause = s.cause
	}
	return st
}

func leaseOf(d time.Duration) int64 { return storecodec.Lease(d) }

var (
	errPlaces = errors.New("storetest: the keys of one take are not of one place")
	errPauses = errors.New("storetest: too many changes of pauses in one request")
	errTwice  = errors.New("storetest: a key, or a limit of one, is named twice")
)

// checkParts refuses parts that no store can take in one step.
func checkParts(parts []limiter.StorePart) error {
	for i := range parts {
		for j := range i {
			if parts[i].Key.Place != parts[j].Key.Place {
				return errPlaces
			}
			if parts[i].Key.Name == parts[j].Key.Name {
				return errTwice
			}
		}
		for j := range parts[i].Uses {
			for k := range j {
				if parts[i].Uses[j].Limit.Name == parts[i].Uses[k].Limit.Name {
					return errTwice
				}
			}
		}
	}
	return nil
}

func cloneTake(t *limiter.StoreTake) *limiter.StoreTake {
	c := *t
	c.Parts = cloneParts(t.Parts)
	return &c
}

// cloneParts copies parts, and bounds their numbers.
func cloneParts(parts []limiter.StorePart) []limiter.StorePart {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i].Uses = slices.Clone(parts[i].Uses)
		for j := range parts[i].Uses {
			u := &parts[i].Uses[j]
			u.Cost, u.Headroom = units(u.Cost), units(u.Headroom)
		}
	}
	return parts
}
