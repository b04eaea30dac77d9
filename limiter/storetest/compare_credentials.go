package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// CompareCredentials makes random steps of refreshes in a store and in [Credentials], at the
// same times, and fails the test if an answer differs. volatile says that the store loses all
// data when its server restarts; such a store begins as if it had just done so.
func CompareCredentials(t *testing.T, seed uint64, steps int, volatile bool, start func(t *testing.T, clock func() time.Time) limiter.Store) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	rnd := rand.New(rand.NewPCG(seed, 2))
	want := NewCredentials(clock)
	if volatile {
		want.Forget()
	}
	store := start(t, clock)
	got := store.(limiter.CredentialStore)
	type member struct {
		id           limiter.StoreID
		known, fence uint64
	}
	members := make([]member, 4)
	for i := range members {
		members[i].id[0] = byte(i + 1)
	}
	const lease = 15 * time.Second
	for i := range steps {
		m, name := &members[rnd.IntN(len(members))], fmt.Sprint("credential", rnd.IntN(2))
		r := limiter.CredentialRequest{
			Step: limiter.CredentialStep(rnd.IntN(8)), Member: m.id, Lease: lease, Known: m.known, Fence: m.fence,
			Spent: rnd.IntN(2) == 0, Reusable: rnd.IntN(2) == 0, Retry: time.Duration(rnd.IntN(30)) * time.Second, As: []string{"", "needs_user"}[rnd.IntN(2)],
		}
		if rnd.IntN(3) == 0 {
			r.Step = limiter.CredentialBegin
		}
		if r.Fence > 0 && rnd.IntN(10) == 0 {
			r.Fence--
		}
		r.Key = want.Key(name)
		a, errA := want.Credential(context.Background(), &r)
		r.Key = store.Key(name, name)
		b, errB := got.Credential(context.Background(), &r)
		if errA != nil || errB != nil || a != b {
			t.Fatalf("seed %d, step %d at %v: %+v:\ngot  %+v, %v\nwant %+v, %v", seed, i, now.Sub(time.Unix(1_700_000_000, 0)), r, b, errB, a, errA)
		}
		if rnd.IntN(3) > 0 {
			m.known, m.fence = a.Generation, a.Fence
		}
		now = now.Add(time.Duration(rnd.IntN(1000)) * time.Millisecond)
		if rnd.IntN(10) == 0 {
			now = now.Add(time.Duration(rnd.IntN(30)) * time.Second)
		}
	}
}
