package limiter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// learning is a limiter whose replies tell about the one limit that it has.
type learning struct {
	t testing.TB
	*Limiter
	keys Keys
	cost int64
}

func newLearning(t testing.TB, m Limit) *learning {
	m.Name, m.Key, m.Learn = "core", []Dimension{Account}, true
	l, err := New([]Limit{m}, Options{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	return &learning{t, l, Keys{Account: "ann"}, 1}
}

func (l *learning) request() *Request {
	return &Request{Keys: l.keys, Uses: []Use{{Limit: "core", Cost: l.cost}}}
}

// begin is a call that has got its permit.
func (l *learning) begin() Permit {
	l.t.Helper()
	p, ok := l.TryAcquire(l.request())
	if !ok {
		l.t.Fatalf("a call does not pass: %+v", l.Peek("core", l.keys))
	}
	return p
}

// passes is how many calls pass at once, at most n.
func (l *learning) passes(n int) (passed int) {
	for range n {
		p, ok := l.TryAcquire(l.request())
		if !ok {
			break
		}
		p.Release()
		passed++
	}
	return passed
}

func in(d time.Duration) time.Time { return time.Now().Add(d) }

// The kinds of limits that replies can tell about, each with room for 50 calls at once.
var learningKinds = []struct {
	name  string
	limit Limit
}{
	{"rate", Limit{Rate: 1, Burst: 50}},
	{"quota as a bucket", Limit{Quota: 5000, Window: time.Hour}},
	{"quota as a log", Limit{Quota: 50, Window: time.Minute, Burst: 50}},
	{"fixed window", Limit{Quota: 50, Window: time.Minute, Fixed: true}},
}

func TestLearn(t *testing.T) {
	for _, kind := range learningKinds {
		for _, tt := range []struct {
			name string
			do   func(l *learning) // what comes before
			want int               // calls that pass then, of 60
		}{
			{"nothing is told", func(l *learning) { l.begin() }, 49},
			{"fewer are left", func(l *learning) { l.begin().Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)}) }, 7},
			{"more are left than the limit lets through", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 4000, Reset: in(30 * time.Second)})
			}, 49},
			{"none are left", func(l *learning) { l.begin().Learn("core", Learned{Remaining: 0, Reset: in(30 * time.Second)}) }, 0},
			{"less what was granted after the request began", func(l *learning) {
				p := l.begin()
				l.begin()
				l.begin()
				p.Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)})
			}, 5},
			{"what was granted before it is in the provider's number", func(l *learning) {
				l.begin()
				l.begin()
				l.begin().Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)})
			}, 7},
			{"what was granted since it was told", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)})
				l.begin()
			}, 6},
			{"what was granted and not used comes back", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)})
				l.begin().Cancel()
			}, 7},
			{"of one window the smallest number counts", func(l *learning) {
				p, q := l.begin(), l.begin()
				q.Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)})
				p.Learn("core", Learned{Remaining: 20, Reset: in(30 * time.Second)})
			}, 7},
			{"also where its reset differs by a rounded second", func(l *learning) {
				p, q := l.begin(), l.begin()
				q.Learn("core", Learned{Remaining: 7, Reset: in(30 * time.Second)})
				p.Learn("core", Learned{Remaining: 20, Reset: in(31 * time.Second)})
			}, 7},
			{"an earlier window is over", func(l *learning) {
				p, q := l.begin(), l.begin()
				q.Learn("core", Learned{Remaining: 7, Reset: in(50 * time.Second)})
				p.Learn("core", Learned{Remaining: 2, Reset: in(5 * time.Second)})
			}, 7},
			{"a reply of a window that has ended", func(l *learning) {
				p := l.begin()
				p.Learn("core", Learned{Remaining: 2, Reset: in(-time.Second)})
			}, 49},
			{"the reset is too far", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 0, Reset: in(7*24*time.Hour + time.Second)})
			}, 49},
			{"a reset of the year 9999", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 0, Reset: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)})
			}, 49},
			{"less than nothing", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: -1, Reset: in(30 * time.Second)})
			}, 49},
			{"the largest number", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: math.MaxInt64, Reset: in(30 * time.Second), Limit: math.MaxInt64})
			}, 49},
			{"no reset", func(l *learning) { l.begin().Learn("core", Learned{Remaining: 7}) }, 7},
			{"no reset, more than there is", func(l *learning) { l.begin().Learn("core", Learned{Remaining: 700}) }, 49},
			{"no reset, of a request that began before one believed", func(l *learning) {
				p := l.begin()
				time.Sleep(time.Millisecond)
				l.begin().Learn("core", Learned{Remaining: 7})
				p.Learn("core", Learned{Remaining: 2})
			}, 7},
			{"a permit that was released", func(l *learning) {
				p := l.begin()
				p.Release()
				p.Learn("core", Learned{Remaining: 0, Reset: in(30 * time.Second)})
			}, 49},
			{"another limit", func(l *learning) { l.begin().Learn("search", Learned{Remaining: 0, Reset: in(30 * time.Second)}) }, 49},
			{"no permit", func(l *learning) {
				Permit{}.Learn("core", Learned{Remaining: 0, Reset: in(30 * time.Second)})
				l.begin()
			}, 49},
			{"a lift forgets it", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 0, Reset: in(30 * time.Second)})
				l.Lift("core", l.keys)
			}, 49},
			{"the reset has come", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 0, Reset: in(59 * time.Second)})
				time.Sleep(61 * time.Second)
			}, 50},
			{"right before the reset", func(l *learning) {
				l.begin().Learn("core", Learned{Remaining: 0, Reset: in(59 * time.Second)})
				time.Sleep(59*time.Second - 1)
			}, 0},
		} {
			t.Run(kind.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLearning(t, kind.limit)
					tt.do(l)
					want := tt.want
					if kind.name == "fixed window" && tt.name == "a lift forgets it" {
						want = 50 // with the window that it had begun
					}
					if got := l.passes(60); got != want {
						t.Errorf("given %s: %s\ngot  %d calls that pass, %+v\nwant %d", kind.name, tt.name, got, l.Peek("core", l.keys), want)
					}
				})
			})
		}
	}
}

// Calls wait until the reset, and those that cannot fail at once with that time.
func TestLearnWait(t *testing.T) {
	for _, kind := range learningKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLearning(t, kind.limit)
				p := l.begin()
				before := l.passes(60)
				began, reset := time.Now(), in(90*time.Second)
				late := make(chan error)
				go func() { // it waits for what fills or begins anew within the minute
					r := l.request()
					r.MaxWait = 70 * time.Second
					_, err := l.Acquire(t.Context(), r)
					late <- err
				}()
				synctest.Wait()
				if !p.Learn("core", Learned{Remaining: int64(before), Reset: reset}) {
					t.Fatal("the reply is not believed")
				}
				err := <-late
				var w *WaitError
				if !errors.As(err, &w) || !w.Until.Equal(reset) || !time.Now().Equal(began) {
					t.Errorf("given a wait of 70s, none left for 90s\ngot  %v after %v\nwant it to fail at once, until the reset", err, time.Since(began))
				}
				p, err = l.Acquire(t.Context(), l.request())
				if err != nil || !time.Now().Equal(reset) {
					t.Errorf("given none left for 90s\ngot  %v after %v\nwant a permit after 90s", err, time.Since(began))
				}
				p.Release()
			})
		})
	}
}

// The provider's number lowers a quota and takes that back, and never raises it.
func TestLearnLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit Limit
		tells []int64
		want  int64 // Burst of what people see
	}{
		{"log, lower", Limit{Quota: 60, Window: time.Minute, Burst: 60}, []int64{20}, 20},
		{"log, higher", Limit{Quota: 60, Window: time.Minute, Burst: 60}, []int64{600}, 60},
		{"log, back", Limit{Quota: 60, Window: time.Minute, Burst: 60}, []int64{20, 60}, 60},
		{"fixed, lower", Limit{Quota: 5000, Window: time.Hour, Fixed: true}, []int64{60}, 60},
		{"fixed, back and higher", Limit{Quota: 5000, Window: time.Hour, Fixed: true}, []int64{60, 15000}, 5000},
		{"bucket, lower", Limit{Quota: 5000, Window: time.Hour}, []int64{60}, 50},
		{"bucket, one", Limit{Quota: 5000, Window: time.Hour}, []int64{1}, 1},
		{"bucket, less than one", Limit{Quota: 5000, Window: time.Hour}, []int64{-5}, 50},
		{"less than the dearest cost", Limit{Quota: 5000, Window: time.Hour, Fixed: true, MaxCost: 50}, []int64{1}, 50},
		{"rate", Limit{Rate: 10}, []int64{2}, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLearning(t, tt.limit)
				for i, n := range tt.tells {
					p := l.begin()
					p.Learn("core", Learned{Remaining: 1000 - int64(i), Reset: in(30 * time.Second), Limit: n})
					p.Release()
					time.Sleep(time.Minute)
				}
				if got := l.Peek("core", l.keys).Burst; got != tt.want {
					t.Errorf("given %+v, told %v\ngot  %d\nwant %d", tt.limit, tt.tells, got, tt.want)
				}
				if tt.name == "bucket, lower" {
					if got, want := l.Peek("core", l.keys).Rate, 10.0/3600; math.Abs(got-want) > 1e-9 {
						t.Errorf("given a quota of 60 an hour with a burst of 50\ngot  %v a second\nwant %v", got, want)
					}
				}
			})
		})
	}
}

// Options.LimitFor and a provider that tells less both hold.
func TestLearnLimitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New([]Limit{{Name: "core", Key: []Dimension{Account}, Quota: 60, Burst: 60, Window: time.Minute, Learn: true}}, Options{
			LimitFor: func(string, Keys) (Limit, bool) { return Limit{Quota: 40, Burst: 40, Window: time.Minute}, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		ll := &learning{t, l, Keys{Account: "ann"}, 1}
		for _, told := range []struct{ limit, want int64 }{{50, 40}, {10, 10}, {100, 40}} {
			p := ll.begin()
			p.Learn("core", Learned{Remaining: 1000, Reset: in(time.Second), Limit: told.limit})
			p.Release()
			time.Sleep(2 * time.Minute)
			ll.begin()
			if got := l.Peek("core", ll.keys).Burst; got != told.want {
				t.Errorf("given 40 of the key's own, told %d\ngot  %d\nwant %d", told.limit, got, told.want)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

// All of a fixed window may pass at once, and none until it ends: by itself, or when a
// reply says so.
func TestFixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLearning(t, Limit{Quota: 5000, Window: time.Hour, Fixed: true})
		step := func(name string, want int) {
			t.Helper()
			if got := l.passes(6000); got != want {
				t.Errorf("given %s\ngot  %d calls that pass, %+v\nwant %d", name, got, l.Peek("core", l.keys), want)
			}
		}
		step("a key that is new", 5000)
		time.Sleep(time.Hour - time.Nanosecond)
		step("a window that has not ended", 0)
		time.Sleep(time.Nanosecond)
		p := l.begin()
		step("the next one", 4999)
		p.Learn("core", Learned{Remaining: 0, Reset: in(10 * time.Minute)})
		time.Sleep(10 * time.Minute)
		step("a reset that the provider told", 5000)
		time.Sleep(59 * time.Minute)
		step("the window after it", 0)
		time.Sleep(time.Minute)
		step("and the one after that", 5000)
	})
}

// Whatever replies say, no more passes than the limit allows.
func TestLearnNeverRaises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom(learningKinds).Draw(rt, "kind")
		n := rapid.IntRange(1, 60).Draw(rt, "steps")
		var failure string
		synctest.Test(t, func(t *testing.T) {
			l := newLearning(t, kind.limit)
			began := time.Now()
			var at []time.Duration // of each unit
			var out []Permit
			for range n {
				switch rapid.IntRange(0, 3).Draw(rt, "step") {
				case 0:
					time.Sleep(time.Duration(rapid.IntRange(0, 40_000).Draw(rt, "ms")) * time.Millisecond)
				case 1, 2:
					for range rapid.IntRange(1, 60).Draw(rt, "calls") {
						p, ok := l.TryAcquire(l.request())
						if !ok {
							break
						}
						at = append(at, time.Since(began))
						out = append(out, p)
					}
				case 3:
					if len(out) > 0 {
						p := out[rapid.IntRange(0, len(out)-1).Draw(rt, "permit")]
						v := Learned{Remaining: rapid.Int64Range(-1, 100).Draw(rt, "left")}
						if s := rapid.IntRange(-1, 100).Draw(rt, "reset"); s >= 0 {
							v.Reset = in(time.Duration(s) * time.Second)
						}
						v.Limit = rapid.Int64Range(0, 10_000).Draw(rt, "limit")
						p.Learn("core", v)
					}
				}
			}
			// Of a rate or a bucket: 50 and what it fills. Of a window twice what it has.
			for i := range at {
				for j := i; j < len(at); j++ {
					w, units := at[j]-at[i], j-i+1
					most := 50 + int(math.Ceil(w.Seconds()*1.3751+1e-6))
					switch kind.name {
					case "rate":
						most = 50 + int(math.Ceil(w.Seconds()+1e-6))
					case "quota as a log":
						most = 50 * (1 + int(w/time.Minute))
					case "fixed window": // of a reset that is told, one may come early
						most = 50 * (3 + int(w/(58*time.Second)))
					}
					if units > most {
						failure = fmt.Sprintf("%s: %d units in %v, at most %d may pass", kind.name, units, w, most)
						return
					}
				}
			}
		})
		if failure != "" {
			rt.Fatal(failure)
		}
	})
}

// A key is kept for as long as a reply holds, and no longer.
func TestLearnEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLearning(t, Limit{Rate: 10, Burst: 10})
		p := l.begin()
		p.Learn("core", Learned{Remaining: 0, Reset: in(time.Hour)})
		p.Release()
		time.Sleep(59 * time.Minute)
		if n := l.Sweep(); n != 0 {
			t.Errorf("given none left for a minute more\ngot  %d keys dropped\nwant 0", n)
		}
		time.Sleep(10 * time.Minute)
		if n := l.Sweep(); n != 1 {
			t.Errorf("given a reset long ago\ngot  %d keys dropped\nwant 1", n)
		}
		// What a reply says that comes after its key was dropped holds for the new one.
		p = l.begin()
		time.Sleep(10 * time.Minute)
		l.Sweep()
		l.begin()
		p.Learn("core", Learned{Remaining: 3, Reset: in(time.Hour)})
		if got := l.passes(10); got != 2 {
			t.Errorf("given 3 left, one granted since\ngot  %d\nwant 2", got)
		}
	})
}

// A reload keeps what was learned, whatever the limit becomes.
func TestLearnReload(t *testing.T) {
	for _, from := range learningKinds {
		for _, to := range learningKinds {
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLearning(t, from.limit)
					l.begin().Learn("core", Learned{Remaining: 4, Reset: in(50 * time.Second)})
					next := to.limit
					next.Name, next.Key, next.Learn = "core", []Dimension{Account}, true
					if err := l.Update([]Limit{next}); err != nil {
						t.Fatal(err)
					}
					want := 4
					if to.name == "quota as a log" && (from.name == "rate" || from.name == "quota as a bucket") {
						want = 0 // the bucket may have given it all within the window
					}
					if got := l.passes(60); got != want {
						t.Errorf("given 4 left\ngot  %d\nwant %d", got, want)
					}
					time.Sleep(51 * time.Second)
					if got := l.passes(1); got != 1 {
						t.Errorf("given a reset that has come\ngot  %+v\nwant calls to pass", l.Peek("core", l.keys))
					}
				})
			})
		}
	}
}

// Replies, calls, reloads and looks from many goroutines.
func TestLearnStress(t *testing.T) {
	l, err := New([]Limit{
		{Name: "core", Key: []Dimension{Account}, Quota: 5000, Window: time.Hour, Fixed: true, Learn: true},
		{Name: "app", Key: []Dimension{App}, Rate: 1e6, Learn: true},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				r := &Request{
					Keys: Keys{Account: fmt.Sprint(g % 3), App: "sync"}, MaxWait: time.Millisecond,
					Uses: []Use{{Limit: "core", Cost: 1}, {Limit: "app", Cost: 1}},
				}
				p, err := l.Acquire(ctx, r)
				if err != nil {
					continue
				}
				p.Learn("core", Learned{Remaining: int64(5000 - i), Reset: in(time.Duration(1+i%5) * time.Hour), Limit: int64(4000 + i)})
				p.Learn("app", Learned{Remaining: 1e5})
				l.Peek("core", r.Keys)
				p.Release()
			}
		})
	}
	wg.Wait()
}
