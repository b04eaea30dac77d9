package credential

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

var neverTwiceSeeds = flag.Uint64("never-twice.seeds", 300, "seeds of TestFleetNeverTwice")

const (
	lease   = 15 * time.Second
	unknown = 10 * time.Minute
)

// process is one of those that share a store: its Set, and its way to the store.
type process struct {
	*Set
	store limiter.CredentialStore
	cut   func(*limiter.CredentialRequest) bool // the store is not reached
	lose  func(*limiter.CredentialRequest) bool // the store's answer is not
	late  func() (first, again time.Duration)   // how late the store does what it is asked for; again = once more, 0 = it does not
	done  chan struct{}
}

var errCut = errors.New("no way to the store")

func (p *process) Credential(ctx context.Context, r *limiter.CredentialRequest) (limiter.CredentialState, error) {
	if p.cut != nil && p.cut(r) {
		return limiter.CredentialState{}, errCut
	}
	if p.late != nil {
		first, again := p.late()
		request := *r
		repeat := func(d time.Duration) {
			time.Sleep(d)
			p.store.Credential(context.Background(), &request)
		}
		if again > 0 {
			go repeat(first + again)
		}
		if deadline, ok := ctx.Deadline(); ok && first > time.Until(deadline) {
			go repeat(first)
			<-ctx.Done()
			return limiter.CredentialState{}, ctx.Err()
		}
		time.Sleep(first)
	}
	state, err := p.store.Credential(ctx, r)
	if p.lose != nil && p.lose(r) {
		return limiter.CredentialState{}, errCut
	}
	return state, err
}

func storeKey(k Key) (s limiter.StoreKey) {
	copy(s.Name[:], k.Name)
	return s
}

func newProcess(t testing.TB, id byte, store limiter.CredentialStore) *process {
	p := &process{store: store, done: make(chan struct{})}
	p.Set = New(interval, timeout, p.done, &Fleet{
		Store: p, Member: limiter.StoreID{id}, Key: storeKey, Timeout: time.Second,
		Lease: lease, Unknown: unknown, Dead: "needs_user",
	})
	t.Cleanup(func() { close(p.done) })
	return p
}

// turns is a Hook that notes the turns it had.
type turns struct {
	refresh
	run   func(ctx context.Context, t *Turn) error
	turns []*Turn
}

func (h *turns) Refresh(ctx context.Context, t *Turn) error {
	h.turns = append(h.turns, t)
	if h.run == nil {
		return nil
	}
	return h.run(ctx, t)
}

// died leaves the store as a process does that died with the lease.
func died(t testing.TB, store limiter.CredentialStore, spent, reusable bool) {
	t.Helper()
	r := limiter.CredentialRequest{Step: limiter.CredentialBegin, Key: storeKey(mailbox), Member: limiter.StoreID{99}, Lease: lease}
	state, err := store.Credential(t.Context(), &r)
	if err != nil || state.Phase != limiter.CredentialYours {
		t.Fatalf("no lease: %+v, %v", state, err)
	}
	if spent {
		r.Step, r.Fence, r.Reusable = limiter.CredentialSpend, state.Fence, reusable
		if state, err = store.Credential(t.Context(), &r); err != nil || state.Phase != limiter.CredentialYours {
			t.Fatalf("not spent: %+v, %v", state, err)
		}
	}
}

// While one process refreshes, the other waits, and then loads what that one has saved.
func TestFleetOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewCredentials(nil)
		a, b := newProcess(t, 1, store), newProcess(t, 2, store)
		for round := range 3 {
			slow := &turns{run: func(ctx context.Context, turn *Turn) error {
				if err := turn.Spend(ctx, false); err != nil {
					t.Error(err)
				}
				time.Sleep(20 * time.Second) // longer than a lease
				return nil
			}}
			load, start := new(turns), time.Now()
			var wg sync.WaitGroup
			wg.Go(func() { want(t, "the owner", a.Refresh(t.Context(), a.refusal(slow)), Repeat) })
			time.Sleep(time.Second)
			wg.Go(func() { want(t, "the other", b.Refresh(t.Context(), b.refusal(load)), Repeat) })
			wg.Wait()
			if took := time.Since(start); took > 21*time.Second {
				t.Errorf("round %d took %v", round, took)
			}
			if len(slow.turns) != 1 || slow.turns[0].Load {
				t.Errorf("round %d: the owner had the turns %+v", round, slow.turns)
			}
			// At first nobody knows what the other process had loaded: it gets the lease, and
			// its hook sees for itself.
			if first := round == 0; len(load.turns) != 1 || load.turns[0].Load == first || load.turns[0].Fence < slow.turns[0].Fence {
				t.Errorf("round %d: the other had the turns %+v", round, load.turns)
			}
			if round == 0 { // b's turn made a generation, too
				time.Sleep(2 * interval)
				want(t, "the owner, after the other", a.Refresh(t.Context(), a.refusal(new(turns))), Repeat)
			}
			time.Sleep(2 * interval)
		}
	})
}

// What becomes of a credential whose process has died with the lease.
func TestFleetOwnerDied(t *testing.T) {
	for _, tt := range []struct {
		name            string
		spent, reusable bool
		found           bool
		after           time.Duration // when the other process is first refused
		verdict         Verdict
		as              string
		until           time.Duration // since the death
		turns           int
	}{
		{name: "before it spent the token", verdict: Repeat, turns: 1},
		{name: "after that, and the token can be used again", spent: true, reusable: true, verdict: Repeat, turns: 1},
		{name: "after that", spent: true, verdict: Failed, until: lease + unknown, turns: 1},
		{name: "after that, and long ago", spent: true, after: time.Hour, verdict: Failed, as: "needs_user", until: time.Hour + interval, turns: 1},
		{name: "after it saved the credential", spent: true, found: true, verdict: Repeat, turns: 1},
		{name: "after it saved the credential, long ago", spent: true, found: true, after: time.Hour, verdict: Repeat, turns: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storetest.NewCredentials(nil)
				p, start := newProcess(t, 1, store), time.Now()
				died(t, store, tt.spent, tt.reusable)
				time.Sleep(tt.after)
				hook := &turns{run: func(_ context.Context, turn *Turn) error {
					if tt.found {
						turn.Found(turn.Fence)
					}
					return nil
				}}
				result := p.Refresh(t.Context(), p.refusal(hook))
				want(t, "the call", result, tt.verdict)
				if len(hook.turns) != tt.turns {
					t.Errorf("%d turns, want %d", len(hook.turns), tt.turns)
				}
				if tt.after == 0 && time.Since(start) < lease || time.Since(start) > tt.after+lease+askAgain {
					t.Errorf("it took %v", time.Since(start))
				}
				if f := result.Failure; tt.verdict == Failed && f != nil {
					if f.As != tt.as || f.Until.Sub(start).Round(time.Second) != tt.until {
						t.Errorf("as %q until %v; want %q, %v", f.As, f.Until.Sub(start), tt.as, tt.until)
					}
					// A new credential from elsewhere ends it.
					p.Renewed(mailbox)
					time.Sleep(time.Second)
					want(t, "after Renewed", p.Refresh(t.Context(), p.refusal(new(turns))), Repeat)
				}
			})
		})
	}
}

// A failed refresh is the others' too.
func TestFleetFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewCredentials(nil)
		a, b := newProcess(t, 1, store), newProcess(t, 2, store)
		bad := &turns{refresh: refresh{failure: &Failure{As: "needs_user"}}, run: func(context.Context, *Turn) error { return errors.New("invalid_grant") }}
		want(t, "the owner", a.Refresh(t.Context(), a.refusal(bad)), Failed)
		other := new(turns)
		result := b.Refresh(t.Context(), b.refusal(other))
		want(t, "the other", result, Failed)
		if len(other.turns) != 0 || result.Failure.As != "needs_user" {
			t.Errorf("%d turns, %+v", len(other.turns), result.Failure)
		}
	})
}

// What a process does that cannot reach the store at some step.
func TestFleetStoreGone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		step  limiter.CredentialStep
		lose  bool
		fails bool
		free  time.Duration // when the other process can refresh
	}{
		{name: "begin", step: limiter.CredentialBegin, fails: true},
		{name: "begin, the answer", step: limiter.CredentialBegin, lose: true, fails: true, free: lease},
		{name: "spend", step: limiter.CredentialSpend, fails: true},
		{name: "spend, the answer", step: limiter.CredentialSpend, lose: true, fails: true},
		{name: "saved", step: limiter.CredentialSaved, free: time.Minute},
		{name: "saved, the answer", step: limiter.CredentialSaved, lose: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storetest.NewCredentials(nil)
				p, other := newProcess(t, 1, store), newProcess(t, 2, store)
				start := time.Now()
				gone := func(r *limiter.CredentialRequest) bool { return r.Step == tt.step && time.Since(start) < time.Minute }
				if tt.lose {
					p.lose = gone
				} else {
					p.cut = gone
				}
				hook := &turns{run: func(ctx context.Context, turn *Turn) error { return turn.Spend(ctx, false) }}
				result := p.Refresh(t.Context(), p.refusal(hook))
				if tt.fails {
					want(t, "the call", result, Failed)
					if f := result.Failure; f.As != "" || f.Spent || f.Until.Sub(start) > 2*time.Second {
						t.Errorf("%+v", f)
					}
				} else {
					want(t, "the call", result, Repeat)
				}
				if tt.free < time.Minute { // no longer than the other waits
					want(t, "another process", other.Refresh(t.Context(), other.refusal(new(turns))), Repeat)
				} else {
					want(t, "another process", other.Refresh(t.Context(), other.refusal(new(turns))), Failed)
				}
				if took := time.Since(start); tt.free < time.Minute && took > tt.free+2*time.Second {
					t.Errorf("the other process waited for %v", took)
				}
				// In the end, all is as if nothing had been.
				time.Sleep(20 * time.Minute)
				want(t, "the process, later", p.Refresh(t.Context(), p.refusal(new(turns))), Repeat)
			})
		})
	}
}

// grants is a token endpoint whose refresh tokens can be used once, and the place where
// processes save them.
type grants struct {
	mu           sync.Mutex
	token, saved int // the newest, and the one that is saved
	spent        map[int]bool
	fence        uint64
	twice        int
}

func (g *grants) spend(token int) (next int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spent[token] {
		g.twice++
		return 0, false
	}
	g.spent[token] = true
	g.token++
	return g.token, true
}

// signIn saves another token, as after a user has signed in.
func (g *grants) signIn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token++
	g.saved = g.token
}

// Processes refresh a credential, die at any moment, and lose their way to the store; what they
// tell it comes late, and twice; users sign in; or the store forgets everything while they live:
// no refresh token is spent twice, and no account ends for good while nobody dies.
func TestFleetNeverTwice(t *testing.T) {
	ends := map[string]int{}
	for seed := range *neverTwiceSeeds {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			store, g, over := storetest.NewCredentials(nil), &grants{spent: map[int]bool{}}, make(chan struct{})
			forgets, late, dying := seed%3 == 0, seed%3 == 2, seed%3 != 0 && seed%6 != 2
			var chance sync.Mutex // guards rnd and ends
			for i := range 6 {
				p := newProcess(t, byte(i+1), store)
				chance.Lock()
				dies := time.Now().Add(time.Duration(rnd.IntN(300)) * time.Second)
				dead := func() bool { return i > 0 && dying && time.Now().After(dies) }
				gone, back := rnd.IntN(100), rnd.IntN(30)
				chance.Unlock()
				start := time.Now()
				away := func() bool { s := int(time.Since(start).Seconds()); return !forgets && s >= gone && s < gone+back }
				p.cut = func(*limiter.CredentialRequest) bool { return dead() || away() }
				p.lose = func(*limiter.CredentialRequest) bool { chance.Lock(); defer chance.Unlock(); return rnd.IntN(20) == 0 }
				if late {
					p.late = func() (first, again time.Duration) {
						chance.Lock()
						defer chance.Unlock()
						if rnd.IntN(6) == 0 {
							first = time.Duration(rnd.IntN(30_000)) * time.Millisecond
						}
						if rnd.IntN(6) == 0 {
							again = time.Duration(rnd.IntN(30_000)) * time.Millisecond
						}
						return first, again
					}
				}
				pauses := func(most int) bool { // false = it has died meanwhile
					chance.Lock()
					d := time.Duration(rnd.IntN(most)) * time.Millisecond
					chance.Unlock()
					time.Sleep(d)
					return !dead()
				}
				died := func() error { <-over; return errors.New("dead") }
				hook := &turns{refresh: refresh{failure: &Failure{}}, run: func(ctx context.Context, turn *Turn) error {
					g.mu.Lock()
					saved, fence := g.saved, g.fence
					g.mu.Unlock()
					turn.Found(fence)
					if turn.Load {
						return nil
					}
					if !pauses(3000) {
						return died()
					}
					if err := turn.Spend(ctx, false); err != nil {
						return err
					}
					if dead() {
						return died()
					}
					next, ok := g.spend(saved)
					if !ok {
						return errors.New("invalid_grant")
					}
					if !pauses(3000) {
						return died()
					}
					g.mu.Lock()
					if turn.Fence > g.fence && g.saved == saved {
						g.saved, g.fence = next, turn.Fence
					}
					g.mu.Unlock()
					if !pauses(1000) {
						return died()
					}
					return nil
				}}
				go func() {
					for range 12 {
						if !pauses(40_000) {
							return
						}
						chance.Lock()
						signsIn := late && rnd.IntN(3) == 0
						chance.Unlock()
						if signsIn {
							g.signIn()
							p.Renewed(mailbox)
							continue
						}
						ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
						result := p.Refresh(ctx, p.refusal(hook))
						cancel()
						if f := result.Failure; f != nil && f.As != "" && !dying && !forgets {
							t.Errorf("seed %d: ends as %q, and nobody has died", seed, f.As)
						}
						chance.Lock()
						ends[fmt.Sprint(result.Verdict)]++
						chance.Unlock()
					}
				}()
			}
			random := func(n int) int { chance.Lock(); defer chance.Unlock(); return rnd.IntN(n) }
			for range random(3) {
				time.Sleep(time.Duration(random(200)) * time.Second)
				if forgets {
					store.Forget()
				}
			}
			time.Sleep(3 * time.Hour)
			close(over)
			synctest.Wait()
			if g.twice != 0 {
				t.Errorf("seed %d: %d refresh tokens were spent twice", seed, g.twice)
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Log(ends)
}
