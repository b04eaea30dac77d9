package engine

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/policy"
)

// Mistakes in how an engine is set up: a provider without a policy, a call without the
// account that its limits count by, a host that only a built-in policy claims. They are not
// the job's fault, so a call that ends for one is misconfigured. Where a call goes on all the
// same, the observer is told.

var (
	noPolicyRule  = decision.OwnRule(policy.Rule{Name: "provider", Action: policy.Fail})
	noAccountRule = decision.OwnRule(policy.Rule{Name: "account", Action: policy.Fail})
)

// errNoAccount is the error of a call without an account that needs one.
var errNoAccount = redact.New("engine: the call names no account (WithAccount, Call.Account): all calls without one share limits, holds and credentials")

// noPolicy returns the error for a provider without a policy.
func (e *Engine) noPolicy(provider string) error {
	known := slices.Sorted(maps.Keys(e.loaded().providers))
	hint := ""
	switch meant := closest.Word(provider, known); {
	case provider == "":
		hint = ": the call names none"
	case meant != "":
		hint = fmt.Sprintf(" (did you mean %q?)", meant)
	}
	return redact.New(fmt.Sprintf("engine: no policy for provider %q%s", provider, hint))
}

// noPolicyGiveUp gives up a call whose provider has no policy, or none any more.
func (e *Engine) noPolicyGiveUp(provider, operation string) error {
	if e.closed() {
		return &GiveUpError{
			Decision:  Decision{Action: policy.Fail, As: AsCanceled, Rule: closedRule, Reason: decision.ReasonClosed},
			Operation: operation, Err: ErrClosed, provider: provider,
		}
	}
	return &GiveUpError{
		Decision:  Decision{Action: policy.Fail, As: AsMisconfigured, Rule: noPolicyRule, Reason: decision.ReasonNoPolicy},
		Operation: operation, Err: e.noPolicy(provider),
	}
}

// withoutAccount ends a call that needs an account and names none, if Options.RequireAccount
// says so. Otherwise it returns nil, and the observer is told once a provider.
func (r *run) withoutAccount(ctx context.Context) *outcome {
	o := &r.p.engine.o
	if o.RequireAccount {
		return &outcome{kind: gaveUp, rule: noAccountRule, as: AsMisconfigured, reason: decision.ReasonNoAccount, cause: errNoAccount}
	}
	if r.p.engine.observed() && r.p.nobody.CompareAndSwap(false, true) {
		r.notify(ctx, NoticeNoAccount, 0, errNoAccount)
	}
	return nil
}

// fallback returns the provider of hosts that no policy claims, for a set that has no policy
// `http` of its own: the built-in one. It is made at the first call; nil = it cannot be made.
func (e *Engine) fallback() *Provider {
	e.unclaimed.once.Do(func() {
		pol, ok := policy.Builtin().Policy(fallbackProvider)
		if !ok {
			return
		}
		c, limits, err := e.compileAfter(pol, nil)
		if err != nil {
			return
		}
		p := &Provider{engine: e, name: pol.Name, credentials: e.credentials, placed: limits}
		p.live.Store(c)
		e.unclaimed.provider = p
	})
	return e.unclaimed.provider
}

// noticeUnclaimed tells the observer, once a built-in policy, that a request
// goes to a host that this policy claims and none of the set's does: most often
// the set was loaded without policy.LoadOptions.Over.
func (r *run) noticeUnclaimed(ctx context.Context, req *http.Request, host string) {
	e := r.p.engine
	if r.p.name != fallbackProvider || r.call.Provider != "" || e.Policies() == policy.Builtin() {
		return
	}
	pol := policy.Builtin().Lookup(host, req.URL.Path)
	if pol == nil {
		return
	}
	if _, told := e.unclaimed.told.LoadOrStore(pol.Name, true); told { // as many as there are packs
		return
	}
	r.notify(ctx, NoticeUnclaimed, 0, fmt.Errorf("engine: %s is claimed by the built-in policy %q, which is not loaded: `http` decides (policy.LoadOptions.Over loads a set over the built-in ones)", host, pol.Name))
}
