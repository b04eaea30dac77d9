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

// The provider: a server that knows nothing of Recourse. It notes when each request came
// and went, refuses a mailbox now and then, and is asked for what it counted in the end.

// The provider's limits for each mailbox, as provider.yaml says them.
const (
	rate        = 60.0 // units a second
	burst       = 20.0
	concurrency = 4
)

var costs = map[string]float64{"list": 5, "get": 2, "send": 10, "attachment": 1}

// provider is the provider's servers.
type provider struct {
	mu        sync.Mutex
	mailboxes map[string]*mailbox
	sent      map[string]int // messages by their id
	slowest   time.Duration  // the longest that a request took from its permit to here
}

// mailbox is what the provider has seen of one.
type mailbox struct {
	arrivals []arrival
	holds    []span // when requests were refused, and when they were to come again
	now      int    // requests under way
	peak     int
}

type arrival struct {
	at, granted time.Time // when it came, and when it got its permit
	cost        float64
}

type span struct{ from, to time.Time }

func (s span) holds(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// comeback is how much later than at once calls come back, so that they do not all come at
// the same moment: an "exact" hint is exceeded by a tenth, or 100 ms, and the bucket is empty then.
const comeback = 300 * time.Millisecond

// told is how long a refusal takes to the worker, and from there to the store.
const told = 100 * time.Millisecond

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
	granted, err := time.Parse(time.RFC3339Nano, r.Header.Get("X-Granted"))
	if err != nil {
		granted = came
	}
	slow := what == "attachment"

	p.mu.Lock()
	m := p.mailboxes[name]
	if m == nil {
		m = new(mailbox)
		p.mailboxes[name] = m
	}
	p.slowest = max(p.slowest, came.Sub(granted))
	m.arrivals = append(m.arrivals, arrival{came, granted, costs[what]})
	m.now++
	m.peak = max(m.peak, m.now)
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
	m.now--
	p.mu.Unlock()
	if refused {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	fmt.Fprintln(w, "{}")
}

// counted is what the provider has seen of all mailboxes.
type counted struct {
	over, early, peak, duplicates int
	utilisation                   float64
	slowest                       time.Duration
}

// count counts what came between two times. Utilisation is of what the buckets allow outside
// the times to leave out, in which a worker had been killed and its permits were not back.
func (p *provider) count(from, to time.Time, without []span) (c counted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.slowest = p.slowest
	used, allowed := 0.0, 0.0
	for name, m := range p.mailboxes {
		c.peak = max(c.peak, m.peak)
		c.early += m.early(p.slowest)
		c.over += m.over(p.slowest)
		if strings.HasPrefix(name, "files") {
			continue // its units are not what bounds it
		}
		out := slices.Clone(without)
		for _, s := range m.holds {
			out = append(out, span{s.from, s.to.Add(comeback)})
		}
		const step = 10 * time.Millisecond
		for t := from; t.Before(to); t = t.Add(step) {
			if !slices.ContainsFunc(out, func(s span) bool { return s.holds(t) }) {
				allowed += rate * step.Seconds()
			}
		}
		for _, a := range m.arrivals {
			if !a.at.Before(from) && a.at.Before(to) && !slices.ContainsFunc(out, func(s span) bool { return s.holds(a.at) }) {
				used += a.cost
			}
		}
	}
	if allowed > 0 {
		c.utilisation = used / allowed
	}
	for _, n := range p.sent {
		c.duplicates += n - 1
	}
	return c
}

// early counts the requests that got their permit after a refusal and came before the time that
// it named. A refusal takes as long to become known as the slowest request was under way.
func (m *mailbox) early(slowest time.Duration) (n int) {
	for _, a := range m.arrivals {
		if slices.ContainsFunc(m.holds, func(s span) bool { return s.holds(a.at) && a.granted.After(s.from.Add(told+slowest)) }) {
			n++
		}
	}
	return n
}

// over counts the requests that came when there was no unit left for them. What may come in
// any time is the burst and what the rate gives, and a request may have been under way for as
// long as the slowest one was.
func (m *mailbox) over(slowest time.Duration) (n int) {
	level, last := 0.0, time.Time{}
	for _, a := range m.arrivals {
		if !last.IsZero() {
			level = max(0, level-rate*a.at.Sub(last).Seconds())
		}
		last = a.at
		level += a.cost
		if level > burst+rate*slowest.Seconds()+1e-6 {
			n++
		}
	}
	return n
}
