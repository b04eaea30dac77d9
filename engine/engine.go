package engine

import (
	"fmt"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// Provider is a handle bound to one provider's policy. It is immutable and
// safe for concurrent use; it goes on with the policy it was made with.
type Provider struct {
	policy       *policy.Policy
	schedules    []schedule
	maxWaits     int
	maxTotalWait time.Duration
}

// newProvider prepares a policy for deciding.
func newProvider(p *policy.Policy, o *Options) *Provider {
	h := &Provider{policy: p, maxWaits: o.MaxWaits, maxTotalWait: o.MaxTotalWait}
	if h.maxWaits <= 0 {
		h.maxWaits = 20
	}
	if h.maxTotalWait <= 0 {
		h.maxTotalWait = 24 * time.Hour
	}
	for _, b := range p.Backoffs {
		h.schedules = append(h.schedules, newSchedule(b))
	}
	return h
}

// Policy is the policy that p decides by.
func (p *Provider) Policy() *policy.Policy { return p.policy }

// Options configure an Engine. The zero value is usable.
type Options struct {
	// Policies are the policies to decide by; nil = the built-in packs.
	Policies *policy.Set
	// MaxWaits bounds the asked-for waits of one call; 0 = 20.
	MaxWaits int
	// MaxTotalWait bounds the time one call spends in asked-for waits; 0 = 24 h.
	MaxTotalWait time.Duration
}

// Engine runs calls by policy. It is safe for concurrent use.
type Engine struct {
	providers map[string]*Provider
}

// New makes an Engine.
func New(o Options) (*Engine, error) {
	set := o.Policies
	if set == nil {
		set = policy.Builtin()
	}
	e := &Engine{providers: map[string]*Provider{}}
	for _, p := range set.Policies() {
		e.providers[p.Name] = newProvider(p, &o)
	}
	return e, nil
}

// Provider returns the handle of a provider by its policy's name.
func (e *Engine) Provider(name string) (*Provider, error) {
	if p := e.providers[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("engine: no policy for provider %q", name)
}
