package limiter

import "container/heap"

// The order in which calls wait for one limit of one key.

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

func (h likeHeap) Len() int { return len(h) }

func (h likeHeap) Less(i, j int) bool { return h[i].head.seq < h[j].head.seq }

func (h likeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

func (h *likeHeap) Push(x any) { x.(*likeCalls).at = len(*h); *h = append(*h, x.(*likeCalls)) }

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

func (h *flowHeap) Push(x any) { x.(*flow).at = len(*h); *h = append(*h, x.(*flow)) }

func (h *flowHeap) Pop() any {
	n := len(*h) - 1
	x := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return x
}
