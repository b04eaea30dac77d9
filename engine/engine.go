package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
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
	mu   sync.Mutex    // serialises reloads, and guards what says so
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

// New makes an Engine. It fails only if a policy's limits cannot be built.
func New(o Options) (*Engine, error) { return newEngine(o, nil) }

func newEngine(o Options, clock virtual.Clock) (*Engine, error) {
	o = o.withDefaults()
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
