package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/recourse-go/recourse/engine/internal/factvalues"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Facts that are known before a call: those that the path of its request names, and those
// that the caller gives. Rules read them, and limits may count by them.

const (
	maxFactKey = 256          // bytes of a fact that count in a limit's key
	othersFact = "\x00others" // the value that all share that have no key of their own
)

var errFactValues = fmt.Errorf("engine: an account has more than %d values of the facts that limits count by: all others share one key", factvalues.Max)

// withFacts returns the facts of a request's path and those that the caller gives. The
// caller's go before.
func withFacts(path, given map[string]string) map[string]string {
	if len(path) == 0 || len(given) == 0 {
		if len(given) > 0 {
			return given
		}
		return path
	}
	maps.Copy(path, given) // path is a request's own
	return path
}

// addFacts adds facts of the call to those of an event. What is there already stays.
func addFacts(e *rules.Event, facts map[string]string) {
	if len(facts) == 0 {
		return
	}
	all := make(map[string]string, len(e.Facts)+len(facts))
	maps.Copy(all, facts)
	maps.Copy(all, e.Facts)
	e.Facts = all
}

// factKeys returns the facts of a call that the policy's limits count by, as part of its keys.
func (p *Provider) factKeys(ctx context.Context, c *compiled, call *Call) string {
	var facts map[string]string
	for _, name := range c.factKeys {
		value := call.Facts[name]
		if value == "" {
			continue
		}
		if len(value) > maxFactKey {
			end := maxFactKey
			for end > 0 && !utf8.RuneStart(value[end]) {
				end--
			}
			value = value[:end]
		}
		own, full := p.facts.Admit(call.Account, name, value, time.Now())
		if full && p.engine.observed() {
			p.engine.tell(ctx, &Notice{
				Kind: NoticeManyFacts, Time: time.Now(), Provider: p.name, Account: call.Account,
				Operation: call.Operation, Method: call.Method, Host: call.Host, Err: errFactValues,
			})
		}
		if !own {
			value = othersFact
		}
		if facts == nil {
			facts = make(map[string]string, len(c.factKeys))
		}
		facts[name] = value
	}
	return limiter.FactKeys(facts)
}

// counting returns those of uses whose limits count a call with these facts: a limit that
// counts by a fact which the call lacks does not count it. uses are the operation's own.
func (o *operation) counting(uses []limiter.Use, facts map[string]string) []limiter.Use {
	all := func(l *policy.Limit) bool { return l.Missing(facts) == "" }
	if !slices.ContainsFunc(o.limits, func(l *policy.Limit) bool { return !all(l) }) {
		return uses
	}
	counted := make([]limiter.Use, 0, len(uses))
	for i, l := range o.limits {
		if all(l) {
			counted = append(counted, uses[i])
		}
	}
	return counted
}
