package limiter

import (
	"container/heap"
	"context"
	"math"
	"time"
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
	until      int64 // when it was expected to pass when it came
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

// push lets w wait at the end of its lane.
func (ln *lane) push(w *waiter) {
	w.ln, w.prev = ln, ln.tail
	if ln.tail == nil {
		ln.head = w
	} else {
		ln.tail.next = w
	}
	ln.tail = w
	ln.n++
	ln.add(w, 1)
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
	w := &waiter{seq: l.seq.Add(1), done: make(chan struct{}), deadline: math.MaxInt64}
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
		locks: append([]uint32(nil), c.locks...), twin: home.ext.lanes[sig],
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

const maxMoves = 64 // of a lane at one instant

// take takes every ref at one instant, or nothing: then it returns the index
// of the first that refuses. All shards are locked. ln is nil for a call that
// has just come.
func (l *Limiter) take(refs []ref, prio Priority, account string, ln *lane, now int64, t time.Time) int {
	extra := false
	for i := range refs {
		r := &refs[i]
		e, m := r.e, r.lim
		r.got, r.probe = r.cost, false
		if e.ext != nil {
			if x := e.slot(m); x != nil {
				extra = true
				if !l.passes(r, x, prio, account, ln, now, t) {
					l.untake(refs[:i], now, t)
					return i
				}
				continue
			}
		}
		ok := true
		switch m.form {
		case bucketForm:
			b := &e.buckets[m.index]
			if prio == Backfill && b.TokensAt(t) < float64(r.cost+m.headroom(r.cost)) {
				ok = false
			} else {
				ok = r.cost == 0 || b.AllowN(t, int(r.cost))
			}
		case concurrencyForm:
			r.got = min(r.cost, m.conc)
			if ok = int64(*e.holder(m.index))+r.got <= m.conc; ok {
				*e.holder(m.index) += int32(r.got)
			}
		}
		if !ok {
			l.untake(refs[:i], now, t)
			return i
		}
	}
	if extra {
		for i := range refs {
			if x := refs[i].e.slot(refs[i].lim); x != nil && x.q != nil && !x.q.empty() {
				x.q.served(prio, account, refs[i].got)
				l.arm(refs[i].e, now) // that may have changed who is next, and what it needs
			}
		}
	}
	return -1
}

// passes is take for one limit whose key is in a special state.
func (l *Limiter) passes(r *ref, x *extSlot, prio Priority, account string, ln *lane, now int64, t time.Time) bool {
	e, m := r.e, r.lim
	e.settle(m, x, now, t)
	if x.hold != 0 || x.window > 0 && x.probes >= x.window {
		return false
	}
	if x.q != nil && !x.q.empty() && x.q.ahead(prio, account, r.cost, ln) {
		return false
	}
	w := x.lawOf(m)
	switch m.form {
	case bucketForm:
		b := &e.buckets[m.index]
		if prio == Backfill && !x.q.owes(r.cost) && b.TokensAt(t) < float64(r.cost+w.headroom(r.cost)) {
			return false
		}
		if r.cost > 0 && !b.AllowN(t, int(r.cost)) {
			return false
		}
	case windowForm:
		x.log.expire(w.window, now)
		if x.log.used+r.cost > max(x.lowered(w.quota), r.cost) {
			return false
		}
		x.log.take(r.cost, w.window, now)
	case concurrencyForm:
		most := x.lowered(w.conc)
		n := min(r.cost, most)
		if int64(*e.holder(m.index))+n > most {
			return false
		}
		r.got = n
		*e.holder(m.index) += int32(n)
	}
	if x.window > 0 {
		x.probes++
		r.probe = true
	}
	return true
}

// settle brings x up to the time now.
func (e *entry) settle(m *limit, x *extSlot, now int64, t time.Time) {
	if x.hold != 0 && now >= x.hold {
		e.recover(m, x, x.hold, t.Add(time.Duration(x.hold-now)))
		e.endHold(m, x, now, t)
	}
	if x.window > 0 && x.probes == 0 && now >= x.lapse {
		x.window = 0
	}
	if x.cut > 0 {
		e.recover(m, x, now, t)
	}
}

// untake undoes what take did at the same instant.
func (l *Limiter) untake(refs []ref, now int64, t time.Time) {
	for i := range refs {
		r := &refs[i]
		e, m := r.e, r.lim
		switch m.form {
		case bucketForm:
			if r.got > 0 {
				e.buckets[m.index].AllowN(t, -int(r.got))
			}
		case windowForm:
			e.slot(m).log.refund(r.got, now)
		case concurrencyForm:
			*e.holder(m.index) -= int32(r.got)
		}
		if r.probe {
			e.slot(m).probes--
			r.probe = false
		}
	}
}

// onEvent is a time that is not known: it takes somebody's release.
const onEvent = math.MaxInt64

// readyAt is when m would let a call of this cost through for e's key, if
// first so many units ahead of it went through: now, later, or onEvent.
// headroom is what must be left.
func (e *entry) readyAt(m *limit, cost, ahead, headroom, now int64, t time.Time) int64 {
	x := e.slot(m)
	start, level := now, -1.0
	if x != nil {
		e.settle(m, x, now, t)
		if x.hold > now {
			start, level = x.hold, 0
		} else if x.window > 0 && x.probes >= x.window {
			return onEvent
		}
	}
	w := x.lawOf(m)
	switch m.form {
	case bucketForm:
		if level < 0 {
			level = e.buckets[m.index].TokensAt(t)
		}
		need := float64(cost) + float64(ahead) + float64(headroom) - level
		if need <= 0 {
			return start
		}
		return later(start, x.fillTime(need, w.rate))
	case windowForm:
		quota := max(x.lowered(w.quota), cost)
		return max(start, x.log.ready(min(cost+ahead, quota), quota, w.window, now))
	case concurrencyForm:
		most := x.lowered(w.conc)
		if int64(*e.holder(m.index))+min(cost, most) > most {
			return onEvent
		}
	}
	return start
}

// later is now + seconds, rounded up.
func later(now int64, seconds float64) int64 {
	ns := math.Ceil(seconds * 1e9)
	if ns >= float64(math.MaxInt64-1-max(now, 0)) {
		return math.MaxInt64 - 1
	}
	return now + int64(ns)
}

// estimate is when a call that comes now would pass all its limits, and which
// of them it would wait for longest. What waits for an event counts as now.
func (l *Limiter) estimate(refs []ref, prio Priority, account string, now int64, t time.Time) (until int64, last int) {
	until = math.MinInt64
	for i := range refs {
		r := &refs[i]
		x := r.e.slot(r.lim)
		ahead := int64(0)
		if x != nil && x.q != nil {
			ahead = x.q.before(prio, account)
		}
		head := int64(0)
		if prio == Backfill && (x == nil || !x.q.owes(r.cost)) {
			head = x.lawOf(r.lim).headroom(r.cost)
		}
		at := r.e.readyAt(r.lim, r.cost, ahead, head, now, t)
		if at == onEvent {
			at = now
			if x != nil && x.hold > now {
				at = x.hold
			}
		}
		if at > until {
			until, last = at, i
		}
	}
	return until, last
}

// pending returns the first lane of e that may pass now or can't pass in time,
// or nil and the time to look again (onEvent: not by time).
func (l *Limiter) pending(cfg *config, e *entry, now int64, t time.Time) (*lane, int64) {
	soonest := int64(onEvent)
	if e.ext == nil {
		return nil, soonest
	}
	g := cfg.groups[e.group]
	for i := range e.ext.slots {
		x := &e.ext.slots[i]
		if x.q == nil {
			continue
		}
		ln := x.q.next()
		if ln == nil {
			x.q = nil
			continue
		}
		cost := ln.head.refs[ln.use].cost
		head, w := int64(0), x.lawOf(g.slots[i])
		if cost > w.most() {
			return ln, now // since a reload
		}
		if ln.prio == Backfill && !x.q.owes(cost) {
			head = w.headroom(cost)
		}
		at := e.readyAt(g.slots[i], cost, 0, head, now, t)
		if at != onEvent {
			at = max(at, ln.calm)
		}
		if at <= now || at != onEvent && at > ln.head.deadline {
			return ln, now
		}
		soonest = min(soonest, at)
	}
	return nil, soonest
}

// arm sets e's timer for the next lane that waits there. e's shard is locked.
func (l *Limiter) arm(e *entry, now int64) {
	_, at := l.pending(l.config.Load(), e, now, l.time(now))
	l.armAt(e, now, at)
}

func (l *Limiter) armAt(e *entry, now, at int64) {
	x := e.ext
	switch {
	case x == nil:
	case at == onEvent:
		if x.wake != 0 {
			x.timer.Stop()
			x.wake = 0
		}
	case x.wake != at:
		x.wake = at
		d := time.Duration(max(0, at-now))
		if x.timer == nil {
			x.timer = time.AfterFunc(d, func() { l.drain(e, l.now()) })
		} else {
			x.timer.Reset(d)
		}
	}
}

// drain lets every call go on that waits at e and may pass at the time now.
// Nothing is locked.
func (l *Limiter) drain(e *entry, now int64) {
	sh := &l.shards[e.shard]
	for stuck := 0; ; {
		sh.mu.Lock()
		now = sh.clamp(now)
		cfg := l.config.Load()
		if e.gen < cfg.gen {
			e.follow(cfg, now, l.time(now))
		}
		ln, at := l.pending(cfg, e, now, l.time(now))
		if ln == nil || stuck > 0 {
			if ln != nil {
				at = now + int64(100*time.Microsecond) // a rounding error: can't be due and refused for long
			}
			if e.ext != nil {
				e.ext.wake = 0 // its timer may have just fired
			}
			l.armAt(e, now, at)
			sh.mu.Unlock()
			return
		}
		if len(ln.locks) > 1 {
			sh.mu.Unlock()
			l.lock(ln.locks)
			for _, s := range ln.locks {
				now = max(now, l.shards[s].newest)
			}
			for _, s := range ln.locks {
				l.shards[s].newest = now
			}
			if ln.q == nil || ln.q.e != e || ln.q.next() != ln {
				l.unlock(ln.locks)
				continue
			}
			cfg = l.config.Load()
		}
		if !l.step(cfg, ln, now) {
			stuck++
		}
		l.unlock(ln.locks)
	}
}

// step lets the call at the head of ln pass, fail or move on to another
// limit. It reports whether it did any of these. All of ln's shards are locked.
func (l *Limiter) step(cfg *config, ln *lane, now int64) bool {
	t := l.time(now)
	w := ln.head
	l.renew(cfg, w, now, t)
	i := l.take(w.refs, ln.prio, ln.account, ln, now, t)
	if i < 0 {
		w.permit = l.permit(w.refs, now)
		l.finish(w, granted)
		return true
	}
	if err := tooLarge(w.refs); err != nil { // its limit has become smaller
		w.err = err
		l.finish(w, failed)
		return true
	}
	if until, last := l.estimateHead(ln, w, now, t); until > w.deadline {
		w.err = &WaitError{Limit: w.refs[last].lim.Name, Until: l.time(until), Err: deadlineErr(w.byContext)}
		l.finish(w, failed)
		return true
	}
	if i == ln.use {
		return false
	}
	// Lanes do not send each other from limit to limit for long, because who
	// goes first does not depend on where anyone waits. Should they do so all
	// the same, they must not keep a processor busy.
	if ln.movedAt != now {
		ln.movedAt, ln.moves = now, 0
	}
	if ln.moves++; ln.moves > maxMoves {
		ln.calm = now + int64(time.Millisecond)
	}
	l.parkAt(cfg, ln, i)
	l.arm(w.refs[i].e, now)
	return true
}

// estimateHead is estimate for the call at the head of ln, if no other goes before it.
func (l *Limiter) estimateHead(ln *lane, w *waiter, now int64, t time.Time) (until int64, last int) {
	until = math.MinInt64
	for i := range w.refs {
		r := &w.refs[i]
		x := r.e.slot(r.lim)
		head := int64(0)
		if ln.prio == Backfill && (x == nil || !x.q.owes(r.cost)) {
			head = x.lawOf(r.lim).headroom(r.cost)
		}
		if at := r.e.readyAt(r.lim, r.cost, 0, head, now, t); at != onEvent && at > until {
			until, last = at, i
		}
	}
	return until, last
}

// renew brings what w waits for up to cfg.
func (l *Limiter) renew(cfg *config, w *waiter, now int64, t time.Time) {
	for i := range w.refs {
		if e := w.refs[i].e; e.gen < cfg.gen {
			e.follow(cfg, now, t)
		}
	}
	cfg.refresh(w.refs)
}

// finish tells w what became of it. All of its lane's shards are locked.
func (l *Limiter) finish(w *waiter, s waitState) (wake *entry) {
	w.state = s
	wake = l.leave(w)
	close(w.done)
	return wake
}

// expire fails w if it waits and is too late at the time until.
func (l *Limiter) expire(w *waiter, limit string, until int64) {
	ln := w.ln
	l.lock(ln.locks)
	var wake *entry
	if w.state == waiting && w.deadline < until {
		w.err = &WaitError{Limit: limit, Until: l.time(until), Err: deadlineErr(w.byContext)}
		wake = l.finish(w, failed)
	}
	l.unlock(ln.locks)
	if wake != nil {
		l.drain(wake, l.now())
	}
}

// abandon takes w out of the queue, if it still waits. It returns an estimate
// of when it would have passed.
func (l *Limiter) abandon(w *waiter) (left bool, until int64, limit string) {
	ln := w.ln
	l.lock(ln.locks)
	if w.state != waiting {
		l.unlock(ln.locks)
		return false, 0, ""
	}
	now := int64(math.MinInt64)
	for _, s := range ln.locks {
		now = max(now, l.shards[s].newest)
	}
	l.renew(l.config.Load(), w, now, l.time(now))
	until, last := l.estimateHead(ln, w, now, l.time(now))
	limit = w.refs[last].lim.Name
	w.state = gone
	wake := l.leave(w)
	l.unlock(ln.locks)
	if wake != nil {
		l.drain(wake, l.now())
	}
	return true, max(until, now), limit
}

func deadlineErr(byContext bool) error {
	if byContext {
		return context.DeadlineExceeded
	}
	return nil
}
