package limiter

import (
	"context"
	"time"
)

// CredentialStore is what a [Store] has besides, if it lets the processes that share it
// refresh a credential one at a time. It knows no credential, only who refreshes it, and
// how that ended.
//
// A refresh is a lease: it has an owner, and runs out where the owner does not extend it.
// The owner says when it is about to spend the refresh token. A lease that runs out before
// is free; one that runs out after leaves the outcome unknown, and if such a token can be
// used once only, the store gives no other lease until somebody says that there is a new
// credential. So what it keeps of credentials must outlive a restart of its server; a
// store that cannot promise that says so where it is made.
//
// It is safe for concurrent use. The clock is the store's, and times are durations from the
// moment of the answer. A request that is made twice counts once.
type CredentialStore interface {
	Credential(ctx context.Context, r *CredentialRequest) (CredentialState, error)
}

// CredentialStep is what a process asks or tells of a credential.
type CredentialStep uint8

// The steps of a refresh.
const (
	CredentialBegin   CredentialStep = iota // asks for the lease
	CredentialExtend                        // keeps the lease
	CredentialSpend                         // says that the refresh token is about to be spent, and keeps the lease
	CredentialSaved                         // ends it: there is a new credential, and it is saved
	CredentialFailed                        // ends it: there is none, and the refresh token can still be used, or is known to be dead
	CredentialLost                          // ends it: nobody knows whether the refresh token is spent
	CredentialFound                         // says that what the lease with Fence has got was saved, whatever became of its owner
	CredentialRenewed                       // says that there is a new credential from elsewhere, as when a user has signed in
)

// CredentialRequest is one step of one process. The zero value of a field that the step does
// not name has no meaning.
type CredentialRequest struct {
	Step   CredentialStep
	Key    StoreKey
	Member StoreID
	Lease  time.Duration // of Begin, Extend and Spend

	// Known is the generation that the process has. A store that has lost its own goes on from it.
	Known uint64

	// Fence is the lease's number, of all steps but Begin. Of Renewed it is that of the latest lease that
	// may be about an older credential, as an answer has told. That lease ends. If another has begun
	// since, nothing is done: the request may have come much later than it was sent.
	Fence uint64

	// Spent says of Extend that the refresh token was spent, and of Renewed that it may have been spent by
	// the lease with Fence when that was asked: without it nothing is done if it is. Reusable says of
	// Spend and Extend that it can be used more than once, so that a lease that runs out is free.
	Spent, Reusable bool

	// Of Failed: how long nobody else should try, and what the calls end as meanwhile; "" = they wait.
	Retry time.Duration
	As    string
}

// CredentialPhase is how a credential stands, to the process that asks.
type CredentialPhase uint8

// The phases of a credential.
const (
	CredentialIdle    CredentialPhase = iota // nobody refreshes it
	CredentialYours                          // the process has the lease
	CredentialBusy                           // another process has it
	CredentialNewer                          // there is a newer generation than Known: it is to be loaded
	CredentialUnknown                        // its refresh token may have been spent, and no lease is given
	CredentialBackoff                        // the latest refresh has failed, and none is to begin yet
)

// CredentialState is what a store knows of a credential after a step.
type CredentialState struct {
	Phase      CredentialPhase
	Generation uint64 // of the credential; each is higher than those before it
	Fence      uint64 // number of the latest lease; each is higher than those before it, also where the store has lost all it knew

	// Wait is how long the lease of another process lasts, or the backoff.
	Wait time.Duration
	As   string // of Backoff: as CredentialRequest.As

	Since time.Duration // of Unknown: how long that has been known
}
