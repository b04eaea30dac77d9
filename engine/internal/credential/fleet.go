package credential

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// All processes that share a store make at most one refresh of a credential at a time.
//
// Before its hook runs, a flight asks the store for the lease of the credential, which makes
// it this process's turn. Afterwards it tells the store how the refresh ended. While another
// process has the lease, the flight waits. If that process has got a new credential, the
// hook only loads it.

// Fleet says how the processes that share a store coordinate their refreshes.
type Fleet struct {
	Store   limiter.CredentialStore
	Member  limiter.StoreID              // this process
	Key     func(k Key) limiter.StoreKey // names a credential in the store
	Timeout time.Duration                // of one request to the store
	Lease   time.Duration                // of a refresh; it is extended while the refresh runs
	Unknown time.Duration                // how long calls are delayed if a process that died may have spent the refresh token
	Dead    string                       // the label with which calls end after that
}

// Turn says how a hook is to get a credential. The zero Turn is that of a process without a
// Fleet: the hook refreshes.
type Turn struct {
	// Load says that another process has got a new credential: the hook is to load the
	// saved one instead of refreshing.
	Load bool
	// Unknown says that another process died, and may have saved a new credential. The hook
	// is to load what is saved, and to call Found.
	Unknown bool
	// Fence is the number of the lease by which this or the other process gets the
	// credential. Numbers grow from lease to lease.
	Fence uint64

	fleet      *Fleet
	key        limiter.StoreKey
	generation uint64        // the generation to be replaced or, with Load, to be loaded
	since      time.Duration // with Unknown: for how long the outcome has been unknown
	stop       func()        // ends the extension of the lease; nil = this process has no lease

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
	askAgain = 250 * time.Millisecond // how often a process asks whether another one's lease has ended
	noTurn   = time.Second            // how long after a flight that got no turn the next one may begin
	tellFor  = time.Hour              // for how long a process tries to tell the store how a refresh ended
)

// ask sends one request to the store.
func (f *Fleet) ask(ctx context.Context, r limiter.CredentialRequest) (limiter.CredentialState, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	r.Member, r.Lease = f.Member, f.Lease
	return f.Store.Credential(ctx, &r)
}

// turn waits until it is this process's turn, or until ctx ends. known is the generation that
// this process has; nil = it does not know. The caller must call end on the Turn.
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
				// The generation of the refused credential is not known. So ask for the lease:
				// a hook that has it can see whether a newer credential is saved.
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

// step sends the store one request about the turn's lease.
func (t *Turn) step(ctx context.Context, r limiter.CredentialRequest) (limiter.CredentialState, error) {
	r.Key, r.Known, r.Fence = t.key, t.generation, t.Fence
	r.Spent, r.Reusable = t.spent.Load(), t.reusable.Load()
	return t.fleet.ask(ctx, r)
}

// extend keeps the lease until ctx ends.
func (t *Turn) extend(ctx context.Context) {
	// A store that has forgotten its leases grants no other for a third of a lease, so this is often enough.
	tick := time.NewTicker(max(t.fleet.Lease/4, time.Millisecond))
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

// Spend must be called before the refresh token is spent. If it returns an error, the token
// must not be spent. reusable says that the token can be used more than once.
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
	t.spent.Store(true) // before the request, since its answer may be lost
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

// Found says that the credential that the hook loads was got by the lease with this number.
func (t *Turn) Found(fence uint64) {
	if t.Unknown && fence == t.Fence {
		t.found.Store(true)
	}
}

// end ends a turn after its hook has returned; a nil failure means that the hook succeeded. It
// returns the failure as calls are to see it, whether the hook has only loaded a credential,
// and the generation that this process has now, or nil if it does not know. After a failure no
// other process refreshes for at least interval.
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
	case failure == nil && !t.spent.Load(): // the hook has found a newer credential that was saved before
		return nil, true, t.tell(limiter.CredentialRequest{Step: limiter.CredentialFailed}, done)
	case failure == nil:
		return nil, false, t.tell(limiter.CredentialRequest{Step: limiter.CredentialSaved}, done)
	case t.lost.Load():
		failure.Spent = false // the store knows, and says when calls may go on
	case failure.Spent:
		t.tell(limiter.CredentialRequest{Step: limiter.CredentialLost}, done)
		failure.Spent = false
	case failure.Early: // the hook has tried nothing
		t.tell(limiter.CredentialRequest{Step: limiter.CredentialFailed}, done)
	default:
		t.tell(limiter.CredentialRequest{Step: limiter.CredentialFailed, Retry: max(failure.Until.Sub(now), interval), As: failure.As}, done)
	}
	return failure, false, &t.generation
}

// tell tells the store how the refresh ended, and returns the generation after that, or nil if
// the store has not answered. In that case it tries again in the background, since the store
// would otherwise believe that this process has died.
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

// renewed tells the store, in the background, that there is a new credential from elsewhere. That
// ends what was known of the one before, but must not end a refresh of the new one, also where the
// store hears of it late. So it asks first how things stand, and then names what is to end.
func (f *Fleet) renewed(k Key, done <-chan struct{}) {
	t := &Turn{fleet: f, key: f.Key(k)}
	go t.tellRenewed(done)
}

func (t *Turn) tellRenewed(done <-chan struct{}) {
	began, late, wait := time.Now(), false, time.Duration(0)
	for asked := false; time.Since(began) < tellFor; {
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-done:
				return
			}
		}
		state, err := t.step(context.Background(), limiter.CredentialRequest{Step: limiter.CredentialRenewed})
		if err != nil {
			late, wait = true, min(max(2*wait, askAgain), 10*time.Second)
			continue
		}
		if state.Phase == limiter.CredentialNewer && asked {
			return // it is done, or another process has got a newer credential
		}
		fence, spent := t.Fence, t.spent.Load()
		if !t.nameRenewed(&state, late, time.Since(began)) {
			return
		}
		if wait = 0; t.Fence == 0 || t.Fence == fence && t.spent.Load() == spent {
			wait = askAgain
		}
		asked = true
	}
}

// nameRenewed names, in t, what a new credential from elsewhere ends: the latest lease, and that its
// refresh token is spent. late says that the store could not be told at once, and ago is how long ago
// that credential came. It returns false if there is nothing to end.
func (t *Turn) nameRenewed(state *limiter.CredentialState, late bool, ago time.Duration) bool {
	named := t.Fence
	switch state.Phase {
	case limiter.CredentialYours, limiter.CredentialBusy:
		if !late && named != 0 && named != state.Fence {
			return false // it began after this was asked
		}
		t.spent.Store(!late && named != 0) // the lease is not over otherwise, and its old token is spent
	case limiter.CredentialUnknown:
		if late && state.Since < ago {
			return false // it may be the new refresh token that is spent
		}
		t.spent.Store(true)
	default:
		t.spent.Store(false)
	}
	t.generation = state.Generation
	if t.Fence = state.Fence; late && (state.Phase == limiter.CredentialBusy || state.Phase == limiter.CredentialNewer) {
		t.Fence = 0 // it may be a refresh of the new credential: wait for its end
	}
	return true
}
