package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Facts that are known before a call: those that the path of its request names, and those
// that the caller gives. Rules read them, and limits may count by them.

const (
	maxFactKey    = 256            // bytes of a fact that count in a limit's key
	maxFactValues = 10_000         // values of an account that have keys of their own
	othersFact    = "\x00others"   // the value that all others share
	factsFor      = 24 * time.Hour // a value that is not seen is forgotten after this time, or up to twice of it
)

var errFactValues = errors.New("engine: an account has more than 10000 values of the facts that limits count by: all others share one key")

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
		own, full := p.facts.admit(call.Account, name, value, time.Now())
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

// factValues bounds how many values the facts of each account may have in the keys of limits,
// since callers may put any text into a path. The zero value is ready to use.
type factValues struct {
	mu    sync.Mutex
	seed  maphash.Seed
	began time.Time
	// The values that were seen since began, and those that were seen in as long before that.
	recent, older map[string]*accountFacts
}

type accountFacts struct {
	values map[uint64]struct{}
	told   bool
}

// admit reports whether a value has a key of its own. full says, once in a while, that
// an account has too many.
func (f *factValues) admit(account, name, value string, now time.Time) (own, full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.recent == nil:
		f.seed, f.began, f.recent = maphash.MakeSeed(), now, map[string]*accountFacts{}
	case now.Sub(f.began) >= 2*factsFor:
		f.began, f.older, f.recent = now, nil, map[string]*accountFacts{}
	case now.Sub(f.began) >= factsFor:
		f.began, f.older, f.recent = now, f.recent, map[string]*accountFacts{}
	}
	a, old := f.recent[account], f.older[account]
	if a == nil {
		a = &accountFacts{values: map[uint64]struct{}{}}
		f.recent[account] = a
	}
	hash := maphash.Comparable(f.seed, [2]string{name, value})
	if _, known := a.values[hash]; known {
		return true, false
	}
	seen := len(a.values)
	if old != nil {
		if _, known := old.values[hash]; known {
			delete(old.values, hash)
			a.values[hash] = struct{}{}
			return true, false
		}
		seen += len(old.values)
	}
	if seen >= maxFactValues {
		full, a.told = !a.told, true
		return false, full
	}
	a.values[hash] = struct{}{}
	return true, false
}
