package engine

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/budget"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/factvalues"
	"github.com/recourse-go/recourse/engine/internal/gate"
	"github.com/recourse-go/recourse/engine/internal/nesting"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// Provider is a handle bound to one provider: its policy, its limits, its
// budget. It is safe for concurrent use.
type Provider struct {
	engine      *Engine
	name        string
	live        atomic.Pointer[compiled]        // nil until first used; see current
	unread      *policy.Set                     // has the policy while live is nil; Engine.mu guards it
	limiter     atomic.Pointer[limiter.Limiter] // nil until first used; see limits
	placed      []limiter.Limit                 // the limiter's limits; Engine.mu guards it
	budgets     budget.Set
	breakers    breaker.Set
	credentials *credential.Set // the engine's
	gates       gate.Gates
	nesting     nesting.Detector
	shadow      atomic.Pointer[shadow]
	facts       factvalues.Values
	nobody      atomic.Bool // the observer was told of a call without an account
}

// current returns the policy that is in force. A built-in policy is compiled at the first
// call of current, since a worker uses few of the many.
func (p *Provider) current() *compiled {
	if c := p.live.Load(); c != nil {
		return c
	}
	return p.first()
}

func (p *Provider) first() *compiled {
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	return p.firstLocked()
}

// firstLocked does what current does. The caller holds Engine.mu.
func (p *Provider) firstLocked() *compiled {
	if c := p.live.Load(); c != nil {
		return c
	}
	pol, _ := p.unread.Policy(p.name)
	c := compile(pol, &p.engine.o)
	c.gone = p.engine.closed()
	limits, err := c.limitsAfter(nil)
	if err != nil {
		panic(err) // a test proves that the limits of the built-in policies can be built
	}
	p.placed = limits
	p.live.Store(c)
	return c
}

// Policy is the policy that p decides by now.
func (p *Provider) Policy() *policy.Policy { return p.current().policy }

// Limiter is the provider's limiter, for a debug page or to set holds by hand.
func (p *Provider) Limiter() *limiter.Limiter { return p.limits() }

// Hold closes one of the policy's limits for a key until the given time, for
// everyone on that key: a kill switch. cause says why, to those who wait; see
// [limiter.Limiter.Hold]. The observer is told before Hold returns. It fails where the policy in force has no such limit.
func (p *Provider) Hold(limit string, k limiter.Keys, until time.Time, cause ...limiter.Cause) error {
	if err := p.hasLimit(limit); err != nil {
		return err
	}
	p.limits().Hold(limit, k, until, cause...)
	p.toldOfHold(NoticeHold, limit, k, until, cause)
	return nil
}

// Lift ends a hold at once, as if it had never been. It fails as Hold does.
func (p *Provider) Lift(limit string, k limiter.Keys) error {
	if err := p.hasLimit(limit); err != nil {
		return err
	}
	p.limits().Lift(limit, k)
	p.toldOfHold(NoticeLift, limit, k, time.Time{}, nil)
	return nil
}

// Peek tells the state of one of the policy's limits for a key, and changes
// nothing. A limit that the policy in force does not have reads as the zero State.
func (p *Provider) Peek(limit string, k limiter.Keys) limiter.State {
	if p.hasLimit(limit) != nil {
		return limiter.State{}
	}
	return p.limits().Peek(limit, k)
}

// hasLimit returns an error if the policy in force has no limit of that name.
func (p *Provider) hasLimit(name string) error {
	limits := p.Policy().Limits
	if slices.ContainsFunc(limits, func(l policy.Limit) bool { return l.Name == name }) {
		return nil
	}
	names := make([]string, len(limits))
	for i := range limits {
		names[i] = limits[i].Name
	}
	return fmt.Errorf("engine: provider %q has no limit %q, only %q", p.name, name, names)
}

// limits returns the provider's limiter. It is made at the first call, since a worker
// uses few of the many providers.
func (p *Provider) limits() *limiter.Limiter {
	if l := p.limiter.Load(); l != nil {
		return l
	}
	p.engine.mu.Lock()
	defer p.engine.mu.Unlock()
	if l := p.limiter.Load(); l != nil {
		return l
	}
	p.firstLocked()
	o := limiter.Options{
		LimitFor: p.engine.o.LimitFor, Done: p.engine.done, Member: p.engine.member, Namespace: p.name, Closed: p.engine.isPaused,
	}
	if clock := p.engine.clock; clock != nil {
		o.Clock, o.AfterFunc = clock.Now, clock.AfterFunc
	}
	l, err := limiter.New(p.placed, o)
	if err != nil {
		panic(err) // cannot happen: Replace has made a limiter of the same limits before
	}
	p.engine.limiters = append(p.engine.limiters, l)
	p.limiter.Store(l)
	return l
}
