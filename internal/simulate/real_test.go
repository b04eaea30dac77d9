//go:build !race

// These play hundreds of thousands of requests, which takes minutes under the race detector. What
// they play is raced by the tests of package engine.

package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
)

// A simulation is held to the engine: the same scenario is played by worker goroutines with
// an engine.Transport, an Authorize and a Reauth hook, against the same server, in the
// virtual time of testing/synctest. What only the simulation leaves out, or does in its own
// way, would show as other counts.

// realRun plays a scenario with real workers.
type realRun struct {
	s        *Scenario
	seed     uint64
	endpoint *url.URL
	api      *url.URL
	client   http.RoundTripper
	began    time.Time
	account  func(mailbox int) string
	request  func(j *job) *http.Request

	mu        sync.Mutex
	wake      *sync.Cond // something is in the queue, or over
	server    *server
	count     *counter
	queue     [2][]*job
	over      bool
	jobs      uint64
	open      sync.WaitGroup
	lastEnd   time.Duration
	refreshes []int
}

type jobKey struct{}

func (r *realRun) now() time.Duration { return time.Since(r.began) }

func playReal(t *testing.T, s *Scenario, set *policy.Set, seed uint64) (result *Result) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealRun(s, seed)
		r.account = mailboxName
		var err error
		if r.endpoint, err = endpointURL(set, s.Server.Tokens.Endpoint); err != nil {
			t.Fatal(err)
		}
		if r.api, err = endpointURL(set, s.Provider); err != nil {
			t.Fatal(err)
		}
		r.request = func(j *job) *http.Request {
			req, err := http.NewRequest(s.Calls[j.arrival].Method, r.api.String(), http.NoBody)
			if err != nil {
				panic(err) // the method and the URL are the test's own
			}
			return req
		}
		r.play(t, r, engine.Options{
			Policies: set, MaxInline: s.MaxInline,
			Reauth: engine.Reauth{Refresh: r.refresh},
			Authorize: func(req *http.Request, account string) error {
				r.mu.Lock()
				defer r.mu.Unlock()
				req.Header.Set("Authorization", tokenText(account, r.server.tokens[mailboxOf(account)].id))
				return nil
			},
		})
		result = r.count.result(r.lastEnd, nil)
	})
	return result
}

func newRealRun(s *Scenario, seed uint64) *realRun {
	r := &realRun{s: s, seed: seed, server: newServer(s, seed), count: newCounter(s), began: time.Now(), refreshes: make([]int, s.Mailboxes)}
	r.wake = sync.NewCond(&r.mu)
	return r
}

// play makes all calls over base, and waits for their end.
func (r *realRun) play(t *testing.T, base http.RoundTripper, o engine.Options) {
	t.Helper()
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r.client = e.Transport(base)
	var workers sync.WaitGroup
	for range r.s.Workers {
		workers.Go(r.work)
	}
	for i := range r.s.Calls {
		r.open.Add(1)
		go r.comes(newArrivals(r.s, i, r.seed), i)
	}
	r.open.Wait()
	r.mu.Lock()
	r.over = true
	r.wake.Broadcast()
	r.mu.Unlock()
	workers.Wait()
}

func (r *realRun) comes(a *arrivals, i int) {
	defer r.open.Done()
	for {
		at, mailbox, ok := a.pop()
		if !ok {
			return
		}
		time.Sleep(at - r.now())
		r.mu.Lock()
		r.jobs++
		j := &job{id: r.jobs, arrival: i, mailbox: mailbox, came: at}
		r.count.arrived(r.now(), j)
		r.open.Add(1)
		r.mu.Unlock()
		r.enqueue(j)
	}
}

func (r *realRun) enqueue(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := &r.queue[r.s.Calls[j.arrival].Priority]
	*q = append(*q, j)
	r.wake.Signal()
}

// work makes calls until all are over.
func (r *realRun) work() {
	for {
		r.mu.Lock()
		for len(r.queue[0])+len(r.queue[1]) == 0 && !r.over {
			r.wake.Wait()
		}
		q := &r.queue[0]
		if len(*q) == 0 {
			q = &r.queue[1]
		}
		if len(*q) == 0 {
			r.mu.Unlock()
			return
		}
		j := (*q)[0]
		*q = (*q)[1:]
		r.mu.Unlock()
		r.call(j)
	}
}

func (r *realRun) call(j *job) {
	of := &r.s.Calls[j.arrival]
	var out engine.Result
	c := engine.Call{Provider: r.s.Provider, Priority: of.Priority, Outcome: &out}
	c.Account, c.Operation, c.App = r.account(j.mailbox), of.Operation, "app"
	c.Tenant = fmt.Sprintf("tenant-%d", r.s.tenant(j.mailbox)+1)
	if state, ok := j.state.(engine.State); ok {
		c.State = state
	}
	ctx := context.WithValue(engine.WithCall(context.Background(), c), jobKey{}, j)
	if resp, err := r.client.RoundTrip(r.request(j).WithContext(ctx)); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	as, worth := "", time.Duration(-1)
	if out.Decision.Action == policy.Fail {
		as = out.Decision.As
		if !out.Until.IsZero() {
			worth = out.Until.Sub(r.began)
		}
	}
	again, comes := r.s.comesBack(j, now, as, worth, r.seed)
	switch {
	case out.Decision.Defer:
		j.state = out.Decision.State
		r.count.deferred(j)
		time.AfterFunc(time.Until(out.Until), func() { r.enqueue(j) })
	case comes:
		j.state = nil
		r.count.comesBack(j)
		time.AfterFunc(again-now, func() { r.enqueue(j) })
	default:
		r.count.ended(now, j, as)
		r.lastEnd = now
		r.open.Done()
	}
}

// RoundTrip is the network, and the server.
func (r *realRun) RoundTrip(req *http.Request) (*http.Response, error) {
	j := req.Context().Value(jobKey{}).(*job)
	r.mu.Lock()
	v, early := r.server.request(r.now(), &request{
		call: j.id, attempt: engine.Attempt(req.Context()), mailbox: j.mailbox, op: r.s.Calls[j.arrival].Operation,
		token: tokenID(req.Header.Get("Authorization")),
	})
	r.count.sent(r.now(), j, early)
	if v.carried {
		r.count.carriedOut(j)
	}
	r.mu.Unlock()
	timer := time.NewTimer(v.takes)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-req.Context().Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.server.over(&v)
		r.count.answered(r.now(), j, &verdict{})
		return nil, context.Cause(req.Context())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server.over(&v)
	r.server.told(j.mailbox, &v)
	r.count.answered(r.now(), j, &v)
	if v.answer == nil {
		return nil, v.err
	}
	return &http.Response{
		StatusCode: v.answer.Status, Header: v.answer.Header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(v.answer.Body)), Request: req, ContentLength: int64(len(v.answer.Body)),
	}, nil
}

func (r *realRun) refresh(ctx context.Context, req engine.ReauthRequest) error {
	m := mailboxOf(req.Account)
	r.mu.Lock()
	r.refreshes[m]++
	v := r.server.refresh(r.now(), m, r.refreshes[m])
	r.mu.Unlock()
	if v.takes > refreshTimeout {
		return errors.New("not in this test")
	}
	time.Sleep(v.takes)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.refreshes++
	if v.answer != nil && v.answer.Status == 200 {
		r.server.renewed(r.now(), m)
		return nil
	}
	r.count.failed++
	return refreshError(r.s, r.endpoint, &v)
}

// bound is how far a number of the simulation may be from the engine's: by a part of the
// larger one, or by so much.
type bound struct {
	part, most float64
}

// The bounds that docs/simulate.md states. The jitter of waits is by chance in both.
var bounds = map[string]bound{
	"calls":           {0, 0},
	"done":            {0.01, 3},
	"requests":        {0.03, 10},
	"refusals":        {0.12, 10},
	"unanswered":      {0.03, 10},
	"early_returns":   {0.05, 5},
	"deferrals":       {0.10, 10},
	"come_backs":      {0.10, 10},
	"ambiguous_sends": {0.10, 5},
	"duplicate_sends": {0, 0},
	"lost_sends":      {0.10, 5},
	"given_up":        {0.10, 5},
	"refreshes":       {0.05, 5},
	"drain":           {0.20, 10},
	"wait.p50":        {0.05, 0.1},
	"wait.p99":        {0.15, 1},
}

// badPolicy repeats whatever fails, at once and whatever the server has asked for, so that
// requests come too early and messages go out twice.
const badPolicy = `
version: 1
provider: gmail
extends: [gmail]
backoff:
  quick: {initial: 200ms, min: 200ms, max: 2s, multiplier: 2, jitter: equal, attempts: 8}
rules:
  - {name: backend, override: true, when: status >= 500, action: retry, hint: ignore, backoff: quick, replay: safe}
  - {name: network, override: true, when: network != "", action: retry, backoff: quick, replay: safe}
`

const badScenario = `
version: 1
scenario: bad
shows: what a bad policy does
provider: gmail
mailboxes: 40
workers: 120
duration: 10m
come_back: 1m
calls:
  - {operation: messages.get, rate: 6/m}
  - {operation: messages.send, method: POST, rate: 2/m, once: true}
faults:
  - {name: replies lost, from: 3m, to: 6m, share: 0.3, fails: reply_lost}
  - {name: outage, from: 4m, to: 5m, share: 0.5, answer: {status: 503, retry_after: 5s}}
  - {name: done in spite of 500, from: 7m, to: 8m, share: 0.2, answer: 500, carried_out: true}
`

// What the policies that ship never do is counted alike too.
func TestHeldToTheEngineByABadPolicy(t *testing.T) {
	set, ds := policy.Load([]policy.File{{Name: "gmail.yaml", Data: []byte(badPolicy)}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	s, ds := Parse(policy.File{Name: "bad.yaml", Data: []byte(badScenario)})
	if s == nil {
		t.Fatal(ds.Err())
	}
	a, b := map[string]float64{}, map[string]float64{}
	for seed := range uint64(seeds) {
		add(t, a, play(t, s, set, seed))
		add(t, b, playReal(t, s, set, seed))
	}
	for _, name := range []string{"calls", "done", "requests", "refusals", "unanswered", "early_returns", "duplicate_sends"} {
		limit := bound{0.02, 5}
		x, y := a[name]/seeds, b[name]/seeds
		t.Logf("%-16s simulated %9.2f  engine %9.2f", name, x, y)
		if math.Abs(x-y) > max(limit.part*max(x, y), limit.most) {
			t.Errorf("%s: %v in the simulation, %v with the engine: want at most %v %% or %v between them", name, x, y, 100*limit.part, limit.most)
		}
	}
	if a["early_returns"] == 0 || a["duplicate_sends"] == 0 {
		t.Error("the bad policy does no harm")
	}
}

func TestHeldToTheEngine(t *testing.T) {
	for _, tt := range []struct {
		scenario string
		part     int // so small a part of its mailboxes
	}{
		{"outage", 20}, {"halved-quota", 10}, {"dead-token-endpoint", 20}, {"lost-replies", 20}, {"herd", 10}, {"loud-tenant", 20},
	} {
		t.Run(tt.scenario, func(t *testing.T) {
			s, set := smaller(scenarioOf(t, tt.scenario), tt.part), smallerProject(t, tt.part)
			a, b := map[string]float64{}, map[string]float64{}
			for seed := range uint64(seeds) {
				add(t, a, play(t, s, set, seed))
				add(t, b, playReal(t, s, set, seed))
			}
			for _, name := range slices.Sorted(maps.Keys(bounds)) {
				limit := bounds[name]
				x, y := a[name]/seeds, b[name]/seeds
				t.Logf("%-16s simulated %9.2f  engine %9.2f", name, x, y)
				if math.Abs(x-y) > max(limit.part*max(x, y), limit.most) {
					t.Errorf("%s: %v in the simulation, %v with the engine: want at most %v %% or %v between them", name, x, y, 100*limit.part, limit.most)
				}
			}
		})
	}
}

// seeds is over how many of them the numbers are averaged, so that chance matters less.
const seeds = 4

// add adds what was counted to sums, by its names in a Condition.
func add(t *testing.T, sums map[string]float64, r *Result) {
	t.Helper()
	env := totalsOf(&r.Totals)
	for name := range bounds {
		switch x := env[name].(type) {
		case int:
			sums[name] += float64(x)
		case float64:
			sums[name] += x
		case nil: // a part of Wait
		default:
			t.Fatalf("%s is a %T", name, x)
		}
	}
	sums["wait.p50"] += r.Totals.Wait.P50
	sums["wait.p99"] += r.Totals.Wait.P99
}

// smallerProject is the built-in policies with a part of Gmail's quota for all mailboxes.
func smallerProject(t *testing.T, part int) *policy.Set {
	t.Helper()
	set, ds := policy.Load([]policy.File{{Name: "gmail.yaml", Data: fmt.Appendf(nil, `
version: 1
provider: gmail
extends: [gmail]
limits:
  - {name: project, key: app, quota: %d/1m, cost: units}
`, 1_200_000/part)}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	return set
}
