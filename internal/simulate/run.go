package simulate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/virtual"
	"github.com/recourse-go/recourse/policy"
)

// maxRequests is the most requests of a run, which bounds its cost.
const maxRequests = 20_000_000

// Run plays a scenario with a set of policies. The error says that the scenario does not fit
// the policies, or that it makes too many requests, or is ctx's.
func Run(ctx context.Context, s *Scenario, set *policy.Set, seed uint64) (*Result, error) {
	r := &run{
		clock: &clock{now: epoch}, s: s, seed: seed, server: newServer(s, seed), count: newCounter(s), free: s.Workers,
		names: make([]string, s.Mailboxes), open: map[*job]struct{}{}, refreshes: make([]int, s.Mailboxes),
	}
	for i := range r.names {
		r.names[i] = mailboxName(i)
	}
	jitter := rand.New(rand.NewPCG(seed, 1<<32))
	if p, ok := set.Policy(s.Provider); ok && p.Protocol != "http" {
		return nil, fmt.Errorf("simulate: the policy %q speaks %s, and only HTTP can be simulated", s.Provider, p.Protocol)
	}
	var err error
	if r.engine, err = virtual.New(virtual.Options{
		Policies: set, Provider: s.Provider, MaxInline: s.MaxInline, Rand: jitter.Float64, Clock: r.clock, Network: r,
	}); err != nil {
		return nil, err
	}
	if r.endpoint, err = endpointURL(set, s.Server.Tokens.Endpoint); err != nil {
		return nil, err
	}
	api, err := endpointURL(set, s.Provider)
	if err != nil {
		return nil, err
	}
	r.host = api.Host
	for i := range s.Calls {
		a := newArrivals(s, i, seed)
		r.comes(a, i)
	}
	end := epoch.Add(s.Duration + s.Patience)
	for n := 0; r.clock.next(end); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if r.count.total.Requests > maxRequests {
			return nil, fmt.Errorf("simulate: more than %d requests by %v of the simulation", maxRequests, r.now().Round(time.Second))
		}
	}
	over := r.lastEnd
	if len(r.open) > 0 {
		over = s.Duration + s.Patience
	}
	open := slices.SortedFunc(maps.Keys(r.open), func(a, b *job) int { return cmp.Compare(a.id, b.id) })
	result := r.count.result(over, open)
	result.Seed = seed
	return result, nil
}

// run is the state of a simulation. One goroutine uses it.
type run struct {
	clock  *clock
	s      *Scenario
	seed   uint64
	engine virtual.Engine
	server *server
	count  *counter

	free      int       // free workers
	queue     [2][]*job // calls that wait for a worker, by priority
	jobs      uint64    // calls that have arrived
	open      map[*job]struct{}
	names     []string      // of mailboxes
	refreshes []int         // by mailbox
	endpoint  *url.URL      // of tokens
	host      string        // of the API
	lastEnd   time.Duration // when the last call ended
}

func (r *run) now() time.Duration { return r.clock.now.Sub(epoch) }

// comes schedules the arrival of the next call of a, which belongs to s.Calls[i].
func (r *run) comes(a *arrivals, i int) {
	at, mailbox, ok := a.pop()
	if !ok {
		return
	}
	r.clock.at(epoch.Add(at), func() {
		r.jobs++
		j := &job{id: r.jobs, arrival: i, mailbox: mailbox, came: at}
		r.open[j] = struct{}{}
		r.count.arrived(r.now(), j)
		r.enqueue(j)
		r.comes(a, i)
	})
}

// enqueue gives a call to a free worker, or puts it into the queue: see dequeue.
func (r *run) enqueue(j *job) {
	if r.free == 0 {
		q := &r.queue[r.s.Calls[j.arrival].Priority]
		*q = append(*q, j)
		return
	}
	r.free--
	r.work(j)
}

// dequeue gives a free worker the next call of the queue: interactive calls go first, and
// calls of the same priority in the order in which they came.
func (r *run) dequeue() {
	for i := range r.queue {
		if q := &r.queue[i]; len(*q) > 0 {
			next := (*q)[0]
			*q = (*q)[1:]
			r.free--
			// An event calls work, since calls that end without a request would call it recursively.
			r.clock.AfterFunc(0, func() { r.work(next) })
			return
		}
	}
}

// work makes a call by a worker that is taken already.
func (r *run) work(j *job) {
	of := &r.s.Calls[j.arrival]
	c := &virtual.Call{Method: of.Method, Priority: of.Priority, State: j.state, Tag: j}
	c.Account, c.Operation, c.App, c.Host = r.names[j.mailbox], of.Operation, "app", r.host
	c.Tenant = fmt.Sprintf("tenant-%d", r.s.tenant(j.mailbox)+1)
	r.engine.Do(c, func(out virtual.Outcome) {
		now := r.now()
		again, comes := r.s.comesBack(j, now, out.As, out.Again.Sub(epoch), r.seed)
		switch {
		case !out.Until.IsZero():
			j.state = out.State
			r.count.deferred(j)
			r.clock.at(out.Until, func() { r.enqueue(j) })
		case comes:
			j.state = nil
			r.count.comesBack(j)
			r.clock.at(epoch.Add(again), func() { r.enqueue(j) })
		default:
			delete(r.open, j)
			r.count.ended(now, j, out.As)
			r.lastEnd = now
		}
		r.free++
		r.dequeue()
	})
}

// Send implements virtual.Network.
func (r *run) Send(c *virtual.Call, n int, access string, answered func(*virtual.Answer)) (stop func()) {
	j := c.Tag.(*job)
	req := request{call: j.id, attempt: n, mailbox: j.mailbox, op: c.Operation, token: tokenID(access)}
	v, early := r.server.request(r.now(), &req)
	r.count.sent(r.now(), j, early)
	if v.carried {
		r.count.carriedOut(j)
	}
	if v.answer == nil && v.err == nil {
		return func() { r.count.answered(r.now(), j, &v) } // no answer ever comes
	}
	timer := r.clock.AfterFunc(v.takes, func() {
		r.server.over(&v)
		r.server.told(j.mailbox, &v)
		r.count.answered(r.now(), j, &v)
		answered(answerOf(&v, c.Method, ""))
	})
	return func() {
		// The server goes on with the request, but nobody reads the answer.
		if timer.Stop() {
			lost := verdict{}
			r.count.answered(r.now(), j, &lost)
			r.clock.AfterFunc(v.takes, func() { r.server.over(&v) })
		}
	}
}

// answerOf returns the answer that the client gets.
func answerOf(v *verdict, method, target string) *virtual.Answer {
	if v.answer == nil {
		return &virtual.Answer{Err: &url.Error{Op: method, URL: target, Err: v.err}}
	}
	return &virtual.Answer{Status: v.answer.Status, Header: v.answer.Header, Body: v.answer.Body}
}

// Token implements virtual.Network.
func (r *run) Token(account string) string {
	return tokenText(account, r.server.tokens[mailboxOf(account)].id)
}

// refreshTimeout is how long a worker waits for the token endpoint.
const refreshTimeout = time.Minute

// Refresh implements virtual.Network.
func (r *run) Refresh(account string, ended func(error)) {
	m := mailboxOf(account)
	r.refreshes[m]++
	v := r.server.refresh(r.now(), m, r.refreshes[m])
	if v.takes > refreshTimeout {
		v = verdict{err: context.DeadlineExceeded, takes: refreshTimeout}
	}
	r.clock.AfterFunc(v.takes, func() {
		r.count.refreshes++
		if v.answer != nil && v.answer.Status == 200 {
			r.server.renewed(r.now(), m)
			ended(nil)
			return
		}
		r.count.failed++
		ended(refreshError(r.s, r.endpoint, &v))
	})
}

// refreshError returns the error of a failed refresh, as a Reauth hook would return it.
func refreshError(s *Scenario, endpoint *url.URL, v *verdict) error {
	if v.answer == nil {
		return &url.Error{Op: "Post", URL: endpoint.String(), Err: v.err}
	}
	return &engine.ResponseError{
		Status: v.answer.Status, Header: v.answer.Header, Body: v.answer.Body, Method: "POST",
		Provider: s.Server.Tokens.Endpoint, Operation: "token.refresh",
	}
}

var _ virtual.Network = (*run)(nil)
