package limiter

import (
	"sync/atomic"
	"time"
)

// The keys that something is known of, and what others do to them.

// sharedKey is one key of a limiter in the store. The key's entry keeps it, and the member
// knows it while events of it matter.
type sharedKey struct {
	l   *Limiter
	e   *entry
	key StoreKey

	refused atomic.Int64 // when a call was last refused because of it
	events  atomic.Int64 // how many were told
	ahead   atomic.Int32 // takes under way, and reservations of times to come

	// Member.mu guards these.
	known     int             // how many leases and reservations need its events
	until     int64           // so long, too
	version   uint64          // the newest of its value that was seen
	leases    int             // how many permits have slots of it
	held      int64           // so long the store must have its value, since it is held, lowered or learned of
	listeners []chan struct{} // of reservations, which a hold makes void
}

// know makes the member follow what happens to k for so long.
func (m *Member) know(k *sharedKey, d time.Duration) {
	m.mu.Lock()
	m.knowLocked(k, d)
	m.mu.Unlock()
}

func (m *Member) knowLocked(k *sharedKey, d time.Duration) {
	k.until = max(k.until, m.now()+int64(d))
	m.keys[k.key.Name] = k
}

// purge drops what is not needed any more.
func (m *Member) purge() {
	now := m.now()
	m.mu.Lock()
	for name, k := range m.keys {
		if k.known == 0 && k.until <= now {
			delete(m.keys, name)
		}
	}
	m.mu.Unlock()
}

// pinnedLocked reports whether the store must not have dropped the key's value, since the
// process has slots of it or knows of a hold. Member.mu is locked.
func (k *sharedKey) pinnedLocked(now int64) bool { return k.leases > 0 || k.held > now }

// seen notes the version of a key's value, and how long it is held.
func (m *Member) seen(k *sharedKey, version uint64, held time.Duration) {
	m.mu.Lock()
	now := m.now()
	if !k.pinnedLocked(now) || version > k.version {
		k.version = version
	}
	if held > 0 {
		k.held = max(k.held, now+int64(held))
		m.knowLocked(k, held)
	}
	m.mu.Unlock()
}

// watch follows the store's events until the member leaves.
func (m *Member) watch() {
	for pause := probeEvery; m.ctx.Err() == nil; pause = min(2*pause, maxProbeEvery) {
		began := time.Now()
		_ = m.store.Watch(m.ctx, m.id, m.event) // an event that is lost only costs time
		if time.Since(began) > time.Minute {
			pause = probeEvery
		}
		m.sleep(pause)
	}
}

// event is what another process did.
func (m *Member) event(v StoreEvent) {
	none := v == (StoreEvent{})
	if (none || v.Paused) && m.o.Pauses != nil {
		m.o.Pauses()
	}
	if none {
		m.reopen() // what happened before it began to listen is not known
	}
	if none || v.Paused {
		return
	}
	m.mu.Lock()
	k := m.keys[v.Key.Name]
	if k != nil && !v.Freed {
		for _, c := range k.listeners {
			kick(c)
		}
		if v.Lifted {
			m.forgetLiftedLocked(k)
		}
	}
	m.mu.Unlock()
	if k != nil {
		k.events.Add(1)
		k.askAnew()
	}
}

// reopen lets all calls ask again that wait since the store has refused them.
func (m *Member) reopen() {
	m.mu.Lock()
	ks := make([]*sharedKey, 0, len(m.keys))
	for _, k := range m.keys {
		ks = append(ks, k)
	}
	m.mu.Unlock()
	for _, k := range ks {
		k.askAnew()
	}
}

// askAnew lets the next call of a key ask the store again.
func (k *sharedKey) askAnew() { k.askWhere(func(*closure) bool { return true }) }

// askWhere does what askAnew does, at those of the key's limits whose closure f selects.
func (k *sharedKey) askWhere(f func(*closure) bool) {
	l, e, now := k.l, k.e, k.l.now()
	sh := &l.shards[e.shard]
	sh.mu.Lock()
	wake := false
	if e.cold != nil {
		for i := range e.cold.limits {
			if s := e.cold.limits[i].store; s != nil && f(s) {
				s.ask, s.asking = min(s.ask, now), false
				wake = wake || e.cold.limits[i].q != nil
			}
		}
	}
	sh.mu.Unlock()
	if wake {
		l.drain(e, now)
	}
}
