package limiter

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// The calls that wait, and how they come into a queue and leave it.

// waiter is one call that waits.
type waiter struct {
	calls      *likeCalls
	prev, next *waiter
	seq        uint64 // order of arrival
	refs       []ref
	refBuf     [3]ref
	deadline   int64 // it fails when it can't pass by then
	byContext  bool  // the deadline is the context's
	came       int64
	moves      int   // see guardLocked
	until      int64 // when it came, it was expected to pass then
	expected   int   // index into refs of the limit that it was expected to wait for longest
	inside     *Loan // as of the Request
	debts      []debt
	req        Request // for when a reload changes its limits
	comes      sync.Once
	heir       *waiter     // what it became when a reload made it come again
	live       atomic.Bool // somebody waits for it by the clock
	state      waitState
	permit     Permit
	err        error
	done       chan struct{} // closed when state is granted or failed
	told       func()        // called then too, with locks held; nil = nobody asks
}

type waitState uint8

const (
	waiting waitState = iota
	granted
	failed
	gone
	displaced // it comes again: see Limiter.again
)

// likeCalls is calls that are alike, in order of arrival. It is changed only with the
// shards of all its keys locked, so any one of these locks is enough to read it.
type likeCalls struct {
	prio    Priority
	account string
	refs    []ref // cost and probe are unused
	units   []int64
	locks   []uint32
	sig     uint64
	twin    *likeCalls // next with the same sig

	head, tail *waiter
	n          int

	since         int64 // when it began to wait where it does
	movedAt, calm int64 // see stepLocked
	moves         int

	q    *queue // where it waits
	use  int    // index into refs of what it waits for
	flow *flow
	at   int // index in flow.queues
}

// push adds w to calls: at the end, or where it was by its time of arrival if a reload
// made it come again.
func (calls *likeCalls) push(w *waiter) {
	before := calls.tail
	for before != nil && before.seq > w.seq {
		before = before.prev
	}
	w.calls, w.prev = calls, before
	if before == nil {
		w.next, calls.head = calls.head, w
	} else {
		w.next, before.next = before.next, w
	}
	if w.next == nil {
		calls.tail = w
	} else {
		w.next.prev = w
	}
	calls.n++
	calls.add(w, 1)
	if before == nil && calls.q != nil {
		calls.q.fix(calls)
	}
}

func (calls *likeCalls) add(w *waiter, sign int64) {
	for i := range w.refs {
		calls.units[i] += sign * w.refs[i].cost
	}
	if calls.q != nil {
		calls.q.classes[calls.prio].calls += int(sign)
		calls.q.classes[calls.prio].units += sign * w.refs[calls.use].cost
		calls.flow.units += sign * w.refs[calls.use].cost
	}
}

// joinLocked makes the call wait for refs[use], which refuses it. All is locked.
func (l *Limiter) joinLocked(c *call, refs []ref, r *Request, use int) *waiter {
	w := &waiter{came: c.now, done: make(chan struct{}), deadline: math.MaxInt64, req: *r}
	w.req.Uses = slices.Clone(r.Uses)
	if r.again != nil {
		w.seq, w.came = r.again.seq, r.again.came
	} else {
		w.seq = l.seq.Add(1)
	}
	w.refs = append(w.refBuf[:0], refs...)
	home := refs[0].e
	if home.cold == nil {
		home.cold = &coldState{}
	}
	sig := uint64(r.Priority)
	for i := range refs {
		sig = mix(sig ^ c.touches[refs[i].touch].hash ^ uint64(refs[i].lim.position)<<1)
	}
	for calls := home.cold.queues[sig]; calls != nil; calls = calls.twin {
		if calls.fits(r, refs) {
			calls.push(w)
			return w
		}
	}
	calls := &likeCalls{
		prio: r.Priority, account: r.Keys.Account, sig: sig,
		refs: append([]ref(nil), refs...), units: make([]int64, len(refs)),
		locks: append([]uint32(nil), c.locks...), twin: home.cold.queues[sig], since: c.now,
	}
	if home.cold.queues == nil {
		home.cold.queues = make(map[uint64]*likeCalls)
	}
	home.cold.queues[sig] = calls
	for i := range calls.refs {
		calls.refs[i].e.pins++
	}
	calls.push(w)
	l.parkLocked(c.cfg, calls, use)
	return w
}

// fits reports whether the call r, which takes refs, is like those in calls.
func (calls *likeCalls) fits(r *Request, refs []ref) bool {
	if calls.prio != r.Priority || calls.account != r.Keys.Account || len(calls.refs) != len(refs) {
		return false
	}
	for i := range refs {
		if calls.refs[i].e != refs[i].e || calls.refs[i].lim.position != refs[i].lim.position {
			return false
		}
	}
	return true
}

// parkLocked makes calls wait for its refs[use], and ends its wait for any other ref.
func (l *Limiter) parkLocked(cfg *config, calls *likeCalls, use int) {
	if calls.q != nil {
		calls.q.unpark(calls)
	}
	r := &calls.refs[use]
	x := r.e.makeCold(cfg.groups[r.e.group], r.lim)
	if x.q == nil {
		x.q = &queue{e: r.e, position: r.lim.position, shared: r.lim.shared, share: l.backfill}
	}
	x.q.park(calls, use)
}

// leaveLocked removes w from its likeCalls, and removes the likeCalls when w was its
// last call. It returns the entry at which other calls may go on now, or nil.
func (l *Limiter) leaveLocked(w *waiter) *entry {
	calls := w.calls
	q := calls.q
	first := calls.head == w
	if first {
		defer l.unguardLocked(calls)
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		calls.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		calls.tail = w.prev
	}
	w.prev, w.next = nil, nil
	calls.n--
	calls.add(w, -1)
	switch {
	case calls.n > 0 && first:
		q.fix(calls)
	case calls.n == 0:
		q.unpark(calls)
		home := calls.refs[0].e
		if p := home.cold.queues[calls.sig]; p == calls {
			if calls.twin == nil {
				delete(home.cold.queues, calls.sig)
			} else {
				home.cold.queues[calls.sig] = calls.twin
			}
		} else {
			for ; p.twin != calls; p = p.twin {
			}
			p.twin = calls.twin
		}
		for i := range calls.refs {
			calls.refs[i].e.pins--
		}
	}
	if first {
		return q.e
	}
	return nil
}
