package credential

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// One refresh of a credential at a time in all processes that share a store.
//
// A flight asks the store for its turn before its hook runs, and tells it how the refresh
// ended. While another process has the lease, the flight waits; where that process has got
// a new credential, the hook only loads it.

// Fleet is the processes that share a store.
type Fleet struct {
	Store   limiter.CredentialStore
	Member  limiter.StoreID              // this process
	Key     func(k Key) limiter.StoreKey // names a credential in the store
	Timeout time.Duration                // of one request to the store
	Lease   time.Duration                // of a refresh; it is extended for as long as the process lives
	Unknown time.Duration                // how long calls wait where a refresh token may have been spent
	Dead    string                       // what they end as after that
}

// Turn is how a hook is to get a credential. The zero Turn is that of a process without a
// Fleet: it refreshes.
type Turn struct {
	// Load says that the hook is not to refresh, but to load what is saved: another process
	// has got a new credential.
	Load bool
	// Unknown says that another process may have saved one. The hook is to say what it
	// loads: see Found.
	Unknown bool
	// Fence is the number of the lease by which the credential is got, or was.
	Fence uint64

	fleet      *Fleet
	key        limiter.StoreKey
	generation uint64        // the one that is to be replaced, or the one to load
	since      time.Duration // of Unknown
	stop       func()        // ends the extension of the lease; nil = there is no lease

	spent, reusable, lost, found atomic.Bool
}

// The errors of a fleet.
const (
	ErrOnlyLoad  Error = "engine: the Reauth hook may only load the credential that another process has got"
	errLeaseLost Error = "engine: the lease of the refresh has run out, and another process may have it"
	errBusy      Error = "engine: another process refreshes the credentials"
	errNoStore   Error = "engine: the store that says which process refreshes the credentials cannot be reached"
	errUnknown   Error = "engine: a process ended while it refreshed the credentials, and nobody knows whether the refresh token is spent"
	errElsewhere Error = "engine: another process could not refresh the credentials"
)

const (
	askAgain = 250 * time.Millisecond // how often a process asks whether the lease of another one has ended
	noTurn   = time.Second            // when a flight is tried again that got no turn
	tellFor  = time.Hour              // how long it is tried to tell the store how a refresh ended
)

// ask takes one step.
func (f *Fleet) ask(ctx context.Context, r limiter.CredentialRequest) (limiter.CredentialState, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	r.Member, r.Lease = f.Member, f.Lease
	return f.Store.Credential(ctx, &r)
}

// turn waits until it is the process's turn, at most until ctx ends. known is the generation
// that the process has; nil where it does not know. The caller must end the turn.
func (f *Fleet) turn(ctx context.Context, k Key, known *uint64) (*Turn, *Failure) {
	t := &Turn{fleet: f, key: f.Key(k)}
	if known != nil {
		t.generation = *known
	}
	for {
		state, err := f.ask(ctx, limiter.CredentialRequest{Step: limiter.CredentialBegin, Key: t.key, Known: t.generation})
		now := time.Now()
		if err != nil {
			return nil, &Failure{Err: errNoStore, Until: now.Add(noTurn), Early: true}
		}
		t.Fence = state.Fence
		switch state.Phase {
		case limiter.CredentialYours:
			ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
			t.stop = cancel
			go t.extend(ctx)
			return t, nil
		case limiter.CredentialNewer:
			t.generation = state.Generation
			if known == nil {
				// Nobody knows of which generation the refused credential is. A hook that has
				// the lease sees for itself whether a newer one is saved.
				known = &t.generation
				continue
			}
			t.Load = true
			return t, nil
		case limiter.CredentialUnknown:
			t.Load, t.Unknown, t.since = true, true, state.Since
			return t, nil
		case limiter.CredentialBackoff:
			return nil, &Failure{Err: errElsewhere, As: state.As, Until: now.Add(state.Wait)}
		}
		select {
		case <-time.After(max(min(state.Wait, askAgain), time.Millisecond)):
		case <-ctx.Done():
			return nil, &Failure{Err: errBusy, Until: now.Add(noTurn), Early: true}
		}
	}
}

// step tells the store something of the turn's lease.
func (t *Turn) step(ctx context.Context, r limiter.CredentialRequest) (limiter.CredentialState, error) {
	r.Key, r.Known, r.Fence = t.key, t.generation, t.Fence
	r.Spent, r.Reusable = t.spent.Load(), t.reusable.Load()
	return t.fleet.ask(ctx, r)
}

// extend keeps the lease until ctx ends.
func (t *Turn) extend(ctx context.Context) {
	tick := time.NewTicker(max(t.fleet.Lease/4, time.Millisecond)) // a store that has forgotten the lease gives no other for a third of one
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if state, err := t.step(ctx, limiter.CredentialRequest{Step: limiter.CredentialExtend}); err == nil && state.Phase != limiter.CredentialYours {
			t.lost.Store(true)
		}
	}
}

// Spend says that the refresh token is about to be spent. It fails where that must not be.
// reusable says that the token can be used more than once.
func (t *Turn) Spend(ctx context.Context, reusable bool) error {
	switch {
	case t.Load:
		return ErrOnlyLoad
	case t.fleet == nil:
		return nil
	case t.lost.Load():
		return errLeaseLost
	}
	t.reusable.Store(reusable)
	t.spent.Store(true) // where the answer is lost, too
	state, err := t.step(ctx, limiter.CredentialRequest{Step: limiter.CredentialSpend})
	switch {
	case err != nil:
		return errNoStore
	case state.Phase != limiter.CredentialYours:
		t.lost.Store(true)
		return errLeaseLost
	}
	return nil
}

// Found says that what the hook loads was got by the lease with this number.
func (t *Turn) Found(fence uint64) {
	if t.Unknown && fence == t.Fence {
		t.found.Store(true)
	}
}

// end ends a turn whose hook has failed, or has not: nil. It returns what that means, whether
// the hook has only loaded a credential, and the generation that the process has now; nil =
// it does not know. For interval after a failure no other process
// refreshes.
func (t *Turn) end(failure *Failure, interval time.Duration, done <-chan struct{}) (_ *Failure, loaded bool, generation *uint64) {
	if t.stop != nil {
		t.stop()
	}
	now := time.Now()
	switch {
	case t.Unknown && failure == nil && t.found.Load():
		return nil, true, t.tell(limiter.CredentialRequest{Step: limiter.CredentialFound}, done)
	case t.Unknown:
		f := &Failure{Err: errUnknown, Until: now.Add(t.fleet.Unknown - t.since)}
		if t.since >= t.fleet.Unknown {
			f.As, f.Until = t.fleet.Dead, now
		}
		return f, false, &t.generation
	case t.Load:
		return failure, true, &t.generation
	case failure == nil && !t.spent.Load(): // a newer one was saved already
		return nil, true, t.tell(limiter.CredentialRequest{Step: limiter.CredentialFailed}, done)
	case failure == nil:
		return nil, false, t.tell(limiter.CredentialRequest{Step: limiter.CredentialSaved}, done)
	case t.lost.Load():
		failure.Spent = false // the store knows
	case failure.Spent:
		t.tell(limiter.CredentialRequest{Step: limiter.CredentialLost}, done)
		failure.Spent = false
	case failure.Early: // nothing was tried
		t.tell(limiter.CredentialRequest{Step: limiter.CredentialFailed}, done)
	default:
		t.tell(limiter.CredentialRequest{Step: limiter.CredentialFailed, Retry: max(failure.Until.Sub(now), interval), As: failure.As}, done)
	}
	return failure, false, &t.generation
}

// tell tells the store how the refresh ended, and returns the generation after that; nil = it
// is not known. It goes on in the background until the store has heard it, which else takes
// the process for one that has died.
func (t *Turn) tell(r limiter.CredentialRequest, done <-chan struct{}) (generation *uint64) {
	if state, err := t.step(context.Background(), r); err == nil {
		return &state.Generation
	}
	go func() {
		for pause, began := askAgain, time.Now(); time.Since(began) < tellFor; pause = min(2*pause, 10*time.Second) {
			select {
			case <-time.After(pause):
			case <-done:
				t.step(context.Background(), r) // the last try
				return
			}
			if _, err := t.step(context.Background(), r); err == nil {
				return
			}
		}
	}()
	return nil
}

// renewed tells the store that there is a new credential from elsewhere.
func (f *Fleet) renewed(k Key, done <-chan struct{}) {
	t := &Turn{fleet: f, key: f.Key(k)}
	go t.tell(limiter.CredentialRequest{Step: limiter.CredentialRenewed}, done)
}
