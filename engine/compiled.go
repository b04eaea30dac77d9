package engine

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// compiled is a policy with what the loop needs worked out. It does not change.
type compiled struct {
	policy     *policy.Policy
	decision   *decision.Policy // decides by it
	factKeys   []string         // the facts that limits count by
	captures   bool             // the path of an operation names facts
	holds      bool             // some rule closes a limit
	reauths    bool             // some rule refreshes credentials, and a hook refreshes or sets them
	gone       bool             // no policy of its name is in force any more
	operations atomic.Pointer[map[string]*operation]
	usual      [64]atomic.Pointer[operation] // some of the operations, found without a map; see placeOf
}

// operation has what a call of one operation needs of the policy, worked out once.
type operation struct {
	name      string
	timeout   time.Duration // of an attempt; 0 = none
	uses      []limiter.Use
	priced    []bool          // for each of uses, whether a cost table sets its cost
	limits    []*policy.Limit // for each of uses, its limit; nil = none of them counts by facts
	token     bool            // a request for tokens
	account   bool            // it needs an account: without one, all calls would share one key or credential
	inspected bool            // the policy looks for errors in successes that may answer a batch
	metered   []string        // the limits among uses that count units; nil = none
	teachers  []teacher       // for those of uses that responses tell about; nil = none
}

// at returns the operation's uses for a call that says what each request costs, in units.
func (o *operation) at(cost int64) []limiter.Use {
	uses := slices.Clone(o.uses)
	for i := range uses {
		if o.priced[i] {
			uses[i].Cost = cost
		}
	}
	return uses
}

// maxOperations bounds how many operations are remembered; names come from
// callers, who might put an identifier into them.
const maxOperations = 1024

func compile(p *policy.Policy, o *Options) *compiled {
	c := &compiled{policy: p, decision: decision.Compile(p, o.MaxWaits, o.MaxTotalWait)}
	c.captures = p.Captures()
	for i := range p.Limits {
		for _, key := range p.Limits[i].Key {
			_, builtin := limiter.ParseDimension(key)
			if !builtin && !slices.Contains(c.factKeys, key) {
				c.factKeys = append(c.factKeys, key)
			}
		}
	}
	c.holds = slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return len(r.Hold) > 0 })
	c.reauths = (o.Reauth.Refresh != nil || o.Authorize != nil) && slices.ContainsFunc(p.Rules, func(r policy.Rule) bool { return r.Action == policy.Reauth })
	c.operations.Store(&map[string]*operation{})
	return c
}

// asGone returns the policy anew, as one that is no longer in force.
func (c *compiled) asGone(o *Options) *compiled {
	gone := compile(c.policy, o)
	gone.gone = true
	return gone
}

// operation finds an operation by its name, or works it out.
func (c *compiled) operation(name string) *operation {
	usual := &c.usual[placeOf(name)]
	if op := usual.Load(); op != nil && op.name == name {
		return op
	}
	known := c.operations.Load()
	if op := (*known)[name]; op != nil {
		return op
	}
	op := &operation{name: name, timeout: c.policy.AttemptTimeout, token: c.policy.IsToken(name)}
	for i := range c.policy.Limits {
		l := &c.policy.Limits[i]
		if !l.Applies(name) {
			continue
		}
		u, priced := limiter.Use{Limit: l.Name, Cost: 1}, false
		switch l.Cost {
		case "":
		case policy.BytesCost:
			u.Bytes = true
		default:
			priced = true
			u.Cost = c.policy.CostOf(l, name)
		}
		op.uses, op.priced = append(op.uses, u), append(op.priced, priced)
		if !u.Bytes && (l.Rate > 0 || l.Quota > 0) {
			op.metered = append(op.metered, l.Name)
		}
		if len(c.factKeys) > 0 {
			op.limits = append(op.limits, l)
		}
		op.account = op.account || slices.Contains(l.Key, limiter.Account.String())
		if l.Learn != nil {
			op.teachers = append(op.teachers, teacher{c.policy.Name, l})
		}
	}
	op.inspected = len(c.policy.Inspect) > 0 && (name == "" ||
		c.policy.InspectFor(http.StatusOK, name, "application/json") != nil || c.policy.InspectFor(http.StatusOK, name, "multipart/mixed") != nil)
	op.account = !op.token && (op.account || c.reauths)
	if len(*known) < maxOperations {
		grown := make(map[string]*operation, len(*known)+1)
		for k, v := range *known {
			grown[k] = v
		}
		grown[name] = op
		c.operations.CompareAndSwap(known, &grown) // if it fails, the operation is worked out once more
		usual.CompareAndSwap(nil, op)
	}
	return op
}

// placeOf returns the index in compiled.usual of an operation's name.
func placeOf(name string) int {
	n := len(name)
	if n == 0 {
		return 0
	}
	return (n + 5*int(name[0]) + 11*int(name[n/2]) + 23*int(name[n-1])) % 64
}

// limitsAfter returns the limiter's limits after a reload: the old ones, changed to what
// the policy says now, and then its new ones. A limit that the policy no longer has stays
// without numbers, since calls that began before the reload still name it.
func (c *compiled) limitsAfter(old []limiter.Limit) ([]limiter.Limit, error) {
	limits := make([]limiter.Limit, len(old))
	for i, l := range old {
		limits[i] = limiter.Limit{Name: l.Name, Key: l.Key}
	}
	for i := range c.policy.Limits {
		l, err := limitOf(c.policy, &c.policy.Limits[i])
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(limits, func(o limiter.Limit) bool { return o.Name == l.Name })
		if at < 0 {
			at = len(limits)
			limits = append(limits, l)
		}
		limits[at] = l
	}
	return limits, nil
}

// limitOf turns a policy's limit into the limiter's.
func limitOf(p *policy.Policy, l *policy.Limit) (limiter.Limit, error) {
	r := limiter.Limit{
		Name: l.Name, Rate: l.Rate, Burst: l.Burst, Quota: l.Quota, Window: l.Window,
		Concurrency: l.Concurrency, Adapt: l.Adapt != "", Fixed: l.Fixed, Learn: l.Learn != nil,
		Process: l.Process, OnOutage: outages[l.OnOutage], MaxCost: p.MaxCost(l),
	}
	for _, k := range l.Key {
		d, ok := limiter.ParseDimension(k)
		if !ok {
			var err error
			if d, err = limiter.FactDimension(k); err != nil {
				return r, fmt.Errorf("engine: provider %q, limit %q: key %q: %w", p.Name, l.Name, k, err)
			}
		}
		r.Key = append(r.Key, d)
	}
	return r, nil
}
