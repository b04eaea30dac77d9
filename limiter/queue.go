package limiter

import (
	"container/heap"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// How calls wait.
//
// Calls of the same shape (same keys, same limits, same priority, same
// account) wait in one lane, first come, first served. A lane waits at one
// limit, the first that refuses the call at its head, and holds nothing of any
// other. When that limit would let it through, the head tries all its limits
// again; it takes all, or the lane moves on to the limit that refuses now.
// Moving lanes and not calls keeps the work for each grant small, however
// many wait.
//
// A limit's queue for a key orders the lanes that wait there: interactive
// before backfill, unless backfill is owed its share; where a limit counts
// several accounts together, by what each account got while others waited
// (start-time fair queueing); then by who came first.
//
// What could let a queue's next lane through is a time, for which the key's
// one timer is set, or an event: a release, a lift, a refund, new numbers.
// Each of these drains the queues of that key. Every queue that is not empty
// has its timer set or waits for an event, so no wake-up is lost.

// waiter is one call that waits.
type waiter struct {
	ln         *lane
	prev, next *waiter
	seq        uint64 // order of arrival
	refs       []ref
	refBuf     [3]ref
	deadline   int64 // it fails when it can't pass by then
	byContext  bool  // the deadline is the context's
	came       int64
	moves      int   // see giveTurn
	until      int64 // when it was expected to pass when it came
	expected   int   // index into refs of what was expected to keep it until then
	inside     *Loan // as of the Request
	debts      []debt
	req        Request // for when a reload changes its limits
	comes      sync.Once
	heir       *waiter     // as which it has come again
	live       atomic.Bool // somebody waits for it by the clock
	state      waitState
	permit     Permit
	err        error
	done       chan struct{} // closed when state is granted or failed
}

type waitState uint8

const (
	waiting waitState = iota
	granted
	failed
	gone
	displaced // it comes again: see Limiter.again
)

// lane is calls of one shape, in order of arrival. It is changed only with the
// shards of all its keys locked, so any one of these locks is enough to read it.
type lane struct {
	prio    Priority
	account string
	refs    []ref // cost and probe are unused
	units   []int64
	locks   []uint32
	sig     uint64
	twin    *lane // next with the same sig

	head, tail *waiter
	n          int

	since         int64 // when it began to wait where it does
	movedAt, calm int64 // see step
	moves         int

	q    *queue // where it waits
	use  int    // index into refs of what it waits for
	flow *flow
	at   int // index in flow.lanes
}

// queue is the lanes that wait for one limit of one key.
type queue struct {
	e       *entry
	slot    int
	shared  bool
	classes [priorities]class
	share   float64
	credit  float64 // units that backfill is owed
}

type class struct {
	flows    flowHeap
	accounts map[string]*flow // of a shared queue: also those that wait no more, as long as they are ahead
	v        float64          // virtual time: the start tag of what was served last
	units    int64            // what all that wait here would take
	lanes    int
}

// flow is the lanes of one account in a shared queue, or all lanes of another.
type flow struct {
	account string
	tag     float64 // virtual time at which the account is next served
	units   int64   // what all that wait would take
	lanes   laneHeap
	at      int // index in class.flows; -1 = nothing waits
}

func (q *queue) empty() bool { return q.classes[Interactive].lanes+q.classes[Backfill].lanes == 0 }

// weight is what a call counts for when service is shared out.
func weight(cost int64) float64 { return float64(max(cost, 1)) }

// due reports whether backfill is owed so much that it goes first.
func (q *queue) due() bool {
	ln := q.classes[Backfill].next()
	return ln != nil && q.owes(ln.head.refs[ln.use].cost)
}

// owes reports whether backfill is owed this cost, so that it need not leave
// any headroom. That does not depend on where a lane waits: or else two lanes
// could send each other from queue to queue for ever.
func (q *queue) owes(cost int64) bool { return q != nil && q.credit >= weight(cost) }

// next is the lane that goes before all others.
func (q *queue) next() *lane {
	i, b := q.classes[Interactive].next(), q.classes[Backfill].next()
	if i == nil || b != nil && q.due() {
		return b
	}
	return i
}

func (c *class) next() *lane {
	if len(c.flows) == 0 {
		return nil
	}
	return c.flows[0].lanes[0]
}

// ahead reports whether some lane here goes before a call of this priority,
// account and cost; ln is that call's lane, nil when it has just come.
func (q *queue) ahead(prio Priority, account string, cost int64, ln *lane) bool {
	if ln != nil && ln.q == q {
		return q.next() != ln
	}
	if prio == Interactive && q.due() {
		return true
	}
	if prio == Backfill && q.classes[Interactive].lanes > 0 && !q.owes(cost) {
		return true
	}
	c := &q.classes[prio]
	next := c.next()
	if next == nil {
		return false
	}
	if ln == nil {
		return true
	}
	tag := c.flows[0].tag
	mine := tag
	if q.shared {
		mine = c.v
		if f := c.accounts[account]; f != nil {
			mine = max(mine, f.tag)
		}
	}
	return tag < mine || tag == mine && next.head.seq < ln.head.seq
}

// park lets ln wait here for its refs[use].
func (q *queue) park(ln *lane, use int) {
	c := &q.classes[ln.prio]
	f := c.flow(q.shared, ln.account)
	if f.at < 0 {
		f.tag = max(f.tag, c.v)
	}
	ln.q, ln.use, ln.flow = q, use, f
	heap.Push(&f.lanes, ln)
	if f.at < 0 {
		heap.Push(&c.flows, f)
	} else {
		heap.Fix(&c.flows, f.at)
	}
	c.units += ln.units[use]
	f.units += ln.units[use]
	c.lanes++
}

// unpark takes ln out.
func (q *queue) unpark(ln *lane) {
	c, f := &q.classes[ln.prio], ln.flow
	heap.Remove(&f.lanes, ln.at)
	if len(f.lanes) == 0 {
		heap.Remove(&c.flows, f.at)
		f.at = -1
	} else {
		heap.Fix(&c.flows, f.at)
	}
	c.units -= ln.units[ln.use]
	f.units -= ln.units[ln.use]
	c.lanes--
	if c.lanes == 0 {
		*c = class{}
	}
	ln.q, ln.flow = nil, nil
}

// fix puts ln where it belongs after its head has changed.
func (q *queue) fix(ln *lane) {
	heap.Fix(&ln.flow.lanes, ln.at)
	heap.Fix(&q.classes[ln.prio].flows, ln.flow.at)
}

func (c *class) flow(shared bool, account string) *flow {
	if !shared {
		if len(c.flows) > 0 {
			return c.flows[0]
		}
		return &flow{at: -1}
	}
	f := c.accounts[account]
	if f == nil {
		if c.accounts == nil {
			c.accounts = make(map[string]*flow)
		}
		if len(c.accounts) > 2*len(c.flows)+64 {
			for a, f := range c.accounts {
				if f.at < 0 && f.tag <= c.v {
					delete(c.accounts, a)
				}
			}
		}
		f = &flow{account: account, at: -1}
		c.accounts[account] = f
	}
	return f
}

// served notes that a call got through, while others wait.
func (q *queue) served(prio Priority, account string, cost int64) {
	w := weight(cost)
	if prio == Backfill {
		q.credit = max(0, q.credit-w)
	} else if q.classes[Backfill].lanes > 0 && !q.due() {
		q.credit += w * q.share / (1 - q.share)
	}
	c := &q.classes[prio]
	if !q.shared || c.lanes == 0 {
		return
	}
	f := c.flow(true, account)
	if f.at < 0 {
		f.tag = max(f.tag, c.v)
	}
	c.v = max(c.v, f.tag)
	f.tag += w
	if f.at >= 0 {
		heap.Fix(&c.flows, f.at)
	}
}

// before is how many units go before a call that comes now: those that wait
// in its class and go first, and with backfill all interactive ones.
func (q *queue) before(prio Priority, account string) (units int64) {
	if prio == Backfill {
		units = q.classes[Interactive].units
	}
	c := &q.classes[prio]
	if !q.shared || c.lanes == 0 {
		return units + c.units
	}
	own, turn := int64(0), c.v
	if f := c.accounts[account]; f != nil {
		own, turn = f.units, max(c.v, f.tag)
	}
	turn += float64(own) // of the call: every account goes first that gets its own by then
	if len(c.flows) > 64 {
		// Too many to look at each: at most this.
		return units + own + min(c.units-own, int64(float64(len(c.flows))*(turn-c.v+1)))
	}
	for _, f := range c.flows {
		if f.account != account {
			units += max(0, min(f.units, int64(turn-f.tag)+1))
		}
	}
	return units + own
}

// late returns the calls that wait here and would be too late at the time until.
func (q *queue) late(until int64) (ws []*waiter) {
	for i := range q.classes {
		for _, f := range q.classes[i].flows {
			for _, ln := range f.lanes {
				for w := ln.head; w != nil; w = w.next {
					if w.deadline < until {
						ws = append(ws, w)
					}
				}
			}
		}
	}
	return ws
}

type laneHeap []*lane

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].head.seq < h[j].head.seq }
func (h laneHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }
func (h *laneHeap) Push(x any)        { x.(*lane).at = len(*h); *h = append(*h, x.(*lane)) }
func (h *laneHeap) Pop() any {
	n := len(*h) - 1
	x := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return x
}

type flowHeap []*flow

func (h flowHeap) Len() int { return len(h) }
func (h flowHeap) Less(i, j int) bool {
	if h[i].tag != h[j].tag {
		return h[i].tag < h[j].tag
	}
	return h[i].lanes[0].head.seq < h[j].lanes[0].head.seq
}
func (h flowHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }
func (h *flowHeap) Push(x any)   { x.(*flow).at = len(*h); *h = append(*h, x.(*flow)) }
func (h *flowHeap) Pop() any {
	n := len(*h) - 1
	x := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return x
}

// push lets w wait in its lane: at the end, but for one that has come again.
func (ln *lane) push(w *waiter) {
	before := ln.tail
	for before != nil && before.seq > w.seq {
		before = before.prev
	}
	w.ln, w.prev = ln, before
	if before == nil {
		w.next, ln.head = ln.head, w
	} else {
		w.next, before.next = before.next, w
	}
	if w.next == nil {
		ln.tail = w
	} else {
		w.next.prev = w
	}
	ln.n++
	ln.add(w, 1)
	if before == nil && ln.q != nil {
		ln.q.fix(ln)
	}
}

func (ln *lane) add(w *waiter, sign int64) {
	for i := range w.refs {
		ln.units[i] += sign * w.refs[i].cost
	}
	if ln.q != nil {
		ln.q.classes[ln.prio].units += sign * w.refs[ln.use].cost
		ln.flow.units += sign * w.refs[ln.use].cost
	}
}

// join makes the call wait for refs[use], which refuses it. All is locked.
func (l *Limiter) join(c *call, r *Request, use int) *waiter {
	w := &waiter{came: c.now, done: make(chan struct{}), deadline: math.MaxInt64, req: *r}
	w.req.Uses = slices.Clone(r.Uses)
	if r.again != nil {
		w.seq, w.came = r.again.seq, r.again.came
	} else {
		w.seq = l.seq.Add(1)
	}
	w.refs = append(w.refBuf[:0], c.refs...)
	home := c.refs[0].e
	if home.ext == nil {
		home.ext = &ext{}
	}
	sig := uint64(r.Priority)
	for i := range c.refs {
		sig = mix(sig ^ c.touches[c.refs[i].touch].hash ^ uint64(c.refs[i].lim.slot)<<1)
	}
	for ln := home.ext.lanes[sig]; ln != nil; ln = ln.twin {
		if ln.fits(r, c.refs) {
			ln.push(w)
			return w
		}
	}
	ln := &lane{
		prio: r.Priority, account: r.Keys.Account, sig: sig,
		refs: append([]ref(nil), c.refs...), units: make([]int64, len(c.refs)),
		locks: append([]uint32(nil), c.locks...), twin: home.ext.lanes[sig], since: c.now,
	}
	if home.ext.lanes == nil {
		home.ext.lanes = make(map[uint64]*lane)
	}
	home.ext.lanes[sig] = ln
	for i := range ln.refs {
		ln.refs[i].e.pins++
	}
	ln.push(w)
	l.parkAt(c.cfg, ln, use)
	return w
}

// fits reports whether a call waits in ln.
func (ln *lane) fits(r *Request, refs []ref) bool {
	if ln.prio != r.Priority || ln.account != r.Keys.Account || len(ln.refs) != len(refs) {
		return false
	}
	for i := range refs {
		if ln.refs[i].e != refs[i].e || ln.refs[i].lim.slot != refs[i].lim.slot {
			return false
		}
	}
	return true
}

// parkAt lets ln wait for its refs[use], and nowhere else.
func (l *Limiter) parkAt(cfg *config, ln *lane, use int) {
	if ln.q != nil {
		ln.q.unpark(ln)
	}
	r := &ln.refs[use]
	x := r.e.more(cfg.groups[r.e.group], r.lim)
	if x.q == nil {
		x.q = &queue{e: r.e, slot: r.lim.slot, shared: r.lim.shared, share: l.share}
	}
	x.q.park(ln, use)
}

// leave takes w out of its lane, and the lane away when it was the last. It
// returns the entry at which others may go on now, or nil.
func (l *Limiter) leave(w *waiter) *entry {
	ln := w.ln
	q := ln.q
	first := ln.head == w
	if first {
		defer l.endTurn(ln)
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		ln.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		ln.tail = w.prev
	}
	w.prev, w.next = nil, nil
	ln.n--
	ln.add(w, -1)
	switch {
	case ln.n > 0 && first:
		q.fix(ln)
	case ln.n == 0:
		q.unpark(ln)
		home := ln.refs[0].e
		if p := home.ext.lanes[ln.sig]; p == ln {
			if ln.twin == nil {
				delete(home.ext.lanes, ln.sig)
			} else {
				home.ext.lanes[ln.sig] = ln.twin
			}
		} else {
			for ; p.twin != ln; p = p.twin {
			}
			p.twin = ln.twin
		}
		for i := range ln.refs {
			ln.refs[i].e.pins--
		}
	}
	if first {
		return q.e
	}
	return nil
}
