package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// What the engine shares with other processes through Options.Store.

const (
	storeTimeout      = 50 * time.Millisecond // the default of Options.StoreTimeout
	credentialTimeout = time.Second           // how long one request to the store about a credential may take
	credentialLease   = 15 * time.Second      // how long the lease of a refresh lasts if Options.StoreLease is not set
)

// credentialFleet returns how the engine shares its refreshes with other processes; nil = it
// does not.
func credentialFleet(o *Options) *credential.Fleet {
	store, ok := o.Store.(limiter.CredentialStore)
	if !ok {
		return nil
	}
	f := &credential.Fleet{
		Store: store, Timeout: credentialTimeout, Lease: cmp.Or(max(o.StoreLease, 0), credentialLease), Unknown: o.Reauth.Unknown, Dead: AsNeedsUser,
		Key: func(k credential.Key) limiter.StoreKey {
			name := "credential\x00" + k.Provider + "\x00" + k.Name
			return o.Store.Key(name, name)
		},
	}
	rand.Read(f.Member[:])
	return f
}

// spend tells the store that a token request, which a Reauth hook makes, is about to spend a
// refresh token. If it must not be spent, spend returns how the call ends. It does nothing for
// other calls.
func (r *run) spend(ctx context.Context) *outcome {
	var header http.Header
	if req := r.attempts.request(); req != nil {
		header = req.Header
	}
	reusable := classify.Idempotent(r.c.policy, r.c.policy.Protocol, r.call.Method, r.op.name, header)
	if err := credential.Spend(ctx, reusable); err != nil {
		r.permit.Cancel()
		return &outcome{kind: deferred, rule: reauthRule, reason: decision.ReasonReauthError, until: time.Now(), cause: err}
	}
	return nil
}

// outages maps the values of a limit's `on_outage` to the limiter's.
var outages = map[string]limiter.OnOutage{
	policy.OutageShare: limiter.OutageShare, policy.OutageClosed: limiter.OutageClosed, policy.OutageOpen: limiter.OutageOpen,
}

// newMember registers the process as a member of the fleet; nil = there is no store.
func (e *Engine) newMember() *limiter.Member {
	if e.o.Store == nil {
		return nil
	}
	return limiter.NewMember(e.o.Store, limiter.MemberOptions{
		Timeout: e.o.StoreTimeout, Lease: e.o.StoreLease, Shadow: e.o.StoreShadow, Workers: e.o.Workers, Notify: e.storeNotice,
		Pauses: e.pauses.Look,
	})
}

// storeNotice tells the observers what happens to the store.
func (e *Engine) storeNotice(n limiter.StoreNotice) {
	if e.observed() {
		e.tell(context.Background(), &Notice{Kind: NoticeStore, Time: time.Now(), Duration: n.Duration, Err: n.Err, Store: &n})
	}
}

// tellNumbers publishes a digest of this process's policies, so that processes with different
// ones notice it.
func (e *Engine) tellNumbers(set *policy.Set) {
	if e.member != nil {
		sum := sha256.Sum256([]byte(set.Version()))
		e.member.SetNumbers([8]byte(sum[:8]))
	}
}

// Fleet returns the process's state as a member of the fleet that shares Options.Store. ok is
// false if there is no store. It is safe for concurrent use.
func (e *Engine) Fleet() (state limiter.MemberState, ok bool) {
	if e.member == nil {
		return limiter.MemberState{}, false
	}
	return e.member.State(), true
}

// leave releases what the process holds in the store.
func (e *Engine) leave() {
	if e.member != nil {
		_ = e.member.Close(context.Background())
	}
}

// refuse notes a refusal that was decided at the time now, and returns how many refusals of the
// key there were in a row.
func (p *Provider) refuse(now time.Time, limit string, k limiter.Keys, r limiter.Refusal) int {
	if p.engine.member != nil {
		return p.limits().Refuse(limit, k, r)
	}
	return p.limits().RefuseAt(now, limit, k, r)
}
