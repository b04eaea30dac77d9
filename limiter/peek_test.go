package limiter

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestPeek(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	l, err := New([]Limit{
		{Name: "user", Key: byAccount, Rate: 10, Burst: 100},
		{Name: "inflight", Key: byAccount, Concurrency: 4},
		{Name: "tenant", Key: []Dimension{Host, Tenant}, Quota: 10, Window: time.Minute, Burst: 10},
		{Name: "gate", Key: nil},
	}, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		k := Keys{Account: fmt.Sprint(i), Tenant: "t", Host: "h"}
		if _, ok := l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: nameOf(l, 0), Cost: int64(10 * i)}, {Limit: nameOf(l, 2), Cost: 1}, {Limit: nameOf(l, 3)}}}); !ok {
			t.Fatal("refused")
		}
	}
	until := now.Add(time.Hour)
	l.Hold(nameOf(l, 1), Keys{Account: "3"}, until)

	if got, want := l.Peek(nameOf(l, 2), Keys{Account: "any", Tenant: "t", Host: "h"}),
		(State{Limit: "tenant", Keys: Keys{Tenant: "t", Host: "h"}, Burst: 10, Factor: 1}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := l.Peek(nameOf(l, 0), Keys{Account: "never seen", App: "x"}),
		(State{Limit: "user", Keys: Keys{Account: "never seen"}, Level: 100, Burst: 100, Rate: 10, Factor: 1}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	n := l.Len()
	l.Peek(nameOf(l, 0), Keys{Account: "never seen"})
	if l.Len() != n {
		t.Error("to peek makes a key")
	}
	held := slices.Collect(l.Held())
	if len(held) != 1 || held[0].Keys.Account != "3" || held[0].Limit != "inflight" || !held[0].Held.Equal(until) {
		t.Errorf("held: %+v", held)
	}
	all := slices.Collect(l.All())
	if want := 10*2 + 1 + 1; len(all) != want {
		t.Errorf("%d states, want %d", len(all), want)
	}
	var top []string
	for _, s := range l.Fullest(4) {
		top = append(top, s.Limit+" "+s.Keys.Account)
	}
	slices.Sort(top[:2])
	if want := []string{"inflight 3", "tenant ", "user 9", "user 8"}; !slices.Equal(top, want) {
		t.Errorf("fullest: %q, want %q", top, want)
	}
	if got := l.Fullest(0); len(got) != 0 {
		t.Errorf("the fullest 0 are %v", got)
	}
	for range l.All() {
		l.Hold(nameOf(l, 0), Keys{Account: "used in the loop"}, until) // no lock is held
		break
	}
}

// TestRefundAfterHold: what a call from before a hold gives back after it is
// added to the emptied bucket, whether somebody has looked at that or not.
func TestRefundAfterHold(t *testing.T) {
	for _, look := range []bool{false, true} {
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		l, err := New([]Limit{{Name: "user", Key: byAccount, Rate: 1, Burst: 10}}, Options{Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		p, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: nameOf(l, 0), Cost: 10}}})
		if !ok {
			t.Fatal("refused")
		}
		l.Hold(nameOf(l, 0), Keys{}, now.Add(2*time.Second))
		now = now.Add(3 * time.Second)
		if look {
			l.Peek(nameOf(l, 0), Keys{})
		}
		p.Cancel()
		// Of the 10 units 3 have come back already; since the hold, 1.
		if got := l.Peek(nameOf(l, 0), Keys{}).Level; got != 8 {
			t.Errorf("looked at: %v: level %g, want 8", look, got)
		}
	}
}

// Of finds an account's keys, whatever else its limits count by, and those of nobody.
func TestOf(t *testing.T) {
	l, err := New([]Limit{
		{Name: "user", Key: byAccount, Rate: 10, Burst: 100},
		{Name: "folder", Key: []Dimension{Host, Account, Operation}, Concurrency: 4},
		{Name: "app", Key: byApp, Rate: 10, Burst: 100},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		for _, op := range []string{"a", "b"} {
			k := Keys{Account: fmt.Sprint(i), Host: "h", Operation: op, App: fmt.Sprint(i % 3)}
			if _, ok := l.TryAcquire(&Request{Keys: k, Uses: []Use{{Limit: "user", Cost: 1}, {Limit: "folder"}, {Limit: "app"}}}); !ok {
				t.Fatal("refused")
			}
		}
	}
	for _, tt := range []struct {
		account string
		want    []string
	}{
		{"7", []string{"app /0", "app /1", "app /2", "folder 7a/", "folder 7b/", "user 7/"}},
		{"", []string{"app /0", "app /1", "app /2"}},
		{"nobody", []string{"app /0", "app /1", "app /2"}},
	} {
		var got []string
		for s := range l.Of(tt.account) {
			got = append(got, s.Limit+" "+s.Keys.Account+s.Keys.Operation+"/"+s.Keys.App)
		}
		slices.Sort(got)
		if !slices.Equal(got, tt.want) {
			t.Errorf("of account %q: got %q, want %q", tt.account, got, tt.want)
		}
	}
	n := 0
	for range l.All() {
		n++
	}
	if want := 1000 + 2000 + 3; n != want {
		t.Errorf("%d states in all, want %d", n, want)
	}
	for range l.All() {
		break // and nothing is locked any more
	}
	if p := l.Peek("user", Keys{Account: "7"}); p.Level > 99 {
		t.Errorf("%+v", p)
	}
}
