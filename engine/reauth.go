package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/rules"
)

// ReauthRequest asks the Reauth hook to get fresh credentials for an account,
// say by exchanging its refresh token, and to put them where the next attempt
// finds them. The hook runs once at a time an account; everybody else on the
// account waits for its result and shares it. Its context is not cancelled
// when the call that began it is, only after Options.ReauthTimeout.
//
// A nil error means that there are new credentials. An error fails the call
// that needed them, and for Options.ReauthInterval every other call of the
// account. When the error is (or wraps) a *GiveUpError, as when the hook calls
// the token endpoint through Do, its As becomes the call's: that is how a dead
// grant (needs_user) and a provider's outage are told apart. A *DeferError
// defers the call. Any other error is one of unknown cause and fails the call
// as permanent: nobody's grant is declared dead for it.
type ReauthRequest struct {
	Provider, Account string
	Event             *rules.Event // the refusal
	// Generation is the number of refreshes that the refused attempt had seen.
	Generation uint64
	// Claims is the claims challenge of Continuous Access Evaluation, base64
	// as it came, padding included; "" = none. The new token must be asked for
	// with these claims and not come from a cache.
	Claims string
}

// authorizer keeps one provider's re-authentications. The zero value is ready.
type authorizer struct {
	seq    atomic.Uint64 // counts successful refreshes of all accounts
	shards [16]authShard
}

var authSeed = maphash.MakeSeed()

type authShard struct {
	mu       sync.Mutex
	accounts map[string]*authAccount
}

// authAccount is what is known of one account's credentials.
type authAccount struct {
	seq      uint64 // authorizer.seq after the latest refresh
	finished time.Time
	err      error         // of the latest refresh
	flight   *reauthFlight // one that is under way
}

type reauthFlight struct {
	done chan struct{}
	err  error
}

// maxAuthAccounts is how many accounts a shard remembers before it looks for
// ones to forget.
const maxAuthAccounts = 1024

var (
	errNoReauth     = errors.New("engine: no Reauth hook")
	errTokenRefused = errors.New("engine: the credentials were refreshed just now, and refused")
)

// refresh gets new credentials for an account, or finds that there are newer
// ones than the attempt of generation gen had. fresh reports that the hook ran
// for this call or for one that it waited for.
func (p *Provider) refresh(ctx context.Context, req ReauthRequest) (fresh bool, err error) {
	a := &p.auth
	hook := p.engine.o.Reauth
	if hook == nil {
		return false, errNoReauth
	}
	sh := &a.shards[maphash.String(authSeed, req.Account)%uint64(len(a.shards))]
	now := time.Now()
	interval := p.engine.o.ReauthInterval

	sh.mu.Lock()
	if sh.accounts == nil {
		sh.accounts = map[string]*authAccount{}
	}
	acc := sh.accounts[req.Account]
	if acc == nil {
		if len(sh.accounts) >= maxAuthAccounts {
			for k, v := range sh.accounts { // nothing is lost: older than every call that could ask
				if v.flight == nil && now.Sub(v.finished) > time.Hour {
					delete(sh.accounts, k)
				}
			}
		}
		acc = &authAccount{}
		sh.accounts[req.Account] = acc
	}
	switch {
	case acc.flight == nil && acc.err == nil && acc.seq > req.Generation:
		sh.mu.Unlock()
		return false, nil // the refusal is of an old token
	case acc.flight == nil && !acc.finished.IsZero() && now.Sub(acc.finished) < interval:
		err := acc.err
		if err == nil {
			err = errTokenRefused
		}
		sh.mu.Unlock()
		return false, err
	}
	f := acc.flight
	if f == nil {
		f = &reauthFlight{done: make(chan struct{})}
		acc.flight = f
		hookCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.engine.o.ReauthTimeout)
		go func() {
			defer cancel()
			err := runHook(hookCtx, hook, req)
			sh.mu.Lock()
			acc.flight, acc.err, acc.finished = nil, err, time.Now()
			if err == nil {
				acc.seq = a.seq.Add(1)
			}
			sh.mu.Unlock()
			f.err = err
			close(f.done)
		}()
	}
	sh.mu.Unlock()

	select {
	case <-f.done:
		return true, f.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// runHook runs the hook; a panic in it becomes an error, since others wait for
// its end.
func runHook(ctx context.Context, hook func(context.Context, ReauthRequest) error, req ReauthRequest) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("engine: the Reauth hook panicked")
		}
	}()
	return hook(ctx, req)
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
