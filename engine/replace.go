package engine

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// How policies are put in force.

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
	changes, err := e.changesLocked(set)
	if err != nil {
		return err
	}
	next := &generation{set: set, providers: map[string]*Provider{}, byHost: map[string]*wholeHost{}}
	for i := range changes {
		p := changes[i].provider
		if err := e.applyLocked(set, &changes[i]); err != nil {
			return err
		}
		next.providers[p.name] = p
	}
	e.retireLocked(next)
	for host, name := range set.WholeHosts() {
		next.byHost[host] = &wholeHost{provider: next.providers[name]}
	}
	e.live.Store(next)
	e.tellNumbers(set)
	e.reloads.succeeded(set.Version())
	return nil
}

// change is what a reload does to one provider.
type change struct {
	provider *Provider
	compiled *compiled       // its new policy; nil = a built-in one, which is read when it is first used
	limits   []limiter.Limit // the limiter's limits after the reload
}

// changesLocked returns what a reload does to each provider of set, and changes nothing. It
// fails where a limit cannot be built.
func (e *Engine) changesLocked(set *policy.Set) ([]change, error) {
	var changes []change
	for _, name := range set.Names() {
		p := e.handles[name]
		if p == nil {
			p = &Provider{engine: e, name: name, credentials: e.credentials}
		}
		if p.live.Load() == nil && set.Unread(name) {
			changes = append(changes, change{provider: p})
			continue
		}
		pol, _ := set.Policy(name)
		c, limits, err := e.compileAfter(pol, p.placed)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change{p, c, limits})
	}
	return changes, nil
}

// compileAfter compiles a policy whose provider has the limits placed, and returns the limits
// that the provider is to have. It fails where they are not valid.
func (e *Engine) compileAfter(pol *policy.Policy, placed []limiter.Limit) (*compiled, []limiter.Limit, error) {
	c := compile(pol, &e.o)
	limits, err := c.limitsAfter(placed)
	if err != nil {
		return nil, nil, err
	}
	// The limiter is made only to find out whether its limits are valid.
	if _, err := limiter.New(limits, limiter.Options{Shards: 1, LimitFor: e.o.LimitFor}); err != nil {
		return nil, nil, fmt.Errorf("engine: provider %q: %w", pol.Name, err)
	}
	return c, limits, nil
}

// applyLocked changes one provider.
func (e *Engine) applyLocked(set *policy.Set, c *change) error {
	p := c.provider
	if c.compiled == nil {
		p.unread = set
	} else {
		if l := p.limiter.Load(); l != nil {
			if err := l.Update(c.limits); err != nil {
				return fmt.Errorf("engine: provider %q: %w", p.name, err)
			}
		}
		p.placed = c.limits
		p.live.Store(c.compiled)
	}
	if e.handles[p.name] == nil {
		p.shadow.Store(e.shadowOfLocked(p.name))
		e.handles[p.name] = p
	}
	return nil
}

// retireLocked marks the policies of the providers that next does not have as gone.
func (e *Engine) retireLocked(next *generation) {
	for name, p := range e.handles {
		if next.providers[name] != nil {
			continue
		}
		if was := p.firstLocked(); !was.gone {
			p.live.Store(was.asGone(&e.o))
		}
	}
}
