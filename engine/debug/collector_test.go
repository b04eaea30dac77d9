package debug

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Waits count in each span that they lasted into, and are forgotten after five minutes.
func TestWaits(t *testing.T) {
	at := time.Unix(1_700_000_000, 0) // a span begins
	for _, tt := range []struct {
		name string
		ends time.Duration // after at
		took time.Duration
		look time.Duration
		want map[int]time.Duration // by spans before the one looked at
	}{
		{"within a span", 4 * time.Second, 3 * time.Second, 4 * time.Second, map[int]time.Duration{0: 3 * time.Second}},
		{"over two spans", 7 * time.Second, 4 * time.Second, 7 * time.Second, map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second}},
		{"looked at later", 7 * time.Second, 4 * time.Second, 17 * time.Second, map[int]time.Duration{2: 2 * time.Second, 3: 2 * time.Second}},
		{"over all", 299 * time.Second, time.Hour, 299 * time.Second, map[int]time.Duration{0: 4 * time.Second, 1: 5 * time.Second, 59: 5 * time.Second}},
		{"forgotten", 0, time.Second, 301 * time.Second, nil},
		{"negative", 4 * time.Second, -time.Second, 4 * time.Second, map[int]time.Duration{0: -time.Second}},
	} {
		var w waitCounts
		w.waited("p", "l", at.Add(tt.ends), tt.took)
		got := w.since(at.Add(tt.look))[waitKey{"p", "l"}]
		if tt.name == "negative" {
			continue // only that it ends
		}
		for before, want := range tt.want {
			if s := got[spans-1-before]; s.waited != want {
				t.Errorf("%s: %d spans before: %v, want %v", tt.name, before, s.waited, want)
			}
		}
		if tt.want == nil && slices.ContainsFunc(got[:], func(s waitSpan) bool { return s != waitSpan{} }) {
			t.Errorf("%s: got %v, want nothing", tt.name, got)
		}
	}
}

// top finds what sorting finds.
func TestTop(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 5, 6, 1000} {
		best := top[int]{most: 5, before: func(a, b *int) bool { return *a > *b }}
		var all []int
		for range n {
			v := r.IntN(1000)
			all = append(all, v)
			best.add(v)
		}
		slices.SortFunc(all, func(a, b int) int { return b - a })
		got := slices.Clone(best.rows)
		slices.SortFunc(got, func(a, b int) int { return b - a })
		if want := firstOf(all, 5); !slices.Equal(got, want) || best.seen != n {
			t.Errorf("of %d: got %v of %d, want %v", n, got, best.seen, want)
		}
	}
}

func TestRing(t *testing.T) {
	r := ring[int]{size: 3}
	for i := range 5 {
		r.add(i)
	}
	if got, want := fmt.Sprint(r.latest()), "[4 3 2]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if v, ok := r.take(func(v *int) bool { return *v == 3 }); v != 3 || !ok {
		t.Errorf("took %d, %v", v, ok)
	}
	if _, ok := r.take(func(v *int) bool { return *v == 9 }); ok {
		t.Error("took what is not there")
	}
	r.add(5)
	r.add(6)
	if got, want := fmt.Sprint(r.latest()), "[6 5 4]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLately(t *testing.T) {
	l := lately[int, int]{most: 10}
	l.put(-1, 7)
	for i := range 1000 {
		l.put(i, i)
		if v, ok := l.get(-1); !ok || v != 7 {
			t.Fatalf("what is used is forgotten after %d others", i)
		}
		if n := len(l.young) + len(l.old); n > 2*l.most {
			t.Fatalf("%d keys are remembered", n)
		}
	}
	if _, ok := l.get(3); ok {
		t.Error("what was not used for long is remembered")
	}
}

func TestShown(t *testing.T) {
	for _, tt := range []struct{ name, given, want string }{
		{"plain", "ann@example.com", "ann@example.com"},
		{"letters of all kinds", "Jörg 制限", "Jörg 制限"},
		{"a mark of direction", "a\u202eb", "a\ufffdb"},
		{"control characters", "a\x00\x1b[31m\nb", "a\ufffd\ufffd[31m b"},
		{"not UTF-8", "a\xffb", "a\ufffdb"},
		{"long", strings.Repeat("é", 100), strings.Repeat("é", 80) + "…"},
		{"empty", "", ""},
	} {
		if got := shown(tt.given, maxShown); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Like events of an account are one, with the number of them, so that what began it all is not
// pushed out by what followed.
func TestLikeEvents(t *testing.T) {
	c := newCollector()
	at := time.Unix(1_700_000_000, 0)
	see := func(kind engine.NoticeKind, rule string, own bool) {
		at = at.Add(time.Second)
		r := &engine.Rule{Policy: "shop", Name: rule}
		if own {
			r.Policy = ""
		}
		c.Observe(t.Context(), &engine.Notice{Kind: kind, Time: at, Provider: "shop", Account: "ann", Limit: "sending", Event: nil, Decision: &engine.Decision{Action: policy.Wait, Rule: r}})
	}
	see(engine.NoticeDecision, "quota", false)
	for range 500 {
		see(engine.NoticeDefer, "limit", true)
	}
	got := c.accounts.of("ann")
	if len(got) != 2 || got[0].times != 500 || !got[0].at.Equal(at) || got[1].rule != "quota" || got[1].times != 1 {
		t.Errorf("got %+v, want 500 deferrals as one, and the decision before", got)
	}
}

// Many calls at once, and somebody who looks: for the race detector.
func TestAtOnce(t *testing.T) {
	w := newWorld(t, Options{Actions: true}, engine.Options{})
	h := w.page.(*handler)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				n := &engine.Notice{
					Kind: engine.NoticeKind(1 + (g+i)%20), Time: time.Now(), Provider: "shop", Account: fmt.Sprint("account-", i%7), Limit: "requests",
					Duration: time.Duration(i) * time.Second, Event: &rules.Event{Status: 429, Codes: []string{"X"}, Facts: map[string]string{"a": "b"}},
					Decision: &engine.Decision{Rule: &engine.Rule{Policy: "shop", Name: fmt.Sprint("rule-", i%5)}},
				}
				if n.Kind == engine.NoticeStore {
					continue
				}
				h.seen.Observe(t.Context(), n)
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for i := range 10 {
				h.changed()
				w.serve(request("GET", "/?account=account-3", nil))
				w.serve(request("GET", fmt.Sprintf("/rule.json?policy=shop&rule=rule-%d", i%5), nil))
			}
		})
	}
	all.Wait()
}
