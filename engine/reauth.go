package engine

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// Reauth says how the credentials of accounts are refreshed: see Options.Reauth.
type Reauth struct {
	// Refresh gets fresh credentials for an account; nil = nothing does. What it has to
	// do, and what its errors mean: see ReauthRequest.
	Refresh func(context.Context, ReauthRequest) error
	// Interval is the least time between two refreshes of one credential; 0 = 30 s.
	// Within it new credentials that are refused before any call has succeeded with
	// them are needs_user, where they are refused again once they have settled: for
	// twice as long as the refresh took, 5 s at most, another process may be about to
	// save newer ones. Ones that have worked have expired, and the call waits for
	// the next refresh or is handed back. After a failed refresh the account's calls
	// end as that did, before they are sent.
	Interval time.Duration
	// Timeout bounds one refresh; 0 = 1 minute.
	Timeout time.Duration
	// Credential names the credential that an account uses at a provider, as where one
	// grant serves a mail and a calendar API. Calls with the same one share its
	// refreshes, their interval, and what a failed one means. "" = one of the account's
	// own at that provider; nil = always. It must be fast, safe for concurrent use, and
	// always say the same. It is asked only about calls whose credentials were refused,
	// and while the latest refresh of some account is under way, has failed, or no call
	// has succeeded since.
	Credential func(provider, account string) string
	// Spends says, with a store, that Refresh tells when the refresh token is about to be
	// spent: it calls ReauthRequest.Spend, or sends its request to the token endpoint
	// through this engine's Transport or Do, with its context, which do so for an operation
	// that a policy says to be for tokens. Then another process can take over a refresh whose
	// process died before. false = the token counts as spent when Refresh
	// begins.
	Spends bool
	// Unknown is how long calls are handed back, with a store, after a process died that may
	// have spent a refresh token that can be used only once; 0 = 10 minutes. After that
	// they end as needs_user: nobody but the user can bring a new one.
	Unknown time.Duration
}

// ReauthRequest asks the hook Reauth.Refresh to get fresh credentials for an account,
// say by exchanging its refresh token, and to put them where the next attempt
// finds them. The hook runs once at a time for an account of a provider, or for
// what Reauth.Credential calls one; everybody else who needs the credential
// waits for its result and shares it.
//
// The hook's context is not cancelled with the call that began the refresh, but only
// after Reauth.Timeout. If the hook has not returned a second after that, the calls that
// need the credential wait or are handed back, as when the token endpoint is down. No
// other refresh of the credential begins until it returns; its result counts whenever it
// comes.
//
// Requests that the hook makes through Transport or Do with its context belong
// to the account and are otherwise calls of their own. If one is refused that needs the
// credential being refreshed, or goes to a host that no policy claims, it fails at once
// instead of waiting for its own refresh.
//
// A nil error means that there are new credentials, or that there were already
// where Refused says so of the stored ones. An error ends every call
// of the account that needs them, and keeps calls of the account that are about
// to begin from being sent until Reauth.Interval is over, since they
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

	// Load says that the hook must not refresh, but load the credential that is saved:
	// another process that shares Options.Store has got a new one, or may have. Without a
	// store it is always false.
	Load bool
	// Fence is the number of this refresh, higher than that of each one before it in any
	// process; of Load it is the number of the refresh whose credential is to be loaded. 0
	// without a store. A hook saves it with the credential, in one step that compares what is
	// saved: it replaces the credential only where the old refresh token is still the one
	// that the hook has sent, and the saved number is lower. So a process that was stopped for
	// long in the middle of its refresh cannot undo a later one.
	Fence uint64

	sent credential.Fingerprint // of what the refused attempt had
	turn *credential.Turn
}

// Spend says that the refresh token is about to be spent: see Reauth.Spends. reusable says
// that it can be used more than once, so that another process may spend it again if this
// one dies. Where it returns an error the token must not be spent, and the hook returns that
// error. Without a store it does nothing.
func (r ReauthRequest) Spend(ctx context.Context, reusable bool) error {
	if r.turn == nil {
		return nil
	}
	return r.turn.Spend(ctx, reusable)
}

// Found says which number is saved with the credential that a hook loads: see Fence. Where a
// process died in the middle of a refresh, only that tells whether it had saved what it got.
// With the number of that refresh the calls go on; otherwise they wait, as after a refresh
// whose outcome is unknown.
func (r ReauthRequest) Found(fence uint64) {
	if r.turn != nil {
		r.turn.Found(fence)
	}
}

// Refused reports whether a token is the one that was refused: whether the
// attempt that was refused had it in its Authorization header. A hook over a
// store that other processes share asks it about the access token that is stored
// now; where the answer is no, somebody else has refreshed it already, and there
// is nothing to do but to return nil:
//
//	if tok := store.Load(r.Account); !r.Refused(tok.AccessToken) {
//		return nil
//	}
//
// The answer is also yes where nobody knows what the attempt had, since it may be this
// one: in Do, whose function has the credentials, or if the request did not carry them in
// its Authorization header. "" is no token, and has always been refused.
func (r ReauthRequest) Refused(token string) bool {
	return token == "" || !r.sent.Known() || credential.FingerprintOf(token) == r.sent
}

// credentialKey names the credential of an account.
func (p *Provider) credentialKey(account string) credential.Key {
	if f := p.engine.o.Reauth.Credential; f != nil {
		if name := f(p.name, account); name != "" {
			return credential.Key{Name: name}
		}
	}
	return credential.Key{Provider: p.name, Name: account}
}

// errOwnRequest is the error of a request of a hook that would have to wait for its own
// refresh.
var errOwnRequest = redact.New("engine: a request of the Reauth hook's own was refused, and cannot wait for its own refresh")

// credentialError says why a call cannot go on with its account's credentials.
type credentialError struct{ *credential.Failure }

func (e credentialError) Error() string { return shownText(e.Err) }
func (e credentialError) Unwrap() error { return e.Err }

// refresh gets new credentials for a call whose attempt was refused.
func (r *run) refresh(ctx context.Context, sent credential.Fingerprint) credential.Result {
	event := *r.event // the hook may run on while the call does
	hook := &refreshHook{p: r.p, keys: r.call.Keys, request: ReauthRequest{
		Provider: r.c.policy.Name, Account: r.call.Account, Event: &event,
		Generation: r.generation, Claims: credential.Claims(event.Header), sent: sent,
	}}
	if r.p.engine.observed() {
		hook.notice = r.notice(NoticeReauth, 0)
		hook.notice.Event = &event
	}
	refusal := r.refusal(hook.request.Claims, sent)
	refusal.Hook = hook
	return r.p.credentials.Refresh(ctx, refusal)
}

// refusal is what the credentials are told of the attempt, which had the credential sent.
func (r *run) refusal(claims string, sent credential.Fingerprint) credential.Refusal {
	return credential.Refusal{
		Key: r.p.credentialKey(r.call.Account), Account: r.call.Account, Owner: r.p.name, Unclaimed: r.p.name == fallbackProvider,
		Began: r.start(), Generation: r.generation, Claims: claims, Sent: sent, Fixed: r.p.engine.o.Authorize == nil,
		Refreshed: r.refreshed, Confirmed: r.confirmed,
	}
}

// refreshHook runs Reauth.Refresh for a call of p.
type refreshHook struct {
	p       *Provider
	keys    limiter.Keys // the call's
	request ReauthRequest
	notice  *Notice // of the refresh's end; nil without an observer
}

// context returns the context that the hook and the observer get: the account's, but not
// that of the call for which the refresh began.
func (h *refreshHook) context(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, attemptKey{}, 1)
	return WithCall(httpattempt.WithoutTimer(ctx), Call{
		Keys: limiter.Keys{Account: h.keys.Account, App: h.keys.App, Tenant: h.keys.Tenant, IP: h.keys.IP, Device: h.keys.Device},
	})
}

func (h *refreshHook) Refresh(ctx context.Context, t *credential.Turn) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = hookPanic(v)
		}
	}()
	o := &h.p.engine.o.Reauth
	if !o.Spends && !t.Load {
		if err := t.Spend(ctx, false); err != nil {
			return err
		}
	}
	h.request.Load, h.request.Fence, h.request.turn = t.Load, t.Fence, t
	return o.Refresh(h.context(ctx), h.request)
}

// hookPanic returns the error of a hook that panicked with v. Since v may hold a secret, only
// the words of the Go runtime are shown.
func hookPanic(v any) error {
	if e, ok := v.(runtime.Error); ok {
		return redact.Wrap("engine: the Reauth hook panicked", e)
	}
	return redact.New(fmt.Sprintf("engine: the Reauth hook panicked with a %T", v))
}

func (h *refreshHook) Failure(err error, now time.Time) *credential.Failure {
	return h.p.engine.refreshFailure(err, now)
}

func (h *refreshHook) Ended(ctx context.Context, f *credential.Failure, took time.Duration) {
	n := h.notice
	if n == nil {
		return
	}
	n.Time, n.Duration = time.Now(), took
	if f != nil {
		n.Err = credentialError{f}
	}
	h.p.engine.tell(h.context(ctx), n)
}

// backoff is why a call must not be sent now; nil = nothing is known that forbids it.
// Requests for tokens need no credential.
func (r *run) backoff(ctx context.Context) *credential.Failure {
	if r.p.credentials.InBackoff() == 0 || r.op.token {
		return nil
	}
	return r.p.credentials.Backoff(ctx, r.p.credentialKey(r.call.Account), r.call.Account)
}

// credentialsWorked notes that an attempt has succeeded with the account's credentials.
func (r *run) credentialsWorked() {
	if r.op.token || r.attempts.foreign(nil) {
		return
	}
	r.p.credentials.Succeeded(r.p.credentialKey(r.call.Account), r.p.name, r.start(), r.generation)
}

// Renewed says that an account has new credentials which the Reauth hook did
// not bring, as when its user has signed in again: calls that were stopped by a
// failed refresh may begin at once, and refusals of what was sent before are
// refusals of old credentials. A refresh that is under way is one of old
// credentials too: nobody waits for it any longer, and its failure means nothing.
//
// It concerns every account, at whatever provider, that Reauth.Credential gives
// the same credential.
func (p *Provider) Renewed(account string) { p.credentials.Renewed(p.credentialKey(account)) }
