package pglimit

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// This file keeps who refreshes which credential.

var _ limiter.CredentialStore = (*Store)(nil)

// Credential implements [limiter.CredentialStore]. Its data is in a logged table, so that it
// survives a crash of the server.
func (s *Store) Credential(ctx context.Context, r *limiter.CredentialRequest) (limiter.CredentialState, error) {
	p := []int64{
		int64(r.Step), max(int64(r.Lease/time.Microsecond), 0), version(r.Known), version(r.Fence),
		number(r.Spent), number(r.Reusable), max(int64(r.Retry/time.Microsecond), 0),
	}
	type answer struct {
		r  []int64
		as string
	}
	member, key, as := uuid(r.Member), uuid(r.Key.Name), r.As
	a, err := outlast(ctx, s, func(ctx context.Context) (a answer, err error) {
		err = s.row(ctx, []any{&a.r, &a.as}, s.credential, s.at(), key, member, p, as)
		return a, err
	})
	if err != nil {
		return limiter.CredentialState{}, err
	}
	if len(a.r) != 5 {
		return limiter.CredentialState{}, errAnswer
	}
	return limiter.CredentialState{
		Phase: limiter.CredentialPhase(a.r[0]), Generation: uint64(a.r[1]), Fence: uint64(a.r[2]),
		Wait: duration(a.r[3]), Since: duration(a.r[4]), As: a.as,
	}, nil
}
