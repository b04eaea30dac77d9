package limiter_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// wrong is a store whose answers to takes are as its test wants.
type wrong struct {
	Store
	takes  atomic.Int64
	answer func(n int, t *StoreTake) StoreAnswer
}

func (s *wrong) Take(ctx context.Context, t *StoreTake) (StoreAnswer, error) {
	return s.answer(int(s.takes.Add(1)), t), nil
}

// Whatever a store answers, the limiter does not panic, does not ask without end, and
// keeps a call no longer than it may wait.
func TestWrongAnswers(t *testing.T) {
	const least, most = time.Duration(math.MinInt64), time.Duration(math.MaxInt64)
	for _, c := range []struct {
		name   string
		answer StoreAnswer
		takes  int // at most, within the seconds that the call may wait
	}{
		{"refused, wait of less than nothing", StoreAnswer{Wait: -time.Hour}, 1000},
		{"refused, the least wait", StoreAnswer{Wait: least}, 1000},
		{"refused, the longest wait", StoreAnswer{Wait: most}, 1000},
		{"held for the longest wait", StoreAnswer{Wait: most, Held: true}, 1000},
		{"held for less than nothing", StoreAnswer{Wait: least, Held: true}, 1000},
		{"refused, a microsecond", StoreAnswer{Wait: time.Microsecond}, 6000},
		{"refused, a nanosecond", StoreAnswer{Wait: 1}, 6000},
		{"refused by what was not asked", StoreAnswer{Wait: time.Second, Part: 7, Use: 9}, 1000},
		{"refused by less than nothing", StoreAnswer{Wait: time.Second, Part: -7, Use: -9}, 1000},
		{"forgot", StoreAnswer{Wait: time.Second, Forgot: true, Versions: []uint64{math.MaxUint64, 1, 2, 3}}, 1000},
		{"granted in less than no time", StoreAnswer{Granted: true, Wait: least}, 1},
		{"granted for much later", StoreAnswer{Granted: true, Wait: most}, 1000},
		{"granted, counts of others", StoreAnswer{Granted: true, Counts: make([]int64, 9), Versions: make([]uint64, 9)}, 1},
	} {
		for _, slots := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFleet(t, 0, MemberOptions{})
					s := &wrong{Store: f.store}
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					s.answer = func(n int, _ *StoreTake) StoreAnswer {
						if n > c.takes {
							cancel()
						}
						return c.answer
					}
					m := NewMember(s, MemberOptions{})
					l, err := New([]Limit{{Name: "user", Key: byAccount, Rate: 10, Burst: 10, Learn: true}, {Name: "inflight", Key: byAccount, Concurrency: 2}}, Options{Member: m})
					if err != nil {
						t.Fatal(err)
					}
					uses := []Use{{Limit: "user", Cost: 1}}
					if slots {
						uses = append(uses, Use{Limit: "inflight"})
					}
					time.Sleep(time.Hour)
					began := time.Now()
					r := request(uses...)
					r.MaxWait = 5 * time.Second
					p, err := l.Acquire(ctx, r)
					if n := int(s.takes.Load()); n > c.takes {
						t.Errorf("asked %d times within %v, want at most %d", n, time.Since(began), c.takes)
					}
					if waited := time.Since(began); waited > 6*time.Second {
						t.Errorf("waited for %v, want 5 s at most (error %v)", waited, err)
					}
					if err == nil {
						p.Learn("user", Learned{Remaining: 1})
						p.Complete()
					}
					l.Peek("user", Keys{Account: "ann@example.com"})
					_ = m.Close(context.Background())
					time.Sleep(time.Minute)
				})
			})
		}
	}
}

// A call that is asking while the member is closed does not keep its slot when it ends.
func TestCloseWhileAsking(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 2, MemberOptions{}, Limit{Name: "inflight", Key: byAccount, Concurrency: 1})
			f.store.SetFault(slow(20 * time.Millisecond))
			ended := make(chan error, 1)
			go func() {
				p, err := f.limiters[0].Acquire(context.Background(), request(Use{Limit: "inflight"}))
				if err == nil {
					time.Sleep(after)
					p.Release()
				}
				ended <- err
			}()
			time.Sleep(10 * time.Millisecond)
			_ = f.members[0].Close(context.Background())
			err := <-ended
			time.Sleep(time.Second)
			f.store.SetFault(nil)
			r := request(Use{Limit: "inflight"})
			r.MaxWait = 2 * time.Second
			p, err2 := f.limiters[1].Acquire(context.Background(), r)
			if err2 != nil {
				t.Errorf("after %v: the slot of a closed process is in use still: %v (it got %v)", after, err2, err)
			}
			p.Release()
		})
	}
}

// A hold that is set in one process is lifted by another.
func TestLiftElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, MemberOptions{}, Limit{Name: "user", Key: byAccount, Rate: 100, Burst: 100})
		k := Keys{Account: "ann@example.com"}
		try := func(i int) error {
			r := request(Use{Limit: "user", Cost: 1})
			r.MaxWait = 50 * time.Millisecond
			p, err := f.limiters[i].Acquire(context.Background(), r)
			p.Release()
			return err
		}
		for i := range 3 {
			if err := try(i); err != nil {
				t.Fatal(i, err)
			}
		}
		time.Sleep(time.Second)
		f.limiters[0].Hold("user", k, time.Now().Add(time.Hour))
		time.Sleep(time.Second)
		for i := range 3 {
			if err := try(i); err == nil {
				t.Errorf("process %d passes a hold", i)
			}
		}
		time.Sleep(300 * time.Millisecond) // not while a renewal is under way
		f.limiters[1].Lift("user", k)
		time.Sleep(time.Second)
		for i := range 3 {
			if err := try(i); err != nil {
				t.Errorf("process %d, once another has lifted the hold: %v", i, err)
			}
		}
	})
}

// unread is a store that cannot read the values of one place.
type unread struct {
	Store
	place [16]byte
}

func (s *unread) of(parts []StorePart) error {
	for _, p := range parts {
		if p.Key.Place == s.place {
			return fmt.Errorf("test: %w", ErrStoreValue)
		}
	}
	return nil
}

func (s *unread) Take(ctx context.Context, t *StoreTake) (StoreAnswer, error) {
	if err := s.of(t.Parts); err != nil {
		return StoreAnswer{}, err
	}
	return s.Store.Take(ctx, t)
}

func (s *unread) End(ctx context.Context, ends []StoreEnd) error {
	for i := range ends {
		if err := s.of(ends[i].Parts); err != nil {
			return err
		}
	}
	return s.Store.End(ctx, ends)
}

func (s *unread) Change(ctx context.Context, c *StoreChange) (StoreState, error) {
	if err := s.of([]StorePart{{Key: c.Key}}); err != nil {
		return StoreState{}, err
	}
	return s.Store.Change(ctx, c)
}

func (s *unread) Renew(ctx context.Context, r *StoreRenewal) (StoreRenewed, error) {
	for i := range r.Leases {
		if err := s.of([]StorePart{{Key: r.Leases[i].Key}}); err != nil {
			return StoreRenewed{}, err
		}
	}
	return s.Store.Renew(ctx, r)
}

// A value that the store cannot read concerns its key alone: others pass, their slots are kept and
// come back, and there is no outage.
func TestOneUnreadValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 0, MemberOptions{})
		s := &unread{Store: f.store}
		warned := 0
		m := NewMember(s, MemberOptions{Notify: func(n StoreNotice) {
			if n.Kind == StoreWarning {
				warned++
			}
		}})
		defer m.Close(context.Background())
		l, err := New([]Limit{{Name: "inflight", Key: byAccount, Concurrency: 2}}, Options{Member: m})
		if err != nil {
			t.Fatal(err)
		}
		bad := request(Use{Limit: "inflight"})
		good := &Request{Keys: Keys{Account: "bob@example.com"}, Uses: bad.Uses, MaxWait: time.Second}
		bad.MaxWait = 3 * time.Second
		p, err := l.Acquire(context.Background(), bad)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := l.Acquire(context.Background(), good)
		if err != nil {
			t.Fatal(err)
		}
		s.place = s.Key("/account=ann@example.com", "").Place
		var w *WaitError
		if _, err := l.Acquire(context.Background(), bad); !errors.As(err, &w) || w.Limit != "inflight" {
			t.Errorf("a call of the key: got error %v, want that it has waited for its limit", err)
		}
		l.Refuse("inflight", bad.Keys, Refusal{})
		p.Complete()
		time.Sleep(20 * time.Second) // longer than a lease, with renewals
		other, err := l.Acquire(context.Background(), good)
		if err != nil {
			t.Fatalf("a call of another key: %v", err)
		}
		if _, ok := l.TryAcquire(good); ok {
			t.Error("a third slot of two: the first was not kept")
		}
		kept.Complete()
		other.Complete()
		time.Sleep(time.Second)
		if st := m.State(); st.Outages != 0 || st.Leases != 0 || st.Lost != 0 {
			t.Errorf("got %d outages, %d leases, %d lost, want none", st.Outages, st.Leases, st.Lost)
		}
		if warned != 1 {
			t.Errorf("got %d warnings, want 1", warned)
		}
	})
}
