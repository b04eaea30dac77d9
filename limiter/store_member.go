package limiter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// MemberOptions are how a process takes part in a store. The zero value is usable.
type MemberOptions struct {
	// Timeout is how long a call waits for the store at most; 0 = 50 ms. One call that
	// waits for longer begins an outage: see [Limit.OnOutage].
	Timeout time.Duration

	// Lease is how long the store keeps the slots of a process that it hears nothing of;
	// 0 = 15 s. They are renewed at a third of it. A call that is under way for longer
	// than that without a renewal may be joined by another in its slot.
	Lease time.Duration

	// Expiry is how long the others count a process that they hear nothing of; 0 = 30 s.
	// In an outage, limits that are shared out are closed when it is over.
	Expiry time.Duration

	// Workers is how many processes share the store, for an outage that begins before
	// the store has told; 0 = not known: then limits that are shared out are closed.
	Workers int

	// Shadow asks the store and counts what it refuses, but lets it refuse nothing: to
	// see what it would do before it does.
	Shadow bool

	// Notify is told what happens to the store. It must be quick and safe for concurrent
	// use, and must not call the member or its limiters; nil = nobody is told.
	Notify func(StoreNotice)

	// Pauses is called when the store has told that accounts were paused or resumed, or may
	// have while nobody listened: see [PauseStore]. It must be quick; nil = nobody asks.
	Pauses func()
}

// StoreNoticeKind says what a StoreNotice is about.
type StoreNoticeKind uint8

// The kinds of StoreNotice.
const (
	StoreOutageBegan   StoreNoticeKind = iota + 1 // the store does not answer; Err says why
	StoreOutageEnded                              // it answers again; Duration is how long it did not
	StoreForgot                                   // the store has lost what it knew, as by a restart: what is known here is put back
	StoreLeasesLost                               // Count slots have run out while their calls were under way
	StoreNumbersDiffer                            // Count members have other limits or settings; of each limit the lower numbers are in force
	StoreWarning                                  // Err says what is wrong with how the store is set up or used; each such thing is told once
)

var storeNotices = [...]string{
	StoreOutageBegan: "outage began", StoreOutageEnded: "outage ended", StoreForgot: "forgot",
	StoreLeasesLost: "leases lost", StoreNumbersDiffer: "numbers differ", StoreWarning: "warning",
}

// String is the kind's name.
func (k StoreNoticeKind) String() string {
	if int(k) < len(storeNotices) && storeNotices[k] != "" {
		return storeNotices[k]
	}
	return "unknown"
}

// StoreNotice is one thing that happened to the store, as one process sees it.
type StoreNotice struct {
	Kind     StoreNoticeKind
	Err      error
	Duration time.Duration
	Members  int     // how many processes share the store, as far as is known
	Share    float64 // StoreOutageBegan: see MemberState
	Count    int
}

// Member is this process as one of those that share a store. One is enough for all
// limiters of a process: see Options.Member. It starts no goroutine before its first use.
// It is made by [NewMember] and safe for concurrent use.
type Member struct {
	store Store
	o     MemberOptions
	id    StoreID
	next  atomic.Uint64 // permits' ids

	start  sync.Once
	ctx    context.Context // ends when the member has left
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing runs any more

	outage      atomic.Pointer[outage]
	numbers     atomic.Pointer[[8]byte]
	lowest      atomic.Pointer[map[uint64]numbered] // of the others; nil = they have the same
	lastRenewed atomic.Int64                        // when the renewal was sent that the store has answered last; ns since base, 0 = none
	cutOff      atomic.Pointer[cutOff]              // who goes without the store, while it answers here; nil = nobody
	base        time.Time
	settled     atomic.Int64 // no slots are asked for before: in other processes an outage may go on
	alone       atomic.Int64 // calls that have slots by share
	hurry       atomic.Int64 // until when it renews often, since other processes wait to hear that it is back
	asking      atomic.Int64 // calls that ask the store, and may get slots
	stats       memberStats

	mu      sync.Mutex
	members []StoreMember
	differ  int                   // how many of members had other numbers when that was last told
	limits  map[string][]numbered // by the limiter's namespace
	warned  map[string]bool
	ended   int64         // when the last outage ended; 0 = there was none
	before  []StoreMember // who was known in it
	flaps   int           // outages that came soon after another, in a row
	keys    map[[16]byte]*sharedKey
	leases  map[StoreID]*lease
	holds   map[holdKey]*knownState
	debts   map[holdKey]*debtOwed
	ends    []pendingEnd
	changes []pendingChange
	closing bool

	kickEnds  chan struct{}
	kickRenew chan struct{}
}

// NewMember makes a process a member of those that share a store. It asks nothing of the
// store yet.
func NewMember(store Store, o MemberOptions) *Member {
	if o.Timeout <= 0 {
		o.Timeout = 50 * time.Millisecond
	}
	if o.Lease <= 0 {
		o.Lease = 15 * time.Second
	}
	if o.Expiry <= 0 {
		o.Expiry = 30 * time.Second
	}
	m := &Member{
		store: store, o: o, base: time.Now(), done: make(chan struct{}),
		keys: map[[16]byte]*sharedKey{}, leases: map[StoreID]*lease{}, holds: map[holdKey]*knownState{},
		debts: map[holdKey]*debtOwed{}, limits: map[string][]numbered{}, warned: map[string]bool{}, kickEnds: make(chan struct{}, 1), kickRenew: make(chan struct{}, 1),
	}
	_, _ = rand.Read(m.id[:]) // it never fails
	m.numbers.Store(new([8]byte))
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// SetNumbers says what the settings of the process are, by a digest. The process is told when
// others have other ones, or limits with other numbers.
func (m *Member) SetNumbers(digest [8]byte) { m.numbers.Store(&digest) }

// newID is an id that no other permit has: the member's own half, and a number.
func (m *Member) newID() (id StoreID) {
	copy(id[:8], m.id[:8])
	binary.BigEndian.PutUint64(id[8:], m.next.Add(1))
	return id
}

// now is the time in nanoseconds since base.
func (m *Member) now() int64 { return int64(time.Since(m.base)) }

// begin starts what runs beside the calls, at the first use.
func (m *Member) begin() {
	m.start.Do(func() {
		var running sync.WaitGroup
		for _, f := range []func(){m.sendEnds, m.renewAlways, m.watch} {
			running.Go(f)
		}
		go func() {
			running.Wait()
			close(m.done)
		}()
	})
}

// Close ends the membership: what is still to be told is told, leases are given back, and
// the others do not count this process any more. The slots of calls that are under way
// are kept until these end; then the member leaves. Close waits for the store at most
// for twice MemberOptions.Timeout or until ctx ends, never for calls. It may be called more than once.
func (m *Member) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closing = true
	m.mu.Unlock()
	m.endSpare(0)
	idle := m.idle()
	m.start.Do(func() { // it was never used: there is nothing to end
		m.cancel()
		close(m.done)
	})
	if !idle {
		kick(m.kickEnds)
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, 2*m.o.Timeout)
	defer stop()
	kick(m.kickEnds)
	select {
	case <-m.done:
	case <-ctx.Done():
		m.cancel() // what is not told by now ends by itself
	}
	return nil
}

// idle reports whether no call has slots of the store, or may still get some.
func (m *Member) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.leases) == 0 && m.asking.Load() == 0
}

// asked notes that a call asks the store no more.
func (m *Member) asked() {
	if m.asking.Add(-1) > 0 {
		return
	}
	m.mu.Lock()
	closing := m.closing
	m.mu.Unlock()
	if closing {
		kick(m.kickEnds)
	}
}

// leaveIfIdle leaves the others once the member is closed and has no lease any more. It
// reports whether it has.
func (m *Member) leaveIfIdle() bool {
	m.mu.Lock()
	closing := m.closing
	m.mu.Unlock()
	if !closing || !m.idle() || m.ctx.Err() != nil {
		return m.ctx.Err() != nil
	}
	if m.outage.Load() == nil {
		m.sendBatch()
		ctx, stop := context.WithTimeout(m.ctx, m.o.Timeout)
		_, _ = m.store.Renew(ctx, &StoreRenewal{Member: m.id, Lease: m.o.Lease, Expiry: m.o.Expiry, Leave: true})
		stop()
	}
	m.cancel()
	return true
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (m *Member) notify(n StoreNotice) {
	if m.o.Notify != nil {
		m.mu.Lock()
		n.Members = len(m.members)
		m.mu.Unlock()
		m.o.Notify(n)
	}
}

// MemberState is how a process fares with its store: for people, and for metrics. Counts
// are since the member was made.
type MemberState struct {
	Members int           // how many processes share the store, with this one; 0 = not known
	Outage  time.Duration // for how long the store has not answered; 0 = it answers
	Share   float64       // in an outage, the part of a divided limit that this process has; 1 = there is no outage; 0 = none

	Grants    int64         // calls that the store has granted
	Refusals  int64         // takes that it has refused; in a shadow they passed all the same
	Takes     int64         // requests to take
	Requests  int64         // requests of all kinds
	Errors    int64         // requests that failed
	Time      time.Duration // that calls have waited for answers to Takes, in all
	Outages   int64
	Forgotten int64 // times that the store had lost what it knew
	Lost      int64 // leases that ran out while their calls were under way
	Dropped   int64 // ends that could not be told, which cost a lease each
	Shared    int64 // calls that were let through in outages, by share
	Leases    int   // slots' leases that are out now
}

type memberStats struct {
	grants, refusals, takes, requests, errors, nanos atomic.Int64
	outages, forgotten, lost, dropped, shared        atomic.Int64
}

// State tells how the process fares with its store.
func (m *Member) State() MemberState {
	s := &m.stats
	st := MemberState{
		Share: 1, Grants: s.grants.Load(), Refusals: s.refusals.Load(), Takes: s.takes.Load(), Requests: s.requests.Load(),
		Errors: s.errors.Load(), Time: time.Duration(s.nanos.Load()), Outages: s.outages.Load(),
		Forgotten: s.forgotten.Load(), Lost: s.lost.Load(), Dropped: s.dropped.Load(), Shared: s.shared.Load(),
	}
	if o := m.outage.Load(); o != nil {
		st.Outage = max(1, time.Duration(m.now()-o.began))
		st.Share = m.shareOf(o)
	}
	m.mu.Lock()
	st.Members, st.Leases = len(m.members), len(m.leases)
	m.mu.Unlock()
	return st
}

// longestWait is the longest that a store is believed: times are counted in 64 bits.
const longestWait = 366 * 24 * time.Hour

var errLate = errors.New("limiter: the store grants a call for later than the call can wait")

// overall is how much longer than MemberOptions.Timeout a call waits for the store at most that asks
// about several places.
const overall = 50 * time.Millisecond

// take asks the store over one place, for a call that has waited for it for so long by now. An error
// is the context's, errOutage, or wraps ErrStoreValue.
func (m *Member) take(ctx context.Context, t *StoreTake, waited time.Duration) (StoreAnswer, error) {
	m.begin()
	for again := true; ; again = false {
		began := time.Now()
		limited, cancel := context.WithTimeout(ctx, min(m.o.Timeout, m.o.Timeout+overall-waited))
		a, err := m.store.Take(limited, t)
		cancel()
		took := time.Since(began)
		m.stats.takes.Add(1)
		m.stats.requests.Add(1)
		m.stats.nanos.Add(int64(took))
		switch {
		case err == nil && a.Granted && a.Wait > t.MaxWait+time.Millisecond:
			err = errLate
		case err == nil:
			a.Wait = min(a.Wait, longestWait)
			if a.Forgot {
				m.forgot()
			}
			return a, nil
		case ctx.Err() != nil:
			return StoreAnswer{}, ctx.Err()
		case again && took > m.o.Timeout*3/2:
			continue // this process was not running, which says nothing of the store
		}
		m.stats.errors.Add(1)
		if errors.Is(err, ErrStoreValue) {
			m.warn(err.Error())
			return StoreAnswer{}, err
		}
		m.failed(err)
		return StoreAnswer{}, errOutage
	}
}

// forgot puts back what is known here, since the store has lost it.
func (m *Member) forgot() {
	m.stats.forgotten.Add(1)
	kick(m.kickRenew)
	m.notify(StoreNotice{Kind: StoreForgot})
}
