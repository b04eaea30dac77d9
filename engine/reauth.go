package engine

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/redact"
	"github.com/recourse-go/recourse/rules"
)

// ReauthRequest asks the Reauth hook to get fresh credentials for an account,
// say by exchanging its refresh token, and to put them where the next attempt
// finds them. The hook runs once at a time for an account of a provider, or for
// what Options.Credential calls one; everybody else who needs the credential
// waits for its result and shares it.
//
// The hook's context is not cancelled when the call that began it is, only after
// Options.ReauthTimeout. From a hook that has not returned a second after that
// nobody expects anything: until it returns, the calls that need the credential
// wait or are handed back, as where the token endpoint is down, and no other
// refresh of it begins; its result counts whenever it comes.
//
// Requests that the hook makes through Transport or Do with its context belong
// to the account and are otherwise calls of their own. Where one is refused
// that needs the very credential being refreshed, or that goes to a host which
// no policy claims, it fails at once instead of waiting for its own refresh.
//
// A nil error means that there are new credentials, or that there were already
// where Refused says so of the stored ones. An error ends every call
// of the account that needs them, and keeps calls of the account that are about
// to begin from being sent until Options.ReauthInterval is over, since they
// would only be refused too; other accounts go on. What it ends them as is
// decided by the policy of the token endpoint:
//
//   - A *GiveUpError or *DeferError, as when the hook calls the token endpoint
//     through Do, says it already.
//   - An error with the endpoint's answer (golang.org/x/oauth2's RetrieveError,
//     by its shape, *ResponseError, or an SDK's with a status) or one of the
//     request to it (*net/url.Error, or x/oauth2's "cannot fetch token")
//     is decided by the policy that claims the request's host and path, or
//     `oauth2`. What may be retried there makes the calls wait, or hands them
//     back, until the next refresh may begin; that time doubles with each
//     failure in a row. A refresh of unknown outcome is never repeated where
//     the endpoint's policy does not list it under `idempotent`, since its
//     refresh token may be spent: calls fail as ambiguous until one of them
//     succeeds with other credentials or Provider.Renewed is called.
//   - Any other error of a network or of time (io.EOF, a timeout, a refused
//     connection) is one of the hook itself, say of the store that it keeps
//     tokens in. The endpoint was not asked, as far as anybody knows, so nothing
//     is spent and nobody's grant is dead: `oauth2` decides as about a request
//     that was never sent, and the calls wait or are handed back. A hook whose
//     request to the endpoint may have been lost must not hide the *url.Error.
//   - Any other error is of unknown cause and ends the calls as permanent:
//     nobody's grant is declared dead for it either.
type ReauthRequest struct {
	Provider, Account string       // of the call that the refresh began with
	Event             *rules.Event // the refusal
	// Generation is the number of refreshes that the refused attempt had seen.
	Generation uint64
	// Claims is the claims challenge of Continuous Access Evaluation, base64
	// as it came, padding included; "" = none. The new token must be asked for
	// with these claims and not come from a cache.
	Claims string

	sent credential // that the refused attempt had
}

// authorizer keeps an engine's re-authentications. The zero value is ready.
type authorizer struct {
	seq     atomic.Uint64 // counts new credentials: refreshes that succeeded, and Renewed
	trouble atomic.Int64  // credentials whose latest refresh has failed
	watched atomic.Int64  // credentials of which a success would tell something
	_       [64]byte      // every call reads the counters, and the locks change often
	shards  [64]authShard
}

// authKey is a credential: an account's own at one provider, or one that
// Options.Credential names, whose provider is "".
type authKey struct{ provider, name string }

// authKey names the credential of an account.
func (p *Provider) authKey(account string) authKey {
	if f := p.engine.o.Credential; f != nil {
		if name := f(p.name, account); name != "" {
			return authKey{"", name}
		}
	}
	return authKey{p.name, account}
}

var authSeed = maphash.MakeSeed()

type authShard struct {
	mu       sync.Mutex
	accounts map[authKey]*authAccount
}

// authAccount is what is known of one credential.
type authAccount struct {
	seq      uint64         // authorizer.seq when it was last new
	claims   string         // that the latest successful refresh was asked for with
	finished time.Time      // of the latest refresh, however it ended; zero after Renewed
	unproven bool           // the latest refresh succeeded, and no call of the account has since it began
	refused  credential     // what was refused before it
	watched  bool           // counted in authorizer.watched
	renewed  time.Time      // of the latest Renewed
	failed   *refreshFailed // why the latest one failed; nil = it did not, or it no longer matters
	provider *Provider      // whose call began the one that failed
	failures int            // in a row
	flight   *reauthFlight  // one that is under way
}

// reauthFlight is one run of the hook. What changes is under its shard's lock.
type reauthFlight struct {
	key     authKey
	account string        // of the call that it began with
	outer   *reauthFlight // the run in which it began; nil = none
	seq     uint64        // authAccount.seq when it began
	began   time.Time
	claims  string
	worked  bool           // a call that began later has succeeded, whichever credentials it had
	notice  *Notice        // of its end; nil without an observer
	over    atomic.Bool    // the hook has returned
	late    *refreshFailed // it has not, and its time is up
	end     *flightEnd     // what those who come now wait for
}

// flightEnd is what those who wait for a flight are told. It is written before
// done is closed.
type flightEnd struct {
	done    chan struct{}
	failed  *refreshFailed // nil = there are new credentials
	renewed bool           // and they are not the hook's
}

func newFlightEnd() *flightEnd { return &flightEnd{done: make(chan struct{})} }

// tell tells everybody who waits. The caller holds the lock.
func (f *reauthFlight) tell(failed *refreshFailed, renewed bool) {
	f.end.failed, f.end.renewed = failed, renewed
	close(f.end.done)
	f.end = newFlightEnd()
}

// refreshFailed is what a failed refresh means for the calls of its account.
type refreshFailed struct {
	err   error
	as    string    // they fail as this; "" = they can go on at `until`
	until time.Time // no refresh of the credential begins before
	spent bool      // the refresh token may be spent: no refresh at all
	soon  bool      // no refresh has failed: the next one may not begin yet
}

func (f *refreshFailed) Error() string { return shownText(f.err) }
func (f *refreshFailed) Unwrap() error { return f.err }

// maxAuthAccounts is how many credentials a shard remembers before it looks for
// ones to forget, and authMemory how long it remembers them at least.
const (
	maxAuthAccounts = 1024
	authMemory      = time.Hour
)

// maxReauthBackoff bounds how far failures in a row stretch ReauthInterval.
const maxReauthBackoff = 16

// hookGrace is how long after its context a hook may still return, so that one
// that heeds its context has its own error told.
const hookGrace = time.Second

var (
	errNoReauth     = redact.New("engine: no Reauth hook")
	errTokenRefused = redact.New("engine: the credentials were refreshed just now, and refused")
	errRefusedHere  = redact.New("engine: the credentials were refreshed for this call, work for others, and are refused here")
	errRefreshSoon  = redact.New("engine: the credentials were refreshed a moment ago, and cannot be again yet")
	errSameAgain    = redact.New("engine: the request has the credentials still that were refused before the refresh")
	errOwnRequest   = redact.New("engine: a request of the Reauth hook's own was refused, and cannot wait for its own refresh")
	errHookLate     = redact.New("engine: the Reauth hook has not returned although its time is up")
	errHookExited   = redact.New("engine: the Reauth hook ended its goroutine")
)

func (a *authorizer) shard(key authKey) *authShard {
	return &a.shards[maphash.Comparable(authSeed, key)%uint64(len(a.shards))]
}

// account finds or makes a credential's entry. The caller holds the shard's lock.
func (a *authorizer) account(sh *authShard, key authKey, now time.Time) *authAccount {
	acc := sh.accounts[key]
	if acc != nil {
		return acc
	}
	if sh.accounts == nil {
		sh.accounts = map[authKey]*authAccount{}
	}
	if len(sh.accounts) >= maxAuthAccounts {
		// A few at a time, so that no call pays for a sweep. Nothing is lost
		// with one older than every call that could ask.
		looked := 0
		for k, v := range sh.accounts {
			if v.old(now) {
				a.set(v, nil)
				v.unproven = false
				a.watch(v)
				delete(sh.accounts, k)
			}
			if looked++; looked == 8 {
				break
			}
		}
	}
	acc = &authAccount{}
	sh.accounts[key] = acc
	return acc
}

// old reports whether nothing is lost with what is known: no call that could
// ask began before it, and it keeps none back.
func (acc *authAccount) old(now time.Time) bool {
	if acc.flight != nil {
		return false
	}
	latest := acc.finished
	if acc.renewed.After(latest) {
		latest = acc.renewed
	}
	if f := acc.failed; f != nil {
		if f.spent {
			return false
		}
		if f.until.After(latest) {
			latest = f.until
		}
	}
	return now.Sub(latest) > authMemory
}

// set notes how the latest refresh ended. The caller holds the lock.
func (a *authorizer) set(acc *authAccount, failed *refreshFailed) {
	switch {
	case acc.failed == nil && failed != nil:
		a.trouble.Add(1)
	case acc.failed != nil && failed == nil:
		a.trouble.Add(-1)
	}
	acc.failed = failed
	if failed == nil {
		acc.failures = 0
	}
	a.watch(acc)
}

// watch counts a credential while a success would tell something about it. The
// caller holds the lock.
func (a *authorizer) watch(acc *authAccount) {
	watched := acc.failed != nil || acc.unproven || acc.flight != nil
	switch {
	case watched && !acc.watched:
		a.watched.Add(1)
	case !watched && acc.watched:
		a.watched.Add(-1)
	}
	acc.watched = watched
}

// refresh gets new credentials for the account of a call whose attempt was
// refused, or finds that there are newer ones than that attempt had. fresh
// reports that the hook ran for this call or for one that it waited for, waited
// that it ran for another. The error is errNoReauth, errTokenRefused,
// errRefusedHere, a *refreshFailed, or the context's.
func (p *Provider) refresh(ctx context.Context, r *run, req ReauthRequest) (fresh, waited bool, err error) {
	if p.engine.o.Reauth == nil {
		return false, false, errNoReauth
	}
	key := p.authKey(req.Account)
	if p.own(ctx, key, req.Account) {
		return false, false, &refreshFailed{err: errOwnRequest, as: AsPermanent}
	}
	a := p.auth
	sh := a.shard(key)
	now := time.Now()
	interval := p.engine.o.ReauthInterval

	sh.mu.Lock()
	acc := a.account(sh, key, now)
	f := acc.flight
	soon := !acc.finished.IsZero() && now.Sub(acc.finished) < interval
	// The call has had its refresh. Where the attempt began long after it, as of a
	// call that was throttled meanwhile, the new credentials have expired too.
	had := r.refreshed && r.start().Sub(acc.finished) < interval
	switch failed := acc.failed; {
	case f != nil && acc.seq > max(f.seq, req.Generation):
		sh.mu.Unlock()
		return false, false, nil // renewed meanwhile
	case f != nil && f.late != nil:
		if failed == nil || !now.Before(failed.until) {
			failed = p.overdue(acc, f, now)
		}
		sh.mu.Unlock()
		return false, false, failed
	case f != nil:
	case failed != nil && (failed.spent || now.Before(failed.until)):
		sh.mu.Unlock()
		return false, false, failed
	case failed == nil && acc.seq > req.Generation:
		sh.mu.Unlock()
		return false, false, nil // the refusal is of an old token
	case failed == nil && (soon || had):
		err := p.verdict(acc, r, &req, had, now)
		sh.mu.Unlock()
		return false, false, err
	}
	if f == nil {
		outer, _ := ctx.Value(hookKey{}).(*reauthFlight)
		f = &reauthFlight{
			key: key, account: req.Account, outer: outer,
			seq: acc.seq, began: now, claims: req.Claims, end: newFlightEnd(),
		}
		acc.flight = f
		p.auth.watch(acc)
		ev := *req.Event // the hook may run on while the call does
		req.Event = &ev
		if p.engine.o.Observer != nil {
			f.notice = r.notice(NoticeReauth, 0)
			f.notice.Event = req.Event
		}
		go p.runHook(hookContext(ctx, &r.call, f), sh, acc, f, req)
	} else {
		waited = true
	}
	end := f.end
	sh.mu.Unlock()

	select {
	case <-end.done:
	case <-ctx.Done():
		return false, waited, ctx.Err()
	}
	switch {
	case end.renewed:
		return false, waited, nil
	case end.failed != nil:
		return true, waited, end.failed
	}
	// A refresh for others was not asked for with this call's claims.
	return req.Claims == "" || req.Claims == f.claims, waited, nil
}

// verdict is what it means that the newest credentials are refused, where they
// cannot be refreshed for it: it is too soon, or the call has had its refresh.
// The user is needed only where no call of the account has succeeded since the
// refresh began. had tells that the call has had its refresh, of what was refused
// now. The caller holds the lock.
func (p *Provider) verdict(acc *authAccount, r *run, req *ReauthRequest, had bool, now time.Time) error {
	interval := p.engine.o.ReauthInterval
	later := func(err error) error {
		until := acc.finished.Add(interval)
		if until.Before(now) {
			until = now
		}
		return &refreshFailed{err: err, until: until, soon: true}
	}
	switch {
	case req.Claims != "" && req.Claims != acc.claims:
		// The new token lacks what is asked for now, which is no refusal of
		// the account; but it takes another refresh, and that has its time.
		return later(errRefreshSoon)
	case p.engine.o.Authorize == nil && req.sent.known && req.sent == acc.refused:
		return later(errSameAgain) // who made the request has put it there
	case !acc.unproven && !had:
		return later(errRefreshSoon) // it has expired, or the call is one that is always refused
	case !req.sent.known && !r.confirmed:
		// What the attempt had may be older than the refresh, or somebody else may
		// have refreshed it since. Nobody can tell, so it is tried once more.
		r.confirmed = true
		return nil
	case acc.unproven:
		return errTokenRefused
	}
	return errRefusedHere
}

// runHook runs the hook and tells everybody who waits for it.
func (p *Provider) runHook(ctx context.Context, sh *authShard, acc *authAccount, f *reauthFlight, req ReauthRequest) {
	o := &p.engine.o
	late := time.AfterFunc(o.ReauthTimeout+hookGrace, func() { p.late(sh, acc, f) })
	ctx, cancel := context.WithTimeout(ctx, o.ReauthTimeout)
	defer cancel()
	err := errHookExited
	defer func() {
		if v := recover(); v != nil {
			err = hookPanic(v)
		}
		late.Stop()
		now := time.Now()
		var failed *refreshFailed
		if err != nil {
			failed = p.engine.judge(err, now)
		}
		if n := f.notice; n != nil {
			n.Time, n.Duration = now, now.Sub(f.began)
			if failed != nil {
				n.Err = failed
			}
			o.Observer.Observe(ctx, n)
		}
		sh.mu.Lock()
		defer sh.mu.Unlock()
		defer p.auth.watch(acc)
		f.over.Store(true)
		acc.flight = nil
		switch {
		case failed == nil:
			acc.seq, acc.claims = p.auth.seq.Add(1), req.Claims
			acc.unproven, acc.refused = !f.worked, req.sent
		case acc.seq != f.seq:
			// Renewed meanwhile: it was a refresh of older credentials, and
			// those who wait can go on with the newer.
			f.tell(nil, true)
			return
		default:
			interval := o.ReauthInterval
			if failed.as == "" {
				interval = p.stretched(acc)
			}
			if least := now.Add(interval); failed.until.Before(least) {
				failed.until = least
			}
			acc.failures++
			acc.provider = p
		}
		acc.finished = now
		p.auth.set(acc, failed)
		f.tell(failed, false)
	}()
	err = o.Reauth(ctx, req)
}

// late ends the wait for a hook that has not returned in time.
func (p *Provider) late(sh *authShard, acc *authAccount, f *reauthFlight) {
	now := time.Now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case acc.flight != f:
		return // it has
	case acc.seq == f.seq:
		p.overdue(acc, f, now)
	default: // the credentials are newer than it: nobody is stopped for it
		f.late = &refreshFailed{err: errHookLate, until: now.Add(p.engine.o.ReauthInterval)}
	}
	f.tell(f.late, false)
}

// overdue stops the calls of a credential for a while whose hook is late. The
// caller holds the lock.
func (p *Provider) overdue(acc *authAccount, f *reauthFlight, now time.Time) *refreshFailed {
	f.late = &refreshFailed{err: errHookLate, until: now.Add(p.stretched(acc))}
	acc.failures++
	acc.finished, acc.provider = now, p
	p.auth.set(acc, f.late)
	return f.late
}

// stretched is how long after a failure the next refresh may begin that the
// last one's failure does not rule out: longer with each in a row.
func (p *Provider) stretched(acc *authAccount) time.Duration {
	return p.engine.o.ReauthInterval * time.Duration(min(1<<min(acc.failures, 30), maxReauthBackoff))
}

// hookPanic is the error of a hook that panicked. What it panicked with may hold
// a secret, so only the runtime's own words are shown.
func hookPanic(v any) error {
	if e, ok := v.(runtime.Error); ok {
		return redact.Wrap("engine: the Reauth hook panicked", e)
	}
	return redact.New(fmt.Sprintf("engine: the Reauth hook panicked with a %T", v))
}

// hookKey is where the context of a hook has the *reauthFlight that it runs in.
type hookKey struct{}

// hookContext is the context of a refresh: it does not end with the call that
// began it, and what it is used for is not that call.
func hookContext(ctx context.Context, c *Call, f *reauthFlight) context.Context {
	ctx = context.WithValue(context.WithoutCancel(ctx), attemptKey{}, 1)
	ctx = httpattempt.WithoutTimer(ctx)
	ctx = context.WithValue(ctx, hookKey{}, f)
	return WithCall(ctx, Call{Account: c.Account, App: c.App, Tenant: c.Tenant, IP: c.IP, Device: c.Device})
}

// own reports whether a call that needs a credential is made by the hook that
// refreshes it, or by one that this one waits for. To wait for it would be to
// wait for itself. A host that no policy claims is taken for one of the token
// endpoint's, whatever credential its requests would have: a hook that runs
// inside itself would spend a refresh token twice.
func (p *Provider) own(ctx context.Context, key authKey, account string) bool {
	f, _ := ctx.Value(hookKey{}).(*reauthFlight)
	for ; f != nil; f = f.outer {
		if !f.over.Load() && (f.key == key || f.account == account && p.name == fallbackProvider) {
			return true
		}
	}
	return false
}

// stopped is why a call of an account must not be sent now: the latest refresh
// of its credential has failed, and the next one may not begin yet. Requests for
// tokens are no such calls, nor is what the hook itself does for the account.
func (p *Provider) stopped(ctx context.Context, r *run) *refreshFailed {
	if p.auth.trouble.Load() == 0 || r.op.token {
		return nil
	}
	key := p.authKey(r.call.Account)
	sh := p.auth.shard(key)
	sh.mu.Lock()
	acc := sh.accounts[key]
	var failed *refreshFailed
	if acc != nil && (acc.flight == nil || acc.flight.late != nil) {
		failed = acc.failed
	}
	sh.mu.Unlock()
	if failed == nil || !time.Now().Before(failed.until) || inHook(ctx, r.call.Account) {
		return nil
	}
	return failed
}

// inHook reports whether a hook that refreshes the account's credentials, at
// whatever provider, makes the call.
func inHook(ctx context.Context, account string) bool {
	f, _ := ctx.Value(hookKey{}).(*reauthFlight)
	for ; f != nil; f = f.outer {
		if !f.over.Load() && f.account == account {
			return true
		}
	}
	return false
}

// worked notes that an account's credentials were good for an attempt. Where the
// latest refresh has failed, that disproves that it matters; but what another
// provider takes, with an access token of its own, does not.
func (p *Provider) worked(r *run) {
	if p.auth.watched.Load() == 0 || r.op.token || r.attempts.foreign(nil) {
		return
	}
	key := p.authKey(r.call.Account)
	sh := p.auth.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	acc := sh.accounts[key]
	if acc == nil || !acc.watched {
		return
	}
	if acc.failed != nil && acc.provider == p && r.start().After(acc.finished) {
		p.auth.set(acc, nil)
	}
	if f := acc.flight; f != nil && r.start().After(f.began) {
		f.worked = true
	}
	if acc.unproven && r.tokens >= acc.seq {
		acc.unproven = false
		p.auth.watch(acc)
	}
}

// Renewed says that an account has new credentials which the Reauth hook did
// not bring, as when its user has signed in again: calls that were stopped by a
// failed refresh may begin at once, and refusals of what was sent before are
// refusals of old credentials. A refresh that is under way is one of old
// credentials too: nobody waits for it any longer, and its failure means nothing.
//
// It concerns every account, at whatever provider, that Options.Credential gives
// the same credential.
func (p *Provider) Renewed(account string) {
	key := p.authKey(account)
	sh := p.auth.shard(key)
	now := time.Now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	acc := p.auth.account(sh, key, now)
	acc.seq, acc.claims, acc.finished, acc.renewed = p.auth.seq.Add(1), "", time.Time{}, now
	acc.unproven, acc.refused = false, credential{}
	p.auth.set(acc, nil)
	if acc.flight != nil {
		acc.flight.tell(nil, true)
	}
}
