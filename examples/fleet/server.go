package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The provider is a server that knows nothing of Recourse. It records when each request comes
// and goes, refuses a mailbox now and then, and reports what it has counted at the end.

// The provider's limits for each mailbox, as provider.yaml says them.
const (
	rate        = 60.0 // units a second
	lowerRate   = 40.0 // what it is for a while in the middle, by a reload of the policies
	burst       = 20.0
	concurrency = 4
)

var costs = map[string]float64{"list": 5, "get": 2, "send": 10, "attachment": 1}

// provider is the provider's servers.
type provider struct {
	mu        sync.Mutex
	mailboxes map[string]*mailbox
	sent      map[string]int // messages by their id
	slowest   time.Duration  // the longest that a request took from its permit to here, and from its grant
	latest    time.Duration  // the longest from a grant to here, by the store's clock and this one
	earliest  time.Duration  // and the shortest: so much at least the clocks differ by
	lower     []span         // when the rate was the lower one
}

// mailbox is what the provider has recorded about a mailbox.
type mailbox struct {
	arrivals []arrival
	holds    []span         // when requests were refused, and when they were to come again
	told     []time.Time    // when a worker had told the store of a refusal
	now      map[string]int // requests under way, by worker
	peak     int
}

// arrival is one request: when it came, when its worker asked the store for it, when it had its
// permit, and as of when the store had granted that, by the store's own clock; zero = it had not.
type arrival struct {
	at, asked, granted, asOf time.Time
	cost                     float64
}

type span struct{ from, to time.Time }

func (s span) holds(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// in reports whether any of the spans holds t.
func in(spans []span, t time.Time) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.holds(t) })
}

func (m *mailbox) underWay() (n int) {
	for _, k := range m.now {
		n += k
	}
	return n
}

// mailbox returns the mailbox of that name. The provider must be locked.
func (p *provider) mailbox(name string) *mailbox {
	m := p.mailboxes[name]
	if m == nil {
		m = &mailbox{now: map[string]int{}}
		p.mailboxes[name] = m
	}
	return m
}

// comeback is how much later than at once calls come back, so that they do not all come at
// the same moment: an "exact" hint is exceeded by a tenth, or 100 ms, and the bucket is empty then.
const comeback = 300 * time.Millisecond

// heard is how long a hold may take from the store to a worker whose request waits for its time.
const heard = 500 * time.Millisecond

// ServeHTTP serves /mailboxes/{name}/messages[/{id}], /mailboxes/{name}/attachments/{id} and
// /mailboxes/{name}/send. An attachment takes a tenth of a second, so that the number of
// requests at once bounds who gets those, and the units bound all else.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	came := time.Now()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(parts) < 3 || parts[0] != "mailboxes" {
		http.NotFound(w, r)
		return
	}
	name, what := parts[1], "list"
	switch {
	case parts[2] == "send":
		what = "send"
	case parts[2] == "attachments":
		what = "attachment"
	case len(parts) == 4:
		what = "get"
	}
	stamp := func(name string, otherwise time.Time) time.Time {
		if t, err := time.Parse(time.RFC3339Nano, r.Header.Get(name)); err == nil {
			return t
		}
		return otherwise
	}
	a := arrival{came, stamp("X-Asked", came), stamp("X-Granted", came), stamp("X-As-Of", time.Time{}), costs[what]}
	worker := r.Header.Get("X-Worker")
	slow := what == "attachment"

	p.mu.Lock()
	m := p.mailbox(name)
	p.slowest = max(p.slowest, came.Sub(a.granted))
	if took := came.Sub(a.asOf); !a.asOf.IsZero() {
		if p.latest == 0 && p.earliest == 0 {
			p.latest, p.earliest = took, took
		}
		p.latest, p.earliest = max(p.latest, took), min(p.earliest, took)
		p.slowest = max(p.slowest, p.latest-p.earliest)
	}
	m.arrivals = append(m.arrivals, a)
	m.now[worker]++
	m.peak = max(m.peak, m.underWay())
	refused := false
	if n := len(m.holds); n > 0 && m.holds[n-1].holds(came) {
		refused = true
	} else if !slow && rand.IntN(200) == 0 {
		refused = true
		m.holds = append(m.holds, span{came, came.Add(time.Second)})
	}
	if what == "send" && !refused {
		p.sent[r.Header.Get("Message-Id")]++
	}
	p.mu.Unlock()

	pause := 5 * time.Millisecond
	if slow {
		pause = 100 * time.Millisecond
	}
	select {
	case <-time.After(pause):
	case <-r.Context().Done():
	}
	p.mu.Lock()
	m.now[worker]--
	p.mu.Unlock()
	if refused {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	fmt.Fprintln(w, "{}")
}

// told records when a worker had told the store about a mailbox's refusal.
func (p *provider) told(name string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mailbox(name)
	m.told = append(m.told, at)
}

// lowered records a time in which the rate was the lower one.
func (p *provider) lowered(s span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lower = append(p.lower, s)
}

// slots returns, by mailbox, how many slots a worker has.
func (p *provider) slots(worker string) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	has := map[string]int{}
	for name, m := range p.mailboxes {
		if n := m.now[worker]; n > 0 && strings.HasPrefix(name, "files") {
			has[name] = n
		}
	}
	return has
}

// dropFull drops from names the mailboxes all of whose slots are in use, by others than the worker.
func (p *provider) dropFull(names map[string]int, worker string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range names {
		if m := p.mailbox(name); m.now[worker] == 0 && m.underWay() >= concurrency {
			delete(names, name)
		}
	}
}

// counted is what the provider has seen of all mailboxes.
type counted struct {
	over, early, peak, duplicates int
	overGranted                   int     // of over, by the store's own grants
	excess                        float64 // the most units of a mailbox that were in use above what it may use
	utilisation                   float64
	measured                      time.Duration // of mailboxes together: what utilisation is about
	slowest                       time.Duration
}

// count counts what came between two times. Utilisation is of what the buckets allow outside
// the times to leave out, in which a worker had been killed and its permits were not back. It is 1 at
// most: units that came back before a time that counts can be used in it.
func (p *provider) count(from, to time.Time, without []span) (c counted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.slowest = p.slowest
	used, allowed := 0.0, 0.0
	for name, m := range p.mailboxes {
		c.peak = max(c.peak, m.peak)
		c.early += m.early(p.slowest)
		granted, arrived, excess := m.over(p.slowest, p.lower)
		c.over += max(granted, arrived)
		c.overGranted += granted
		c.excess = max(c.excess, excess)
		if strings.HasPrefix(name, "files") {
			continue // its units are not what bounds it
		}
		out := slices.Clone(without)
		for _, s := range m.holds {
			out = append(out, span{s.from, s.to.Add(comeback)})
		}
		const step = 10 * time.Millisecond
		for t := from; t.Before(to); t = t.Add(step) {
			if !in(out, t) {
				allowed += drained(t, t.Add(step), p.lower)
				c.measured += step
			}
		}
		for _, a := range m.arrivals {
			if !a.at.Before(from) && a.at.Before(to) && !in(out, a.at) {
				used += a.cost
			}
		}
	}
	if allowed > 0 {
		c.utilisation = min(1, used/allowed)
	}
	for _, n := range p.sent {
		c.duplicates += n - 1
	}
	return c
}

// early counts the requests that came while their mailbox was refused, and for which the store
// was asked after it had been told of that; and those that had asked before, and waited for
// their time for longer than it takes to hear of the hold.
func (m *mailbox) early(slowest time.Duration) (n int) {
	for _, h := range m.holds {
		first := slices.IndexFunc(m.told, h.holds)
		if first < 0 {
			continue
		}
		told := m.told[first]
		for _, a := range m.arrivals {
			if h.holds(a.at) && (a.asked.After(told) || a.granted.After(told.Add(heard+slowest))) {
				n++
			}
		}
	}
	return n
}

// over counts the requests that came when there was no unit left for them: by the times as of
// which the store granted them, and by those when they came. What may come in any time is the
// burst and what the rate gives, and a request may have been under way for as long as the
// slowest one was. excess is by how many units the requests that came were above that.
func (m *mailbox) over(slowest time.Duration, lower []span) (granted, arrived int, excess float64) {
	var byStore []arrival // not what passed by a share, while the store did not answer
	for _, a := range m.arrivals {
		if a.at = a.asOf; !a.at.IsZero() {
			byStore = append(byStore, a)
		}
	}
	slices.SortStableFunc(byStore, func(a, b arrival) int { return a.at.Compare(b.at) })
	granted, _ = above(byStore, burst+rate*rounding.Seconds(), lower)
	arrived, excess = above(m.arrivals, burst+rate*slowest.Seconds(), lower)
	return granted, arrived, excess
}

// rounding is how exactly times are told.
const rounding = time.Millisecond

// above counts the requests that came when more than most units were in use, and returns by how
// many units at most.
func above(arrivals []arrival, most float64, lower []span) (n int, excess float64) {
	level, last := 0.0, time.Time{}
	for _, a := range arrivals {
		if !last.IsZero() {
			level = max(0, level-drained(last, a.at, lower))
		}
		last = a.at
		if level += a.cost; level > most+1e-6 {
			n++
			excess = max(excess, level-most)
		}
	}
	return n, excess
}

// drained is how many units came back between two times.
func drained(from, to time.Time, lower []span) float64 {
	units := rate * to.Sub(from).Seconds()
	for _, s := range lower {
		begin, end := from, to
		if s.from.After(begin) {
			begin = s.from
		}
		if s.to.Before(end) {
			end = s.to
		}
		units -= (rate - lowerRate) * max(0, end.Sub(begin).Seconds())
	}
	return units
}
