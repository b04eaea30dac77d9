package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/rules"
)

// ReauthRequest asks the Reauth hook to get fresh credentials for an account,
// say by exchanging its refresh token, and to put them where the next attempt
// finds them. A provider's hook runs once at a time an account; everybody else
// on the account waits for its result and shares it. Its context is not
// cancelled when the call that began it is, only after Options.ReauthTimeout.
// Requests that the hook makes through Transport with this context belong to
// the account and are otherwise calls of their own.
//
// A nil error means that there are new credentials. An error ends every call
// of the account that needs them, and keeps calls of the account that are about
// to begin from being sent until Options.ReauthInterval is over, since they
// would only be refused too; other accounts go on. What it ends them as is
// decided by the policy of the token endpoint:
//
//   - A *GiveUpError or *DeferError, as when the hook calls the token endpoint
//     through Do, says it already.
//   - An error with the endpoint's answer (golang.org/x/oauth2's RetrieveError,
//     by its shape, or *ResponseError) or one of the network (*net/url.Error)
//     is decided by the policy that claims the request's host and path, or
//     `oauth2`. What may be retried there makes the calls wait, or hands them
//     back, until the next refresh may begin; that time doubles with each
//     failure in a row. A refresh of unknown outcome is never repeated where
//     the endpoint's policy does not list it under `idempotent`, since its
//     refresh token may be spent: calls fail as ambiguous until one of them
//     succeeds with other credentials or Provider.Renewed is called.
//   - Any other error is of unknown cause and ends the calls as permanent:
//     nobody's grant is declared dead for it.
type ReauthRequest struct {
	Provider, Account string
	Event             *rules.Event // the refusal; only lent
	// Generation is the number of refreshes that the refused attempt had seen.
	Generation uint64
	// Claims is the claims challenge of Continuous Access Evaluation, base64
	// as it came, padding included; "" = none. The new token must be asked for
	// with these claims and not come from a cache.
	Claims string
}

// authorizer keeps one provider's re-authentications. The zero value is ready.
type authorizer struct {
	seq     atomic.Uint64 // counts successful refreshes of all accounts
	trouble atomic.Int64  // accounts whose latest refresh has failed
	shards  [16]authShard
}

var authSeed = maphash.MakeSeed()

type authShard struct {
	mu       sync.Mutex
	accounts map[string]*authAccount
}

// authAccount is what is known of one account's credentials.
type authAccount struct {
	seq      uint64         // authorizer.seq after the latest successful refresh
	claims   string         // that the latest successful refresh was asked for with
	finished time.Time      // of the latest refresh, however it ended
	failed   *refreshFailed // why the latest one failed; nil = it did not
	failures int            // in a row
	flight   *reauthFlight  // one that is under way
}

type reauthFlight struct {
	done   chan struct{}
	claims string
	failed *refreshFailed
}

// refreshFailed is what a failed refresh means for the calls of its account.
type refreshFailed struct {
	err   error
	as    string    // they fail as this; "" = they can go on at `until`
	until time.Time // no refresh of the account begins before
	spent bool      // the refresh token may be spent: no refresh at all
}

func (f *refreshFailed) Error() string { return f.err.Error() }
func (f *refreshFailed) Unwrap() error { return f.err }

// maxAuthAccounts is how many accounts a shard remembers before it looks for
// ones to forget, and authMemory how long it remembers them at least.
const (
	maxAuthAccounts = 1024
	authMemory      = time.Hour
)

// maxReauthBackoff bounds how far failures in a row stretch ReauthInterval.
const maxReauthBackoff = 16

var (
	errNoReauth     = errors.New("engine: no Reauth hook")
	errTokenRefused = errors.New("engine: the credentials were refreshed just now, and refused")
)

func (a *authorizer) shard(account string) *authShard {
	return &a.shards[maphash.String(authSeed, account)%uint64(len(a.shards))]
}

// account finds or makes an account's entry. The caller holds the shard's lock.
func (a *authorizer) account(sh *authShard, name string, now time.Time) *authAccount {
	acc := sh.accounts[name]
	if acc != nil {
		return acc
	}
	if sh.accounts == nil {
		sh.accounts = map[string]*authAccount{}
	}
	if len(sh.accounts) >= maxAuthAccounts {
		// A few at a time, so that no call pays for a sweep. Nothing is lost
		// with one older than every call that could ask.
		looked := 0
		for k, v := range sh.accounts {
			spent := v.failed != nil && v.failed.spent
			if v.flight == nil && !spent && now.Sub(v.finished) > authMemory {
				a.set(v, nil)
				delete(sh.accounts, k)
			}
			if looked++; looked == 8 {
				break
			}
		}
	}
	acc = &authAccount{}
	sh.accounts[name] = acc
	return acc
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
}

// refresh gets new credentials for an account, or finds that there are newer
// ones than the attempt of generation gen had. fresh reports that the hook ran
// for this call or for one that it waited for. The error is errNoReauth,
// errTokenRefused, a *refreshFailed, or the context's.
func (p *Provider) refresh(ctx context.Context, c *Call, req ReauthRequest) (fresh bool, err error) {
	a := &p.auth
	if p.engine.o.Reauth == nil {
		return false, errNoReauth
	}
	sh := a.shard(req.Account)
	now := time.Now()
	interval := p.engine.o.ReauthInterval

	sh.mu.Lock()
	acc := a.account(sh, req.Account, now)
	f := acc.flight
	soon := !acc.finished.IsZero() && now.Sub(acc.finished) < interval
	switch failed := acc.failed; {
	case f != nil:
	case failed != nil && (failed.spent || now.Before(failed.until)):
		sh.mu.Unlock()
		return false, failed
	case failed == nil && acc.seq > req.Generation:
		sh.mu.Unlock()
		return false, nil // the refusal is of an old token
	case failed == nil && soon && req.Claims != "" && req.Claims != acc.claims:
		// The new token lacks what is asked for now, which is no refusal of
		// the account; but it takes another refresh, and that has its time.
		sh.mu.Unlock()
		return false, &refreshFailed{err: errTokenRefused, until: acc.finished.Add(interval)}
	case failed == nil && soon:
		sh.mu.Unlock()
		return false, errTokenRefused
	}
	if f == nil {
		f = &reauthFlight{done: make(chan struct{}), claims: req.Claims}
		acc.flight = f
		go p.runHook(hookContext(ctx, c), sh, acc, f, req)
	}
	sh.mu.Unlock()

	select {
	case <-f.done:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if f.failed != nil {
		return true, f.failed
	}
	// A refresh for others was not asked for with this call's claims.
	return req.Claims == "" || req.Claims == f.claims, nil
}

// runHook runs the hook and tells everybody who waits for it.
func (p *Provider) runHook(ctx context.Context, sh *authShard, acc *authAccount, f *reauthFlight, req ReauthRequest) {
	ctx, cancel := context.WithTimeout(ctx, p.engine.o.ReauthTimeout)
	defer cancel()
	err := errHookExited
	defer func() {
		if v := recover(); v != nil {
			err = hookPanic(v)
		}
		now := time.Now()
		interval := p.engine.o.ReauthInterval
		var failed *refreshFailed
		if err != nil {
			failed = p.engine.refreshFailure(err, now)
		}
		sh.mu.Lock()
		defer sh.mu.Unlock()
		acc.flight, acc.finished = nil, now
		if failed == nil {
			acc.seq, acc.claims = p.auth.seq.Add(1), req.Claims
		} else {
			if failed.as == "" {
				interval *= time.Duration(min(1<<min(acc.failures, 30), maxReauthBackoff))
			}
			acc.failures++
			if least := now.Add(interval); failed.until.Before(least) {
				failed.until = least
			}
		}
		p.auth.set(acc, failed)
		f.failed = failed
		close(f.done)
	}()
	err = p.engine.o.Reauth(ctx, req)
}

var errHookExited = errors.New("engine: the Reauth hook ended its goroutine")

// hookPanic is the error of a hook that panicked. What it panicked with may hold
// a secret, so only the runtime's own words are shown.
func hookPanic(v any) error {
	if e, ok := v.(runtime.Error); ok {
		return fmt.Errorf("engine: the Reauth hook panicked: %w", e)
	}
	return fmt.Errorf("engine: the Reauth hook panicked with a %T", v)
}

type hookKey struct{}

// hookContext is the context of a refresh: it does not end with the call that
// began it, and what it is used for is not that call.
func hookContext(ctx context.Context, c *Call) context.Context {
	ctx = context.WithValue(context.WithoutCancel(ctx), attemptKey{}, 1)
	ctx = context.WithValue(ctx, watchdogKey{}, nil)
	ctx = context.WithValue(ctx, hookKey{}, true)
	return WithCall(ctx, Call{Account: c.Account, App: c.App, Tenant: c.Tenant, IP: c.IP, Device: c.Device})
}

// stopped is why a call of an account must not be sent now: its latest refresh
// has failed, and the next one may not begin yet. Requests for tokens are no
// such calls, nor is what the hook itself does.
func (p *Provider) stopped(ctx context.Context, r *run) *refreshFailed {
	if p.auth.trouble.Load() == 0 || r.op.token || ctx.Value(hookKey{}) != nil {
		return nil
	}
	sh := p.auth.shard(r.call.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	acc := sh.accounts[r.call.Account]
	if acc == nil || acc.failed == nil || acc.flight != nil || !time.Now().Before(acc.failed.until) {
		return nil
	}
	return acc.failed
}

// worked notes that an account's credentials were good for an attempt, which
// disproves that its latest refresh matters.
func (p *Provider) worked(r *run) {
	if p.auth.trouble.Load() == 0 || r.op.token {
		return
	}
	sh := p.auth.shard(r.call.Account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if acc := sh.accounts[r.call.Account]; acc != nil && acc.failed != nil && r.start().After(acc.finished) {
		p.auth.set(acc, nil)
	}
}

// Renewed says that an account has new credentials which the Reauth hook did
// not bring, as when its user has signed in again: calls that were stopped by a
// failed refresh may begin at once, and refusals of what was sent before are
// refusals of old credentials.
func (p *Provider) Renewed(account string) {
	sh := p.auth.shard(account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	acc := p.auth.account(sh, account, time.Now())
	acc.seq, acc.claims, acc.finished = p.auth.seq.Add(1), "", time.Time{}
	p.auth.set(acc, nil)
}

// claimsChallenge finds the claims of a Continuous Access Evaluation challenge
// in WWW-Authenticate:
//
//	Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOi4uLn0="
//
// It scans quoted strings, since a base64 value may end in '=' and a realm may
// contain a comma. See https://learn.microsoft.com/entra/identity-platform/claims-challenge.
func claimsChallenge(h map[string][]string) string {
	for _, v := range h["Www-Authenticate"] {
		for s := v; s != ""; {
			eq := strings.IndexByte(s, '=')
			if eq < 0 {
				break
			}
			name := s[:eq]
			if i := strings.LastIndexAny(name, " ,\t"); i >= 0 {
				name = name[i+1:]
			}
			s = strings.TrimLeft(s[eq+1:], " \t")
			var value string
			if strings.HasPrefix(s, `"`) {
				end := strings.IndexByte(s[1:], '"')
				if end < 0 {
					break
				}
				value, s = s[1:1+end], s[end+2:]
			} else {
				end := strings.IndexAny(s, ", \t")
				if end < 0 {
					end = len(s)
				}
				value, s = s[:end], s[end:]
			}
			if strings.EqualFold(name, "claims") && value != "" {
				return value
			}
		}
	}
	return ""
}
