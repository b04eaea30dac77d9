package limiter

import (
	"context"
	"errors"
	"slices"
	"time"
)

// What became of permits, on its way to the store. No call waits for it: it is sent in
// batches, and again where the store does not answer, for as long as a lease lasts. What
// is lost costs a lease, or a refund.

const (
	endsAfter  = time.Millisecond // how long ends are collected before they are sent
	maxEnds    = 1 << 14          // that wait to be sent; the oldest are dropped
	endsAtOnce = 512              // in one request
)

type pendingEnd struct {
	end     StoreEnd
	instant int64 // of the permit
	queued  int64
}

// pendingChange is what the store is to be told of a limit, too.
type pendingChange struct {
	key    *sharedKey
	change StoreChange
	queued int64
}

// end queues what became of a permit that was granted at the time instant.
func (m *Member) end(e StoreEnd, instant int64) {
	e.Member, e.Lease = m.id, m.o.Lease
	m.mu.Lock()
	if len(m.ends) >= maxEnds {
		n := len(m.ends) - maxEnds + maxEnds/8
		m.stats.dropped.Add(int64(n))
		m.ends = append(m.ends[:0], m.ends[n:]...)
	}
	first := len(m.ends) == 0
	m.ends = append(m.ends, pendingEnd{e, instant, m.now()})
	m.mu.Unlock()
	if first {
		kick(m.kickEnds)
	}
}

// later queues a change that no call waits for.
func (m *Member) later(k *sharedKey, c StoreChange) {
	c.Key, c.Member = k.key, m.id
	m.mu.Lock()
	if len(m.changes) >= maxEnds/8 {
		m.changes = append(m.changes[:0], m.changes[len(m.changes)/2:]...)
	}
	m.changes = append(m.changes, pendingChange{k, c, m.now()})
	m.mu.Unlock()
	kick(m.kickEnds)
}

// sendEnds sends what is queued until the member leaves.
func (m *Member) sendEnds() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.kickEnds:
		}
		m.sleep(endsAfter)
		for m.outage.Load() == nil && m.sendBatch() {
		}
		if m.leaveIfIdle() {
			return
		}
	}
}

// sleep waits, or until the member leaves.
func (m *Member) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// sendBatch sends a part of what is queued, and reports whether there was anything and it
// was sent. What the store did not take stays in the queue.
func (m *Member) sendBatch() bool {
	now := m.now()
	sent, changes := m.takeBatch(now)
	if len(sent) == 0 && len(changes) == 0 {
		return false
	}
	toldEnds, err := m.tellEnds(sent, now)
	toldChanges := 0
	if err == nil {
		toldChanges, err = m.tellChanges(changes, now)
	}
	if err != nil {
		m.mu.Lock()
		m.ends = append(sent[toldEnds:], m.ends...)
		m.changes = append(changes[toldChanges:], m.changes...)
		m.mu.Unlock()
	}
	return err == nil
}

// takeBatch takes out of the queues what is to be sent at the time now, and drops what is
// too old.
func (m *Member) takeBatch(now int64) (ends []pendingEnd, changes []pendingChange) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := 0
	for old < len(m.ends) && now-m.ends[old].queued > int64(m.o.Lease) {
		old++
	}
	m.stats.dropped.Add(int64(old))
	n := old + min(len(m.ends)-old, endsAtOnce)
	ends = slices.Clone(m.ends[old:n])
	m.ends = append(m.ends[:0], m.ends[n:]...)
	changes, m.changes = m.changes, nil
	return ends, changes
}

// tellChanges sends changes, and returns how many of them need not be sent again.
func (m *Member) tellChanges(changes []pendingChange, now int64) (done int, err error) {
	for i := range changes {
		c, waited := changes[i].change, time.Duration(now-changes[i].queued)
		switch {
		case c.Kind == StoreHeld && c.Hold <= waited, c.Kind == StoreLearned && c.Reset != 0 && c.Reset <= waited,
			c.Kind != StoreHeld && waited > m.o.Lease:
			continue // it is over
		}
		c.Hold, c.Reset = max(0, c.Hold-waited), max(0, c.Reset-waited)
		if c.Sent >= 0 {
			c.Sent += waited
		}
		var st StoreState
		err := m.request(func(ctx context.Context) (err error) { st, err = m.store.Change(ctx, &c); return err })
		if errors.Is(err, ErrStoreValue) {
			continue
		}
		if err != nil {
			return i, err
		}
		m.noteState(changes[i].key, c.Limit, st, false)
	}
	return len(changes), nil
}

// tellEnds sends ends, and returns how many of them need not be sent again. Those of a key whose value
// the store cannot read are dropped.
func (m *Member) tellEnds(ends []pendingEnd, now int64) (done int, err error) {
	if len(ends) == 0 {
		return 0, nil
	}
	batch := make([]StoreEnd, len(ends))
	for i := range batch {
		batch[i] = ends[i].end
		batch[i].Ago = time.Duration(now - ends[i].instant)
	}
	tell := func(ends []StoreEnd) error {
		return m.request(func(ctx context.Context) error { return m.store.End(ctx, ends) })
	}
	if err := tell(batch); err == nil {
		return len(batch), nil
	} else if !errors.Is(err, ErrStoreValue) {
		return 0, err
	}
	for i := range batch {
		err := tell(batch[i : i+1])
		if errors.Is(err, ErrStoreValue) {
			m.stats.dropped.Add(1)
		} else if err != nil {
			return i, err
		}
	}
	return len(batch), nil
}

// request asks the store for something that no call waits for. An error begins an outage, unless
// it is about one value.
func (m *Member) request(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(m.ctx, max(m.o.Timeout, time.Second))
	defer cancel()
	m.stats.requests.Add(1)
	err := f(ctx)
	if err != nil && m.ctx.Err() == nil {
		m.stats.errors.Add(1)
		m.failedBy(err)
	}
	return err
}
