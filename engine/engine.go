package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/pause"
	"github.com/recourse-go/recourse/internal/virtual"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Engine runs calls by policy. It is safe for concurrent use.
type Engine struct {
	o    Options
	live atomic.Pointer[generation]
	mu   sync.Mutex    // serialises reloads
	done chan struct{} // closed by Close

	start time.Time     // when the engine was made; see now
	clock virtual.Clock // of a simulation; nil = it is now

	// handles has the providers of all generations. A provider stays here when its policy
	// goes away, so that its handle works again when the policy comes back. mu guards it.
	handles map[string]*Provider
	shadows *policy.Set // the candidates of Shadow; nil = none. mu guards it.

	limiters []*limiter.Limiter // of all providers. mu guards it.
	pauses   *pause.Set

	origins httpattempt.Origins

	credentials *credential.Set
	member      *limiter.Member // of those that share Options.Store; nil = this process is alone
	reloads     reloads

	unclaimed struct { // see Engine.fallback
		once     sync.Once
		provider *Provider
		told     sync.Map // names of built-in policies
	}
	recent   *recent
	audience audience
}

// generation is one loaded set of policies.
type generation struct {
	set       *policy.Set
	providers map[string]*Provider
	byHost    map[string]*wholeHost
	last      *generation // set once the engine is closed: the generation before, since this one is empty
}

// wholeHost is a host of which one policy claims every path.
type wholeHost struct {
	provider *Provider
	origins  [2]atomic.Pointer[httpattempt.Origin] // without TLS, and with it; nil until first used
}

// New makes an Engine. It fails only if a policy's limits cannot be built.
func New(o Options) (*Engine, error) { return newEngine(o, nil) }

func newEngine(o Options, clock virtual.Clock) (*Engine, error) {
	if o.Policies == nil {
		o.Policies = policy.Builtin()
	}
	if o.MaxInline <= 0 {
		o.MaxInline = time.Minute
	}
	if o.MaxWaits <= 0 {
		o.MaxWaits = decision.DefaultMaxWaits
	}
	if o.MaxTotalWait <= 0 {
		o.MaxTotalWait = decision.DefaultMaxTotalWait
	}
	if o.Reauth.Interval <= 0 {
		o.Reauth.Interval = 30 * time.Second
	}
	if o.Reauth.Timeout <= 0 {
		o.Reauth.Timeout = time.Minute
	}
	if o.Reauth.Unknown <= 0 {
		o.Reauth.Unknown = 10 * time.Minute
	}
	if chance := o.Rand; chance != nil {
		o.Rand = func() float64 { return decision.Clamp(chance()) }
	} else {
		o.Rand = rand.Float64
	}
	e := &Engine{
		o: o, clock: clock, recent: newRecent(o.Recent), handles: map[string]*Provider{}, done: make(chan struct{}),
	}
	e.start = e.time()
	e.credentials = credential.New(o.Reauth.Interval, o.Reauth.Timeout, e.done, credentialFleet(&e.o))
	e.audience.any.Store(o.Observer != nil)
	e.pauses = e.newPauses()
	e.member = e.newMember()
	if err := e.replace(o.Policies); err != nil {
		return nil, err
	}
	return e, nil
}

// Replace makes set the policies of every call that begins from now on. Calls
// in flight finish with the policy they began with. Limits keep their levels
// and permits. Where a limit cannot be built nothing changes. The observer is
// told.
func (e *Engine) Replace(set *policy.Set) error {
	err := e.replace(set)
	e.reloaded(context.Background(), err)
	return err
}

func (e *Engine) replace(set *policy.Set) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed() {
		return ErrClosed
	}
	next := &generation{set: set, providers: map[string]*Provider{}}
	type change struct {
		p *Provider
		c *compiled
		l []limiter.Limit
	}
	var changes []change
	var unread []*Provider
	for _, name := range set.Names() {
		p := e.handles[name]
		if p == nil {
			p = &Provider{engine: e, name: name, credentials: e.credentials}
		}
		if p.live.Load() == nil && set.Unread(name) {
			next.providers[name] = p
			unread = append(unread, p)
			continue
		}
		pol, _ := set.Policy(name)
		c := compile(pol, &e.o)
		limits, err := c.limitsAfter(p.placed)
		if err != nil {
			return err
		}
		// The limiter is made only to find out whether its limits are valid.
		if _, err := limiter.New(limits, limiter.Options{Shards: 1, LimitFor: e.o.LimitFor}); err != nil {
			return fmt.Errorf("engine: provider %q: %w", pol.Name, err)
		}
		next.providers[name] = p
		changes = append(changes, change{p, c, limits})
	}
	for _, ch := range changes {
		if l := ch.p.limiter.Load(); l != nil {
			if err := l.Update(ch.l); err != nil {
				return fmt.Errorf("engine: provider %q: %w", ch.p.name, err)
			}
		}
		ch.p.placed = ch.l
		ch.p.live.Store(ch.c)
		if e.handles[ch.p.name] == nil {
			ch.p.shadow.Store(e.shadowOfLocked(ch.p.name))
		}
		e.handles[ch.p.name] = ch.p
	}
	for name, p := range e.handles {
		if next.providers[name] != nil {
			continue
		}
		if was := p.firstLocked(); !was.gone {
			c := compile(was.policy, &e.o)
			c.gone = true
			p.live.Store(c)
		}
	}
	for _, p := range unread {
		p.unread = set
		if e.handles[p.name] == nil {
			p.shadow.Store(e.shadowOfLocked(p.name))
		}
		e.handles[p.name] = p
	}
	next.byHost = map[string]*wholeHost{}
	for host, name := range set.WholeHosts() {
		next.byHost[host] = &wholeHost{provider: next.providers[name]}
	}
	e.live.Store(next)
	e.tellNumbers(set)
	e.reloads.mu.Lock()
	e.reloads.status = ReloadStatus{Version: set.Version(), Success: time.Now()}
	e.reloads.mu.Unlock()
	return nil
}

// now returns the time since the engine was made. It reads only the monotonic clock,
// which costs half of what time.Now does. The sum e.start + now is right for durations;
// as a time of day it is wrong if the system's clock has been set meanwhile.
func (e *Engine) now() time.Duration { return time.Since(e.start) }

// time returns the time of day; in a simulation, its time.
func (e *Engine) time() time.Time {
	if e.clock != nil {
		return e.clock.Now()
	}
	return time.Now()
}

// Policies are the policies that the engine decides by now.
func (e *Engine) Policies() *policy.Set { return e.live.Load().set }

// Provider returns the handle of a provider, by its policy's name. A handle
// saves the look-up of every call and follows reloads. A built-in policy is read
// and indexed here, which takes milliseconds, if no call has done so yet. While no policy of that
// name is in force, Do gives calls up as misconfigured; Decide, CheckResponse and
// DecideBatch go by the last one, for the calls that began with it.
func (e *Engine) Provider(name string) (*Provider, error) {
	if p := e.loaded().providers[name]; p != nil {
		p.current().policy.Matcher.Match(&rules.Event{}) // makes the index
		return p, nil
	}
	return nil, e.noPolicy(name)
}
