package simulate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/virtual"
	"github.com/recourse-go/recourse/policy"
)

// maxRequests bounds a run.
const maxRequests = 20_000_000

// Run plays a scenario with a set of policies. It ends early, with the context's error,
// when ctx does.
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
	open := make([]*job, 0, len(r.open))
	for j := range r.open {
		open = append(open, j)
	}
	sortJobs(open)
	result := r.count.result(over, open)
	result.Seed = seed
	return result, nil
}

// run is a simulation that runs.
type run struct {
	clock  *clock
	s      *Scenario
	seed   uint64
	engine virtual.Engine
	server *server
	count  *counter

	free      int       // workers
	queue     [2][]*job // what waits for one, by priority
	jobs      uint64
	open      map[*job]struct{}
	names     []string // of mailboxes
	refreshes []int    // by mailbox
	endpoint  *url.URL // of tokens
	host      string   // of the API
	lastEnd   time.Duration
}

func (r *run) now() time.Duration { return r.clock.now.Sub(epoch) }

// comes waits for the next call of a.
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

// enqueue gives a call to a worker, as soon as one is free: interactive calls first, and
// then first come, first served.
func (r *run) enqueue(j *job) {
	if r.free == 0 {
		q := &r.queue[r.s.Calls[j.arrival].Priority]
		*q = append(*q, j)
		return
	}
	r.free--
	r.work(j)
}

// dequeue gives a free worker what waits for one.
func (r *run) dequeue() {
	for i := range r.queue {
		if q := &r.queue[i]; len(*q) > 0 {
			next := (*q)[0]
			*q = (*q)[1:]
			r.free--
			// Not at once: calls that end without any request would go ever deeper.
			r.clock.AfterFunc(0, func() { r.work(next) })
			return
		}
	}
}

// work has a worker make a call.
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
		// The server goes on with it, but nobody reads the answer.
		if timer.Stop() {
			lost := verdict{}
			r.count.answered(r.now(), j, &lost)
			r.clock.AfterFunc(v.takes, func() { r.server.over(&v) })
		}
	}
}

// answerOf is what the client gets.
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

// refreshTimeout is for how long a worker waits for the token endpoint.
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

// refreshError is the error that a Reauth hook returns.
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
