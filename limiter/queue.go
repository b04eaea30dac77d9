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
// Calls that are alike (same keys, limits, priority and account) wait in one
// queue, first come, first served: likeCalls. It waits at one limit, the first that
// refuses the call at its head, and holds nothing of any other. When that limit
// would let the head through, the head tries all its limits again: it takes all,
// or its queue moves to the limit that refuses it now. A move costs the same
// however many calls wait.
//
// Each limit has for each key a queue of such queues. It orders them: interactive
// calls before backfill, unless backfill is owed its share; where a limit counts
// several accounts together, by what each account got while others waited
// (start-time fair queueing); then by who came first.
//
// What lets the next call through is a time, for which the key's one timer is set,
// or an event: a release, a lift, a refund, new numbers. Each event looks at all
// queues of its key. Every queue that is not empty has its timer set or waits for
// an event, so no wake-up is lost.

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

// queue is who waits for one limit of one key.
type queue struct {
	e        *entry
	position int
	shared   bool
	classes  [priorities]class
	share    float64
	credit   float64 // units that backfill is owed
	shut     bool    // a store lets Interactive alone pass now
}

type class struct {
	flows    flowHeap
	accounts map[string]*flow // of a shared queue: also those that wait no more, as long as they are ahead
	v        float64          // virtual time: the start tag of what was served last
	units    int64            // what all that wait here would take
	queues   int
	calls    int // that wait here
}

// flow is who waits of one account, in the queue of a limit that counts several; in
// another queue, everyone.
type flow struct {
	account string
	tag     float64 // virtual time at which the account is next served
	units   int64   // what all that wait would take
	queues  likeHeap
	at      int // index in class.flows; -1 = nothing waits
}

func (q *queue) empty() bool { return q.classes[Interactive].queues+q.classes[Backfill].queues == 0 }

// weight is what a call counts for when service is shared out.
func weight(cost int64) float64 { return float64(max(cost, 1)) }

// due reports whether backfill is owed so much that its next call goes before all
// interactive ones.
func (q *queue) due() bool {
	calls := q.classes[Backfill].next()
	return calls != nil && !q.shut && q.owes(calls.head.refs[calls.use].cost)
}

// owes reports whether backfill is owed this cost, so that it need not leave any
// headroom. The answer must not depend on where a call waits: otherwise two calls
// could send each other from limit to limit for ever.
func (q *queue) owes(cost int64) bool { return q != nil && q.credit >= weight(cost) }

// next returns the likeCalls whose head goes first here, or nil.
func (q *queue) next() *likeCalls {
	i, b := q.classes[Interactive].next(), q.classes[Backfill].next()
	if i == nil || b != nil && q.due() {
		return b
	}
	return i
}

func (c *class) next() *likeCalls {
	if len(c.flows) == 0 {
		return nil
	}
	return c.flows[0].queues[0]
}

// ahead reports whether a call that waits here goes before a call of this priority,
// account and cost. calls is where that call waits; nil = it has just come.
func (q *queue) ahead(prio Priority, account string, cost int64, calls *likeCalls) bool {
	if calls != nil && calls.q == q {
		return q.next() != calls
	}
	if prio == Interactive && q.due() {
		return true
	}
	if prio == Backfill && q.classes[Interactive].queues > 0 && !q.owes(cost) {
		return true
	}
	c := &q.classes[prio]
	next := c.next()
	if next == nil {
		return false
	}
	if calls == nil {
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
	return tag < mine || tag == mine && next.head.seq < calls.head.seq
}

// park makes calls wait here for its refs[use].
func (q *queue) park(calls *likeCalls, use int) {
	c := &q.classes[calls.prio]
	f := c.flow(q.shared, calls.account)
	if f.at < 0 {
		f.tag = max(f.tag, c.v)
	}
	calls.q, calls.use, calls.flow = q, use, f
	heap.Push(&f.queues, calls)
	if f.at < 0 {
		heap.Push(&c.flows, f)
	} else {
		heap.Fix(&c.flows, f.at)
	}
	c.units += calls.units[use]
	f.units += calls.units[use]
	c.queues++
	c.calls += calls.n
}

// unpark removes calls from here.
func (q *queue) unpark(calls *likeCalls) {
	c, f := &q.classes[calls.prio], calls.flow
	heap.Remove(&f.queues, calls.at)
	if len(f.queues) == 0 {
		heap.Remove(&c.flows, f.at)
		f.at = -1
	} else {
		heap.Fix(&c.flows, f.at)
	}
	c.units -= calls.units[calls.use]
	f.units -= calls.units[calls.use]
	c.queues--
	c.calls -= calls.n
	if c.queues == 0 {
		*c = class{}
	}
	calls.q, calls.flow = nil, nil
}

// fix restores the order of the queue after the head of calls has changed.
func (q *queue) fix(calls *likeCalls) {
	heap.Fix(&calls.flow.queues, calls.at)
	heap.Fix(&q.classes[calls.prio].flows, calls.flow.at)
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

// served counts a call that passed while others wait: against what its account and
// its priority have got.
func (q *queue) served(prio Priority, account string, cost int64) {
	w := weight(cost)
	if prio == Backfill {
		q.credit = max(0, q.credit-w)
	} else if q.classes[Backfill].queues > 0 && !q.due() {
		q.credit += w * q.share / (1 - q.share)
	}
	c := &q.classes[prio]
	if !q.shared || c.queues == 0 {
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

// before is how many units pass before a call that comes now: those that go first in
// its class, and for backfill also all interactive ones.
func (q *queue) before(prio Priority, account string) (units int64) {
	if prio == Backfill {
		units = q.classes[Interactive].units
	}
	c := &q.classes[prio]
	if !q.shared || c.queues == 0 {
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
			for _, calls := range f.queues {
				for w := calls.head; w != nil; w = w.next {
					if w.deadline < until {
						ws = append(ws, w)
					}
				}
			}
		}
	}
	return ws
}

type likeHeap []*likeCalls

func (h likeHeap) Len() int           { return len(h) }
func (h likeHeap) Less(i, j int) bool { return h[i].head.seq < h[j].head.seq }
func (h likeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }
func (h *likeHeap) Push(x any)        { x.(*likeCalls).at = len(*h); *h = append(*h, x.(*likeCalls)) }
func (h *likeHeap) Pop() any {
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
	return h[i].queues[0].head.seq < h[j].queues[0].head.seq
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
