package storetest

import (
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What a process tells of a refresh may come late: after the end of that refresh, or in the middle
// of the next one. It must neither free a refresh token that may be spent, nor keep one that is
// known not to be.
func TestCredentialToldLate(t *testing.T) {
	const (
		begin   = limiter.CredentialBegin
		extend  = limiter.CredentialExtend
		spend   = limiter.CredentialSpend
		saved   = limiter.CredentialSaved
		failed  = limiter.CredentialFailed
		lost    = limiter.CredentialLost
		renewed = limiter.CredentialRenewed
	)
	type step struct {
		by    byte // the process
		step  limiter.CredentialStep
		turn  int           // which of the leases that were given before it is about: 1 = the first
		spent bool          // what Extend and Renewed say
		after time.Duration // how long after the step before
		want  limiter.CredentialPhase
	}
	const lease = 15 * time.Second
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"the end of a refresh, in the next one of the same process", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: spend, turn: 2, want: limiter.CredentialYours},
			{by: 1, step: failed, turn: 1, want: limiter.CredentialBusy},
			{by: 2, step: begin, want: limiter.CredentialBusy},
			{by: 2, step: begin, after: lease, want: limiter.CredentialUnknown},
		}},
		{"an extension that was sent before the token was spent", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: spend, turn: 1, want: limiter.CredentialYours},
			{by: 1, step: extend, turn: 1, want: limiter.CredentialYours},
			{by: 2, step: begin, after: lease, want: limiter.CredentialUnknown},
		}},
		{"an extension, after the end of the refresh", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: spend, turn: 1, want: limiter.CredentialYours},
			{by: 1, step: failed, turn: 1, want: limiter.CredentialIdle},
			{by: 1, step: extend, turn: 1, spent: true, want: limiter.CredentialIdle},
			{by: 2, step: begin, want: limiter.CredentialYours},
		}},
		{"that the token is not spent, after the lease", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: spend, turn: 1, want: limiter.CredentialYours},
			{by: 2, step: begin, after: lease, want: limiter.CredentialUnknown},
			{by: 1, step: failed, turn: 1, want: limiter.CredentialIdle},
			{by: 2, step: begin, want: limiter.CredentialYours},
		}},
		{"that the token is not spent, after another process has begun", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 2, step: begin, after: lease, want: limiter.CredentialYours},
			{by: 2, step: spend, turn: 2, want: limiter.CredentialYours},
			{by: 1, step: failed, turn: 1, want: limiter.CredentialBusy},
			{by: 3, step: begin, after: lease, want: limiter.CredentialUnknown},
			{by: 2, step: saved, turn: 2, want: limiter.CredentialNewer},
		}},
		{"an extension, after the store has heard of a loss and of nothing before", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: lost, turn: 1, want: limiter.CredentialUnknown},
			{by: 1, step: extend, turn: 1, want: limiter.CredentialYours},
			{by: 2, step: begin, after: lease, want: limiter.CredentialUnknown},
		}},
		{"that a user has signed in, in a refresh that began later", []step{
			{by: 1, step: begin, want: limiter.CredentialYours},
			{by: 1, step: failed, turn: 1, want: limiter.CredentialIdle},
			{by: 2, step: begin, want: limiter.CredentialYours},
			{by: 2, step: spend, turn: 2, want: limiter.CredentialYours},
			{by: 1, step: renewed, turn: 1, spent: true, want: limiter.CredentialBusy},
			{by: 3, step: begin, after: lease, want: limiter.CredentialUnknown},
		}},
		{"that a user has signed in, in a refresh that has spent its token since", []step{
			{by: 2, step: begin, want: limiter.CredentialYours},
			{by: 2, step: spend, turn: 1, want: limiter.CredentialYours},
			{by: 1, step: renewed, turn: 1, want: limiter.CredentialBusy},
			{by: 1, step: renewed, turn: 1, spent: true, want: limiter.CredentialNewer},
			{by: 2, step: failed, turn: 1, want: limiter.CredentialNewer},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
			store := NewCredentials(func() time.Time { return now })
			var leases []uint64
			for i, s := range tt.steps {
				now = now.Add(s.after)
				r := limiter.CredentialRequest{Step: s.step, Key: store.Key("mailbox"), Member: limiter.StoreID{s.by}, Lease: lease, Spent: s.spent}
				if s.turn > 0 {
					r.Fence = leases[s.turn-1]
				}
				state, err := store.Credential(t.Context(), &r)
				if err != nil {
					t.Fatal(err)
				}
				if s.step == begin && state.Phase == limiter.CredentialYours {
					leases = append(leases, state.Fence)
				}
				if state.Phase != s.want {
					t.Fatalf("step %d: got phase %d, want %d", i+1, state.Phase, s.want)
				}
			}
		})
	}
}
