package engine

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
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
	// limits, and where it is a limiter.CredentialStore and a limiter.PauseStore too, who refreshes
	// a credential, and which accounts are paused. nil = this process keeps them by itself.
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

// withDefaults returns o with its defaults in place of zero values.
func (o Options) withDefaults() Options {
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
	return o
}
