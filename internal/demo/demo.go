// Package demo runs the same sync job twice against the fake providers of
// package enginetest: once with the retry loop that Warpflow's error page recommends,
// once with Recourse. The servers keep count; a Report sets the two side by side.
package demo

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
)

// Options configure a run. The zero value is usable.
type Options struct {
	Seed      uint64 // decides what goes wrong, and the order of the work
	Workers   int    // in all, shared out evenly; 0 = 64, at least one a provider
	Mailboxes int    // of each provider; 0 = 3
	Messages  int    // to sync in each mailbox; 0 = 80, less for fewer than 20 workers so that a run takes less than a minute
	Sends     int    // messages to send from each mailbox; 0 = 4

	// RecourseFirst runs the pass by Recourse first, so that somebody who watches its engine
	// need not wait for the other pass.
	RecourseFirst bool

	// Progress is called with how far the run is, by one goroutine at a time; nil = not called.
	Progress func(Progress)
	// Every is the time between two calls of Progress; 0 = 100 ms.
	Every time.Duration
}

// The names of the passes.
const (
	Naive    = "naive"
	Recourse = "recourse"
)

// Progress is how far a run is.
type Progress struct {
	Pass      string
	Elapsed   time.Duration // since the pass began
	Finished  bool          // the last call of the pass
	Providers []ProviderProgress
}

// ProviderProgress is how far a run is with one provider.
type ProviderProgress struct {
	Provider string
	Synced   int // messages fetched or sent
	Failed   int // given up
	Total    int
}

// Demo is the job and the servers that it talks to.
type Demo struct {
	o        Options
	servers  []*enginetest.Server
	recourse *recourse // the client of the pass by Recourse
}

// Start starts servers on loopback. Close stops them.
func Start(o Options) (*Demo, error) {
	o.fill()
	servers := Servers(o)
	for _, s := range servers {
		if _, err := s.Listen(); err != nil {
			closeAll(servers)
			return nil, err
		}
	}
	d, err := newDemo(o, servers)
	if err != nil {
		closeAll(servers)
	}
	return d, err
}

// newDemo returns a demo with these servers. Clients reach a server that does not listen in
// memory.
func newDemo(o Options, servers []*enginetest.Server) (*Demo, error) {
	client, err := newRecourse(enginetest.NewTransport(servers...), servers)
	if err != nil {
		return nil, err
	}
	return &Demo{o, servers, client}, nil
}

// Engine is the engine of the pass by Recourse.
func (d *Demo) Engine() *engine.Engine { return d.recourse.engine }

// Close ends the engine and the servers.
func (d *Demo) Close() {
	d.recourse.close()
	closeAll(d.servers)
}

func closeAll(servers []*enginetest.Server) {
	for _, s := range servers {
		s.Close()
	}
}

// Run runs both passes. It ends early, with the context's error, when ctx does.
func (d *Demo) Run(ctx context.Context) (*Report, error) {
	names := []string{Naive, Recourse}
	if d.o.RecourseFirst {
		slices.Reverse(names)
	}
	r := &Report{Seed: d.o.Seed, Workers: d.o.Workers}
	for _, name := range names {
		p, err := d.pass(ctx, name, d.o)
		if err != nil {
			return nil, fmt.Errorf("demo: %s pass: %w", name, err)
		}
		r.Passes = append(r.Passes, p)
	}
	slices.SortFunc(r.Passes, func(a, b Pass) int { return cmp.Compare(a.Name, b.Name) }) // the naive one first
	return r, nil
}

// Repeat does the job by Recourse again and again, until ctx ends. It does not call
// Options.Progress. The error is nil when ctx ends.
func (d *Demo) Repeat(ctx context.Context) error {
	o := d.o
	o.Progress = nil
	for ctx.Err() == nil {
		if _, err := d.pass(ctx, Recourse, o); err != nil && ctx.Err() == nil {
			return fmt.Errorf("demo: %s pass: %w", Recourse, err)
		}
	}
	return nil
}

// fill replaces zeros by their defaults.
func (o *Options) fill() {
	o.Workers = cmp.Or(max(o.Workers, 0), 64)
	o.Mailboxes = cmp.Or(max(o.Mailboxes, 0), 3)
	o.Messages = cmp.Or(max(o.Messages, 0), min(80, 20+3*o.Workers))
	o.Sends = cmp.Or(max(o.Sends, 0), 4)
	o.Every = cmp.Or(max(o.Every, 0), 100*time.Millisecond)
}

// Servers returns the providers that Start would start, for WriteFaults. They need not be
// closed unless a client dials them.
func Servers(o Options) []*enginetest.Server {
	f := enginetest.Options{Seed: o.Seed, Mailboxes: o.Mailboxes, Messages: o.Messages}
	return []*enginetest.Server{enginetest.NewGmail(f), enginetest.NewGraph(f), enginetest.NewNylas(f), enginetest.NewWarpflow(f)}
}

// pass is one run of the job over all providers.
type pass struct {
	o      Options
	name   string
	client client
	tasks  []*task // one a provider
}

// task is the job at one provider.
type task struct {
	server  *enginetest.Server
	workers int
	total   int

	synced, failed atomic.Int64 // for the progress line

	mu       sync.Mutex
	done     map[item]bool // synced, as far as the worker knows
	deferred map[item]bool
	looked   int // ambiguous sends that were looked up
	resent   int // those of looked that had not gone out, and were sent again
	took     time.Duration
}

// item is one message of a mailbox to be fetched, or sent.
type item struct {
	mailbox, id string
	send        bool
}

// sendItem is the i-th message to send from a mailbox; its identifier is its Message-ID.
func sendItem(mailbox string, i int) item {
	return item{mailbox, fmt.Sprintf("demo-%d.%s", i+1, mailbox), true}
}

func (d *Demo) pass(ctx context.Context, name string, o Options) (Pass, error) {
	p := &pass{o: o, name: name}
	for _, s := range d.servers {
		s.Reset()
		p.tasks = append(p.tasks, &task{
			server: s, workers: max(1, o.Workers/len(d.servers)),
			total: o.Mailboxes * (o.Messages + o.Sends),
			done:  map[item]bool{}, deferred: map[item]bool{},
		})
	}
	tokens := enginetest.NewTokens(d.servers...)
	if name == Naive {
		transport := enginetest.NewTransport(d.servers...)
		defer transport.CloseIdleConnections()
		p.client = newNaive(transport, tokens, d.servers)
	} else {
		d.recourse.tokens.Store(tokens)
		p.client = d.recourse
	}

	start := time.Now()
	stop := p.report(start)
	var running sync.WaitGroup
	for _, t := range p.tasks {
		running.Go(func() {
			p.run(ctx, t)
			t.took = time.Since(start)
		})
	}
	running.Wait()
	took := time.Since(start)
	stop()
	if err := ctx.Err(); err != nil {
		return Pass{}, err
	}
	return p.result(took), nil
}

// report tells Options.Progress how far the pass is until stop is called.
func (p *pass) report(start time.Time) (stop func()) {
	if p.o.Progress == nil {
		return func() {}
	}
	tell := func(finished bool) {
		g := Progress{Pass: p.name, Elapsed: time.Since(start), Finished: finished}
		for _, t := range p.tasks {
			g.Providers = append(g.Providers, ProviderProgress{
				Provider: t.server.Name(), Synced: int(t.synced.Load()), Failed: int(t.failed.Load()), Total: t.total,
			})
		}
		p.o.Progress(g)
	}
	done := make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Go(func() {
		tick := time.NewTicker(p.o.Every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tell(false)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		ticking.Wait()
		tell(true)
	}
}

// run lists the mailboxes of one provider, then fetches and sends with as many
// workers as the task has.
func (p *pass) run(ctx context.Context, t *task) {
	var mu sync.Mutex
	var work []item
	var listing sync.WaitGroup
	for _, mailbox := range t.server.Mailboxes() {
		listing.Go(func() {
			items := p.list(ctx, t, mailbox)
			for i := range p.o.Sends {
				items = append(items, sendItem(mailbox, i))
			}
			mu.Lock()
			work = append(work, items...)
			mu.Unlock()
		})
	}
	listing.Wait()
	shuffle(work, p.o.Seed)

	queue := make(chan item)
	var workers sync.WaitGroup
	for range t.workers {
		workers.Go(func() {
			for it := range queue {
				p.work(ctx, t, it)
			}
		})
	}
	for _, it := range work {
		select {
		case queue <- it:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
}

// list returns the messages of a mailbox up to the first page that could not be fetched.
func (p *pass) list(ctx context.Context, t *task, mailbox string) []item {
	var items []item
	for page := ""; ctx.Err() == nil; {
		a := p.client.do(ctx, mailbox, t.server.ListRequest(mailbox, page))
		if !a.ok() {
			break
		}
		ids, next, err := t.server.ParseList(a.body)
		if err != nil {
			break
		}
		for _, id := range ids {
			items = append(items, item{mailbox, id, false})
		}
		if next == "" {
			break
		}
		page = next
	}
	return items
}

// work does one item.
func (p *pass) work(ctx context.Context, t *task, it item) {
	if ctx.Err() != nil {
		return
	}
	var a answer
	if it.send {
		a = p.send(ctx, t, it)
	} else {
		a = p.client.do(ctx, it.mailbox, t.server.GetRequest(it.mailbox, it.id))
		if a.ok() {
			// A 202 "not ready" is a success by its status, but holds no message.
			if m, err := t.server.ParseMessage(a.body); err != nil || m.ID != it.id {
				a = answer{status: a.status, err: fmt.Errorf("demo: an answer without message %q: %w", it.id, err)}
			}
		}
	}
	if ctx.Err() != nil {
		return // the call was interrupted: it counts neither as done nor as failed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case a.ok():
		t.done[it] = true
		t.synced.Add(1)
	case !a.deferred.IsZero():
		t.deferred[it] = true
	default:
		t.failed.Add(1)
	}
}

// maxSends bounds how often a message is sent again after a lookup has shown that it
// had not gone out.
const maxSends = 5

// send sends a message. Where the client says that it cannot know whether the
// message went out, the worker looks it up, and sends it again only if it is not there.
func (p *pass) send(ctx context.Context, t *task, it item) answer {
	var a answer
	for range maxSends {
		a = p.client.do(ctx, it.mailbox, t.server.SendRequest(it.mailbox, it.id))
		if !a.ambiguous {
			return a
		}
		found := p.client.do(ctx, it.mailbox, t.server.FindRequest(it.mailbox, it.id))
		if !found.ok() {
			return a
		}
		ids, _, err := t.server.ParseList(found.body)
		if err != nil {
			return a
		}
		t.mu.Lock()
		t.looked++
		if len(ids) == 0 {
			t.resent++
		}
		t.mu.Unlock()
		if len(ids) > 0 {
			return answer{status: http.StatusOK}
		}
	}
	return a
}

// shuffle mixes the items of all mailboxes, as in a queue that many mailboxes feed. The
// order depends on the seed alone.
func shuffle(items []item, seed uint64) {
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.mailbox, b.mailbox), cmp.Compare(a.id, b.id))
	})
	rand.New(rand.NewPCG(seed, seed)).Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
}
