package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/budget"
	"github.com/recourse-go/recourse/internal/errtree"
)

// What a debug page or a health check looks at, besides limits: see Provider.Limiter.

// InUse are the handles of the providers that calls have used, by name.
func (e *Engine) InUse() []*Provider {
	e.mu.Lock()
	defer e.mu.Unlock()
	var used []*Provider
	for _, p := range e.handles {
		if p.live.Load() != nil {
			used = append(used, p)
		}
	}
	slices.SortFunc(used, func(a, b *Provider) int { return cmp.Compare(a.name, b.name) })
	return used
}

// Done is closed by Close.
func (e *Engine) Done() <-chan struct{} { return e.done }

// Name is the provider's name, which is its policy's.
func (p *Provider) Name() string { return p.name }

// Credentials are the states of the credentials that were refreshed or renewed lately, in no
// order, without the credentials.
func (e *Engine) Credentials() []CredentialState {
	var list []CredentialState
	for s := range e.credentials.All() {
		c := CredentialState{Provider: s.Provider, Name: s.Name, Refreshing: s.Refreshing, Failures: s.Failures}
		if f := s.Failure; f != nil {
			c.Until, c.As, c.Err = f.Until, f.As, f.Err
		}
		list = append(list, c)
	}
	return list
}

// BreakerState is the state of a circuit breaker.
type BreakerState struct {
	By    string    // what the policy's breaker counts by: "host", "account" …
	Key   string    // the host, or whatever else that is
	State string    // "closed", "open" or "half open"
	Until time.Time // when an open one lets a probe pass; zero = it is not open
}

// Breakers are the provider's circuit breakers, by key; at most some 8,000 are remembered.
// Breakers of a section that a reload has changed are not among them.
func (p *Provider) Breakers() []BreakerState {
	b := p.current().policy.Breaker
	if b == nil {
		return nil
	}
	var list []BreakerState
	for key, state := range p.breakers.States() {
		if key.Section == *b {
			list = append(list, BreakerState{By: b.Key, Key: key.Name, State: state.String(), Until: p.breakers.Until(breaker.Key{Section: *b, Name: key.Name})})
		}
	}
	slices.SortFunc(list, func(a, b BreakerState) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// BudgetState is the state of a retry budget.
type BudgetState struct {
	By      string  // what the policy's budget counts by: "provider", "account" …
	Key     string  // the account, or whatever else that is; "" = the provider as a whole
	Retries float64 // that may be made now
	Most    float64 // that can be saved up
}

// Budgets are the provider's retry budgets, by key; at most some 65,000 are remembered.
func (p *Provider) Budgets() []BudgetState {
	b := p.current().policy.Budget
	if b == nil {
		return nil
	}
	var list []BudgetState
	for key, retries := range p.budgets.All(time.Now(), b) {
		list = append(list, BudgetState{By: b.Key, Key: key, Retries: retries, Most: budget.Most(b)})
	}
	slices.SortFunc(list, func(a, b BudgetState) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// Text is what may be shown of what went wrong: of the reply its status, codes and plain words,
// of Err what is known to hold no secret, as in the text of a GiveUpError; "" where nothing
// did.
func (n *Notice) Text() string {
	switch {
	case n.Event == nil && n.Err == nil, n.Kind.ownError() && n.Err == nil:
		return ""
	case n.Kind.ownError():
		return errtree.Text(n.Err)
	}
	return shownFailure(n.Event, n.Err)
}
