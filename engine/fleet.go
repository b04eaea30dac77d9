package engine

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// What the processes that share a store keep together.

const (
	credentialTimeout = time.Second      // of one request to the store about a credential
	credentialLease   = 15 * time.Second // of a refresh whose process says nothing more
)

// credentialFleet is with whom the engine shares its refreshes; nil = with nobody.
func credentialFleet(o *Options) *credential.Fleet {
	store, ok := o.Store.(limiter.CredentialStore)
	if !ok {
		return nil
	}
	f := &credential.Fleet{
		Store: store, Timeout: credentialTimeout, Lease: credentialLease, Unknown: o.Reauth.Unknown, Dead: AsNeedsUser,
		Key: func(k credential.Key) limiter.StoreKey {
			name := "credential\x00" + k.Provider + "\x00" + k.Name
			return o.Store.Key(name, name)
		},
	}
	rand.Read(f.Member[:])
	return f
}

// spend says that the call is about to spend a refresh token, if it is one of a Reauth
// hook's for tokens.
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
