package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/budget"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/gate"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/nesting"
	"github.com/recourse-go/recourse/internal/virtual"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Options configure an Engine. The zero value is usable: the built-in packs,
// no re-authentication, nobody told.
type Options struct {
	// Policies are the policies to decide by; nil = the built-in packs.
	Policies *policy.Set

	// MaxInline is the longest wait that holds a worker; a longer one is
	// handed back as a *DeferError. 0 = 1 minute; there is no "unlimited".
	MaxInline time.Duration
	// MaxWaits bounds the asked-for waits of one call; 0 = 20.
	MaxWaits int
	// MaxTotalWait bounds the time one call spends in asked-for waits; 0 = 24 h.
	MaxTotalWait time.Duration

	// Reauth says how an account's credentials are refreshed. Without a Reauth.Refresh,
	// `reauth` rules fail as needs_user.
	Reauth Reauth
	// Store is what this process shares with others that work for the same accounts: their
	// limits, and who refreshes a credential (where it is a limiter.CredentialStore too). nil
	// = this process keeps them by itself.
	//
	// All limits are shared then, but for those whose policy says `scope: process`. No call
	// waits for the store for longer than StoreTimeout: while it does not answer, each limit
	// goes by its `on_outage`.
	Store limiter.Store
	// StoreTimeout is how long a call waits for the Store at most; 0 = 50 ms.
	StoreTimeout time.Duration
	// StoreLease is how long the Store keeps the slots of a process that it hears nothing of,
	// and its turn to refresh a credential; 0 = 15 s.
	StoreLease time.Duration
	// StoreShadow asks the Store about limits but lets it refuse nothing: Engine.Fleet counts
	// what it would have refused. Each process then keeps the limits by itself, as without one.
	StoreShadow bool
	// Workers is how many processes share the Store, for one that starts while the Store
	// does not answer; 0 = not known: then its shared limits are closed until it does.
	Workers int

	// Authorize puts an account's current credentials on a request that
	// Transport is about to send, a copy of the caller's; nil = requests are
	// sent as they come (their credentials are set below Transport, or once).
	// Its errors mean what those of Reauth.Refresh do, for the one call.
	//
	// The provider that the credentials are for is ProviderOf(req.Context()): an
	// account may have others elsewhere. The hook is not called for a request
	// whose host is nobody's: where the call names no provider and no policy
	// claims the host. Nor for one that a redirect made, unless it goes to the host
	// of the first request, to a subdomain of it, or to a host that the policy
	// claims, and does not leave TLS. What such a host refuses is no reason to
	// refresh.
	//
	// After a refusal it is called once or twice more, with a request that is not
	// sent: where it gives other credentials by now in the Authorization header,
	// as after a refresh by another process, the call is repeated with them.
	Authorize func(req *http.Request, account string) error

	// RequireAccount gives calls up, as misconfigured and before anything is sent,
	// that name no account although a limit of theirs counts by account or their
	// provider's policy can re-authenticate: all of them would share one key and one
	// credential. Requests for tokens need none. false = such calls go on, and
	// the observer is told of the first one of each provider.
	RequireAccount bool

	// Classify reads errors that Recourse does not know into an event; it
	// reports whether it did. nil = the built-in classification alone.
	Classify func(error, *rules.Event) bool
	// Observer is told what happens; nil = nobody. Only with one are response
	// bodies that nobody closes found, and their permits given back.
	Observer Observer
	// LimitFor changes a limit's numbers for one key at run time; nil = never. Names of
	// limits are a policy's own, so the key's Host tells the provider; see the example, and [limiter.Options].
	LimitFor func(limit string, k limiter.Keys) (limiter.Limit, bool)
	// Rand is the source of jitter, in [0,1), safe for concurrent use; nil =
	// math/rand/v2. What it yields beyond is clamped, and NaN is 0.
	Rand func() float64
	// AttemptHeader names a request header in which Transport sends the
	// attempt's number, from 1, for tracing; "" = none.
	AttemptHeader string
	// Recent is how many decisions Engine.Recent remembers; 0 = none.
	Recent int
}

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
	pauses   pauses

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
	facts       factValues
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
// [limiter.Limiter.Hold]. The observer is told. It fails where the policy in force has no such limit.
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

// at returns the operation's uses for a request that costs the given units.
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
			op.teachers = append(op.teachers, teacher{c.policy.Name, l.Name, l.Learn})
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
