package credential

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

const (
	interval = 30 * time.Second
	timeout  = time.Minute
)

var mailbox = Key{"gmail", "a"}

// refresh is a Hook whose refresh takes a second.
type refresh struct {
	run     func(ctx context.Context) error // nil = it succeeds
	failure *Failure                        // what an error means
	runs    int
	told    *Failure
	took    time.Duration
}

func (h *refresh) Refresh(ctx context.Context, _ *Turn) error {
	h.runs++
	time.Sleep(time.Second)
	if h.run == nil {
		return nil
	}
	return h.run(ctx)
}

func (h *refresh) Failure(err error, _ time.Time) *Failure {
	if h.failure == nil {
		return &Failure{Err: err, As: "permanent"}
	}
	f := *h.failure
	f.Err = err
	return &f
}

func (h *refresh) Ended(_ context.Context, f *Failure, took time.Duration) { h.told, h.took = f, took }

// fails makes a Hook that fails with what that means.
func fails(failure Failure) *refresh {
	return &refresh{run: func(context.Context) error { return errors.New("refused") }, failure: &failure}
}

// refusal is one of an attempt that began now with the newest credential.
func (s *Set) refusal(h Hook) Refusal {
	return Refusal{Key: mailbox, Account: "a", Owner: "gmail", Began: time.Now(), Generation: s.Generation(), Sent: FingerprintOf(token(s)), Hook: h}
}

// token is the credential of a generation.
func token(s *Set) string { return "Bearer " + strconv.FormatUint(s.Generation(), 10) }

// want checks a verdict.
func want(t testing.TB, what string, got Result, verdict Verdict) {
	t.Helper()
	if got.Verdict != verdict {
		t.Errorf("%s: verdict %d (failure %+v), want %d", what, got.Verdict, got.Failure, verdict)
	}
}

// All who need a credential share one refresh of it.
func TestOneFlight(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hook    *refresh
		verdict Verdict
	}{
		{"that succeeds", &refresh{}, Repeat},
		{"that fails", fails(Failure{As: "needs_user"}), Failed},
		{"that ends its goroutine", &refresh{run: func(context.Context) error { runtime.Goexit(); return nil }}, Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(interval, timeout, nil, nil)
				results := make(chan Result)
				for range 50 {
					go func() { results <- s.Refresh(t.Context(), s.refusal(tt.hook)) }()
				}
				waited := 0
				for range 50 {
					r := <-results
					want(t, tt.name, r, tt.verdict)
					if r.Waited {
						waited++
					}
				}
				if tt.hook.runs != 1 || waited != 49 || tt.hook.took != time.Second {
					t.Errorf("%d refreshes, %d calls waited, %v; want 1, 49 and 1s", tt.hook.runs, waited, tt.hook.took)
				}
				if failed := tt.verdict == Failed; failed != (tt.hook.told != nil) {
					t.Errorf("the hook was told of the failure %+v", tt.hook.told)
				}
				for state := range s.All() {
					if state.Refreshing {
						t.Errorf("%v is being refreshed still", state.Key)
					}
				}
			})
		})
	}
}

// Who goes away while a refresh is under way ends alone.
func TestCallerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hook := New(interval, timeout, nil, nil), &refresh{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		want(t, "the one that began it", s.Refresh(ctx, s.refusal(hook)), Canceled)
		want(t, "another", s.Refresh(t.Context(), s.refusal(hook)), Repeat)
		if hook.runs != 1 {
			t.Errorf("%d refreshes, want 1", hook.runs)
		}
	})
}

// What it means that the newest credential is refused.
func TestVerdict(t *testing.T) {
	const long, settled = interval + time.Second, 2 * time.Second // twice what the refresh took
	for _, tt := range []struct {
		name   string
		worked bool          // the credential has, for another call
		later  time.Duration // the refusal, after the refresh
		change func(*Refusal)
		want   Verdict
		early  bool
		runs   int
	}{
		{name: "an old one", change: func(r *Refusal) { r.Generation = 0 }, want: Repeat, runs: 1},
		{name: "one that never worked", later: settled, want: Refused, runs: 1},
		{name: "one that never worked, at once", want: Unsettled, early: true, runs: 1},
		{name: "one that never worked, a moment before it settles", later: settled - 1, want: Unsettled, early: true, runs: 1},
		{name: "one that never worked, of a call that had its refresh", later: settled, change: func(r *Refusal) { r.Refreshed = true }, want: Refused, runs: 1},
		{name: "one that has worked", worked: true, want: Failed, early: true, runs: 1},
		{name: "one that has worked, at once, of a call that had its refresh", worked: true, change: func(r *Refusal) { r.Refreshed = true }, want: Unsettled, early: true, runs: 1},
		{name: "one that has worked, of a call that had its refresh", worked: true, later: settled, change: func(r *Refusal) { r.Refreshed = true }, want: RefusedHere, runs: 1},
		{name: "one that never worked, at once, of a call that had its refresh", change: func(r *Refusal) { r.Refreshed = true }, want: Unsettled, early: true, runs: 1},
		{name: "one that nobody knows", later: settled, change: func(r *Refusal) { r.Sent = Fingerprint{} }, want: Confirm, runs: 1},
		{name: "one that nobody knows, at once", change: func(r *Refusal) { r.Sent = Fingerprint{} }, want: Unsettled, early: true, runs: 1},
		{name: "one that nobody knows, twice", later: settled, change: func(r *Refusal) { r.Sent, r.Confirmed = Fingerprint{}, true }, want: Refused, runs: 1},
		{name: "for other claims", change: func(r *Refusal) { r.Claims = "x" }, want: Failed, early: true, runs: 1},
		{name: "the one before, which comes with the request", change: func(r *Refusal) { r.Fixed, r.Sent = true, FingerprintOf("0") }, want: Failed, early: true, runs: 1},
		{name: "later: it has expired", later: long, want: Repeat, runs: 2},
		{name: "later, of a call that had its refresh", later: long, change: func(r *Refusal) { r.Refreshed = true }, want: Repeat, runs: 2},
		{name: "later, of an attempt that began before", later: long, worked: true, change: func(r *Refusal) { r.Refreshed, r.Began = true, r.Began.Add(-long) }, want: RefusedHere, runs: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, hook := New(interval, timeout, nil, nil), &refresh{}
				if r := s.Refresh(t.Context(), s.refusal(hook)); r.Verdict != Repeat || !r.Fresh || r.Waited {
					t.Fatalf("the first refresh: %+v", r)
				}
				if tt.worked {
					s.Succeeded(mailbox, "gmail", time.Now(), s.Generation())
				}
				time.Sleep(tt.later)
				r := s.refusal(hook)
				if tt.change != nil {
					tt.change(&r)
				}
				got := s.Refresh(t.Context(), r)
				if got.Verdict != tt.want || hook.runs != tt.runs || (got.Failure != nil && got.Failure.Early) != tt.early {
					t.Errorf("verdict %d, failure %+v, %d refreshes; want verdict %d, early %v, %d refreshes", got.Verdict, got.Failure, hook.runs, tt.want, tt.early, tt.runs)
				}
				if tt.early && !got.Failure.Until.After(time.Now()) {
					t.Errorf("the next refresh may begin at %v already", got.Failure.Until)
				}
			})
		})
	}
}

// A failure keeps refreshes and calls back; one that does not last does so twice as
// long each time.
func TestBackoffGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hook := New(interval, timeout, nil, nil), fails(Failure{})
		if s.Backoff(t.Context(), mailbox, "a") != nil || s.InBackoff() != 0 {
			t.Error("a credential that nobody knows is in backoff")
		}
		for n, factor := range []int{1, 2, 4, 8, 16, 16, 16} {
			r := s.Refresh(t.Context(), s.refusal(hook))
			want(t, "a refresh that fails", r, Failed)
			if got, want := time.Until(r.Failure.Until), interval*time.Duration(factor); got != want || hook.runs != n+1 {
				t.Errorf("failure %d: the next may begin in %v after %d refreshes, want %v", n, got, hook.runs, want)
			}
			if again := s.Refresh(t.Context(), s.refusal(hook)); again.Failure != r.Failure || hook.runs != n+1 {
				t.Errorf("failure %d: another refusal gets %+v after %d refreshes", n, again, hook.runs)
			}
			if got := s.Backoff(t.Context(), mailbox, "a"); got != r.Failure || s.InBackoff() != 1 {
				t.Errorf("failure %d: a call is kept back by %+v, %d in backoff", n, got, s.InBackoff())
			}
			time.Sleep(time.Until(r.Failure.Until))
			if got := s.Backoff(t.Context(), mailbox, "a"); got != nil {
				t.Errorf("failure %d: a call is kept back by %+v although it is over", n, got)
			}
		}
		hook.run = nil
		want(t, "a refresh that succeeds", s.Refresh(t.Context(), s.refusal(hook)), Repeat)
		if s.InBackoff() != 0 {
			t.Errorf("%d in backoff after a success", s.InBackoff())
		}
	})
}

// What ends a backoff, and what does not.
func TestBackoffEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spent bool
		do    func(s *Set, before time.Time)
		ends  bool
	}{
		{name: "a success", do: func(s *Set, _ time.Time) { s.Succeeded(mailbox, "gmail", time.Now(), 0) }, ends: true},
		{name: "a success of a refresh token that may be spent", spent: true, do: func(s *Set, _ time.Time) { s.Succeeded(mailbox, "gmail", time.Now(), 0) }, ends: true},
		{name: "a success of another provider", do: func(s *Set, _ time.Time) { s.Succeeded(mailbox, "calendar", time.Now(), 0) }},
		{name: "a success that began before", do: func(s *Set, before time.Time) { s.Succeeded(mailbox, "gmail", before, 0) }},
		{name: "a success of another credential", do: func(s *Set, _ time.Time) { s.Succeeded(Key{"gmail", "b"}, "gmail", time.Now(), 0) }},
		{name: "Renewed", do: func(s *Set, _ time.Time) { s.Renewed(mailbox) }, ends: true},
		{name: "Renewed of one that may be spent", spent: true, do: func(s *Set, _ time.Time) { s.Renewed(mailbox) }, ends: true},
		{name: "Renewed of another", do: func(s *Set, _ time.Time) { s.Renewed(Key{"gmail", "b"}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(interval, timeout, nil, nil)
				before := time.Now()
				want(t, "the refresh", s.Refresh(t.Context(), s.refusal(fails(Failure{As: "needs_user", Spent: tt.spent}))), Failed)
				time.Sleep(time.Millisecond)
				tt.do(s, before)
				if got := s.InBackoff() == 0; got != tt.ends {
					t.Errorf("in backoff: %d, want it to have ended: %v", s.InBackoff(), tt.ends)
				}
				if s.Watched() == tt.ends {
					t.Errorf("watched: %v", s.Watched())
				}
			})
		})
	}
}

// A refresh token that may be spent is never used again by itself.
func TestSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hook := New(interval, timeout, nil, nil), fails(Failure{As: "ambiguous", Spent: true})
		want(t, "the refresh", s.Refresh(t.Context(), s.refusal(hook)), Failed)
		for range 3 {
			time.Sleep(24 * time.Hour)
			want(t, "a refusal later", s.Refresh(t.Context(), s.refusal(hook)), Failed)
		}
		if hook.runs != 1 {
			t.Errorf("%d refreshes, want 1", hook.runs)
		}
		s.Renewed(mailbox)
		time.Sleep(interval)
		s.Refresh(t.Context(), s.refusal(hook))
		if hook.runs != 2 {
			t.Errorf("%d refreshes after Renewed, want 2", hook.runs)
		}
	})
}

// A hook that does not return keeps nobody waiting, and no second one begins beside it.
func TestHookLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, back := New(interval, timeout, nil, nil), make(chan struct{})
		hook := &refresh{run: func(context.Context) error { <-back; return nil }}
		start := time.Now()
		r := s.Refresh(t.Context(), s.refusal(hook))
		if took := time.Since(start); r.Verdict != Failed || r.Failure.As != "" || took != timeout+Grace {
			t.Errorf("got %+v after %v", r, took)
		}
		for range 3 {
			if s.Backoff(t.Context(), mailbox, "a") == nil {
				t.Error("calls are not kept back")
			}
			time.Sleep(time.Until(r.Failure.Until))
			again := s.Refresh(t.Context(), s.refusal(hook))
			synctest.Wait() // the hook's goroutine has counted its run
			if again.Verdict != Failed || again.Failure == r.Failure || hook.runs != 1 {
				t.Errorf("got %+v after %d refreshes", again, hook.runs)
			}
			r = again
		}
		close(back)
		synctest.Wait()
		if s.InBackoff() != 0 || s.Generation() != 1 {
			t.Errorf("%d in backoff at generation %d although the hook has returned", s.InBackoff(), s.Generation())
		}
	})
}

// Renewed while a refresh is under way: nobody waits for it, and its failure means
// nothing.
func TestRenewedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hook := New(interval, timeout, nil, nil), fails(Failure{As: "needs_user"})
		time.AfterFunc(time.Millisecond, func() { s.Renewed(mailbox) })
		start := time.Now()
		r := s.Refresh(t.Context(), s.refusal(hook))
		if r.Verdict != Repeat || r.Fresh || time.Since(start) != time.Millisecond {
			t.Errorf("got %+v after %v", r, time.Since(start))
		}
		old := s.refusal(hook)
		old.Generation = 0
		want(t, "a refusal of the old one", s.Refresh(t.Context(), old), Repeat)
		want(t, "a refusal of the new one", s.Refresh(t.Context(), s.refusal(hook)), Repeat)
		time.Sleep(2 * time.Second)
		if s.InBackoff() != 0 || s.Watched() {
			t.Errorf("%d in backoff, watched: %v", s.InBackoff(), s.Watched())
		}
	})
}

// A success that began while the refresh was under way is as good as one after it.
func TestProvenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(interval, timeout, nil, nil)
		time.AfterFunc(time.Millisecond, func() { s.Succeeded(mailbox, "gmail", time.Now(), s.Generation()) })
		want(t, "the refresh", s.Refresh(t.Context(), s.refusal(&refresh{})), Repeat)
		r := s.Refresh(t.Context(), s.refusal(&refresh{}))
		if r.Verdict != Failed || !r.Failure.Early {
			t.Errorf("the next refusal: %+v, want it to be too early, and no proof", r)
		}
	})
}

// A hook does not wait for itself, and is not kept back by itself.
func TestInsideItself(t *testing.T) {
	other := Key{"calendar", "b"}
	for _, tt := range []struct {
		name   string
		change func(*Refusal)
		want   Verdict
	}{
		{"the same credential", func(*Refusal) {}, OwnRequest},
		{"a host that nobody claims", func(r *Refusal) { r.Key, r.Unclaimed = other, true }, OwnRequest},
		{"another credential", func(r *Refusal) { r.Key = other }, Repeat},
		{"another account at a host that nobody claims", func(r *Refusal) { r.Key, r.Account, r.Unclaimed = other, "b", true }, Repeat},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(interval, timeout, nil, nil)
				hook := &refresh{run: func(ctx context.Context) error {
					inner := s.refusal(&refresh{})
					tt.change(&inner)
					want(t, tt.name, s.Refresh(ctx, inner), tt.want)
					inner.Hook = &refresh{run: func(ctx context.Context) error {
						want(t, tt.name+", from inside another refresh", s.Refresh(ctx, s.refusal(&refresh{})), OwnRequest)
						return nil
					}}
					inner.Key, inner.Account, inner.Unclaimed = Key{"contacts", "c"}, "c", false
					s.Refresh(ctx, inner)
					return nil
				}}
				want(t, "the refresh", s.Refresh(t.Context(), s.refusal(hook)), Repeat)
			})
		})
	}
	t.Run("backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := New(interval, timeout, nil, nil)
			want(t, "the other refresh", s.Refresh(t.Context(), Refusal{Key: other, Account: "a", Hook: fails(Failure{})}), Failed)
			hook := &refresh{run: func(ctx context.Context) error {
				if f := s.Backoff(ctx, other, "a"); f != nil {
					t.Errorf("the hook's own call is kept back by %+v", f)
				}
				if f := s.Backoff(ctx, other, "b"); f == nil {
					t.Error("a call of another account is not kept back")
				}
				return nil
			}}
			want(t, "the refresh", s.Refresh(t.Context(), s.refusal(hook)), Repeat)
		})
	})
}

// What keeps calls back is not forgotten, however long it is; what is old is.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n := New(interval, timeout, nil, nil), 0
		sh := s.shard(mailbox)
		crowd := func() {
			sh.mu.Lock()
			defer sh.mu.Unlock()
			for range 4 * maxEntries {
				n++
				s.entryLocked(sh, Key{"gmail", strconv.Itoa(n)}, time.Now()).finished = time.Now()
			}
		}
		hook := fails(Failure{Until: time.Now().Add(6 * time.Hour)})
		s.Refresh(t.Context(), s.refusal(hook))
		for range 5 {
			time.Sleep(61 * time.Minute)
			crowd()
			s.Refresh(t.Context(), s.refusal(hook))
			if hook.runs != 1 {
				t.Fatalf("%d refreshes within 6 h", hook.runs)
			}
		}
		time.Sleep(3 * time.Hour)
		for i := 0; i < 20 && sh.entries[mailbox] != nil; i++ { // it looks at a few at a time
			crowd()
		}
		if sh.entries[mailbox] != nil || s.InBackoff() != 0 || s.Watched() {
			t.Errorf("still remembered an hour after it: %+v, %d in backoff", sh.entries[mailbox], s.InBackoff())
		}
		s.Renewed(mailbox)
		time.Sleep(59 * time.Minute)
		crowd()
		if e := sh.entries[mailbox]; e == nil || e.generation == 0 {
			t.Error("Renewed was forgotten within an hour")
		}
	})
}

// What is remembered stays bounded, and is counted.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(interval, timeout, nil, nil)
		sh := &s.shards[0]
		for i := range 3 * maxEntries {
			sh.mu.Lock()
			e := s.entryLocked(sh, Key{"gmail", strconv.Itoa(i)}, time.Now())
			s.beginBackoffLocked(e, &Failure{}, "gmail", time.Now())
			sh.mu.Unlock()
			time.Sleep(10 * time.Second)
		}
		if n := len(sh.entries); n > 2*maxEntries || s.InBackoff() != int64(n) || s.watched.Load() != int64(n) {
			t.Errorf("%d credentials in one shard, %d in backoff, %d watched", n, s.InBackoff(), s.watched.Load())
		}
	})
}

func TestFingerprint(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"Bearer abc", "abc", true},
		{"bearer  abc", "Bearer abc", true},
		{"Bearer abc", "Bearer abd", false},
		{"abc", "ab", false},
	} {
		if got := FingerprintOf(tt.a) == FingerprintOf(tt.b); got != tt.same {
			t.Errorf("%q and %q are the same: %v, want %v", tt.a, tt.b, got, tt.same)
		}
	}
	if FingerprintOf("").Known() || !FingerprintOf("x").Known() {
		t.Error("Known of none and of one")
	}
}

// A credential settles at the latest some seconds after its refresh.
func TestSettling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(interval, timeout, nil, nil)
		slow := &refresh{run: func(context.Context) error { time.Sleep(timeout / 2); return nil }}
		want(t, "the first", s.Refresh(t.Context(), s.refusal(slow)), Repeat)
		want(t, "a moment later", s.Refresh(t.Context(), s.refusal(slow)), Unsettled)
		time.Sleep(maxSettling)
		want(t, "some seconds later", s.Refresh(t.Context(), s.refusal(slow)), Refused)
	})
}

// When a Set is closed nobody waits for a refresh any longer, and none begins.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		s, hook := New(interval, timeout, done, nil), &refresh{}
		time.AfterFunc(time.Millisecond, func() { close(done) })
		begun, start := s.refusal(hook), time.Now()
		go func() { want(t, "another", s.Refresh(t.Context(), begun), Closed) }()
		want(t, "one", s.Refresh(t.Context(), begun), Closed)
		if took := time.Since(start); took != time.Millisecond {
			t.Errorf("it waited for %v", took)
		}
		want(t, "one that comes later", s.Refresh(t.Context(), begun), Closed)
		time.Sleep(time.Second) // the refresh is not cut
		want(t, "one whose credential is old", s.Refresh(t.Context(), begun), Repeat)
		time.Sleep(interval)
		want(t, "one that would need another refresh", s.Refresh(t.Context(), s.refusal(hook)), Closed)
		if hook.runs != 1 {
			t.Errorf("%d refreshes, want 1", hook.runs)
		}
	})
}

// A credential is forgotten only where nothing that is known of it can matter any more.
func TestOld(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, tt := range []struct {
		name string
		e    entry
		want bool
	}{
		{"refreshed lately", entry{finished: ago(memory / 2)}, false},
		{"refreshed long ago", entry{finished: ago(2 * memory)}, true},
		{"renewed lately", entry{finished: ago(2 * memory), renewed: ago(memory / 2)}, false},
		{"its first refresh is under way", entry{flight: &flight{}}, false},
		{"a refresh is under way, long after another", entry{flight: &flight{}, finished: ago(2 * memory)}, false},
		{"its refresh token may be spent", entry{finished: ago(2 * memory), backoff: backoff{failure: &Failure{Spent: true}}}, false},
		{"failed, and to be tried later", entry{finished: ago(2 * memory), backoff: backoff{failure: &Failure{Until: now.Add(time.Minute)}}}, false},
		{"failed, and could be tried long ago", entry{finished: ago(3 * memory), backoff: backoff{failure: &Failure{Until: ago(2 * memory)}}}, true},
	} {
		if got := tt.e.oldLocked(now); got != tt.want {
			t.Errorf("%s: old %v, want %v", tt.name, got, tt.want)
		}
	}
}
