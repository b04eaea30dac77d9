package limiter

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLaw(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Limit
		want spec
	}{
		{"gate", Limit{}, spec{kind: gateKind}},
		{"bucket", Limit{Rate: 250, Burst: 100}, spec{kind: bucketKind, rate: 250, burst: 100}},
		{"bucket, burst by rate", Limit{Rate: 2.5}, spec{kind: bucketKind, rate: 2.5, burst: 3}},
		{"bucket, burst of one", Limit{Rate: 0.01}, spec{kind: bucketKind, rate: 0.01, burst: 1}},
		{"bucket, burst by dearest cost", Limit{Rate: 1, MaxCost: 100}, spec{kind: bucketKind, rate: 1, burst: 100}},
		{"concurrency", Limit{Concurrency: 4, Adapt: true}, spec{kind: concurrencyKind, conc: 4, adapt: true}},
		{"quota, one percent", Limit{Quota: 10_000, Window: 600 * time.Second}, spec{kind: bucketKind, rate: 16.5, burst: 100, quota: 10_000, window: int64(600 * time.Second)}},
		{"quota, dearest cost", Limit{Quota: 15_000, Window: time.Minute, MaxCost: 300}, spec{kind: bucketKind, rate: 245, burst: 300, quota: 15_000, window: int64(time.Minute)}},
		{"quota, dearest cost below one percent", Limit{Quota: 15_000, Window: time.Minute, MaxCost: 100}, spec{kind: bucketKind, rate: 14850.0 / 60, burst: 150, quota: 15_000, window: int64(time.Minute)}},
		{"quota, burst given", Limit{Quota: 10_000, Window: 600 * time.Second, Burst: 1000}, spec{kind: bucketKind, rate: 15, burst: 1000, quota: 10_000, window: int64(600 * time.Second)}},
		{"quota, large burst given", Limit{Quota: 10_000, Window: 600 * time.Second, Burst: 9000}, spec{kind: bucketKind, rate: 1000. / 600, burst: 9000, quota: 10_000, window: int64(600 * time.Second)}},
		{"quota, all of it at once", Limit{Quota: 10_000, Window: 600 * time.Second, Burst: 10_000}, spec{kind: logKind, quota: 10_000, window: 600e9}},
		{"quota of one", Limit{Quota: 1, Window: time.Minute}, spec{kind: logKind, quota: 1, window: 60e9}},
		{"quota of two", Limit{Quota: 2, Window: time.Minute}, spec{kind: logKind, quota: 2, window: 60e9}},
		{"quota of three", Limit{Quota: 3, Window: time.Minute}, spec{kind: bucketKind, rate: 2. / 60, burst: 1, quota: 3, window: int64(time.Minute)}},
		{"quota, cost of more than half", Limit{Quota: 100, Window: time.Minute, MaxCost: 60}, spec{kind: logKind, quota: 100, window: 60e9}},
		{"quota, fixed", Limit{Quota: 5000, Window: time.Hour, Fixed: true, MaxCost: 10}, spec{kind: fixedKind, quota: 5000, window: 3600e9}},
		{"quota, cost of more than all", Limit{Quota: 100, Window: time.Minute, MaxCost: 600}, spec{kind: logKind, quota: 100, window: 60e9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.m.spec()
			if err != nil || got != c.want {
				t.Errorf("%+v\n got %+v, %v\nwant %+v", c.m, got, err, c.want)
			}
		})
	}
}

func TestWrongLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Limit
		want string
	}{
		{"two forms", Limit{Rate: 1, Concurrency: 1}, "more than one"},
		{"quota and rate", Limit{Rate: 1, Quota: 1, Window: 1}, "more than one"},
		{"negative rate", Limit{Rate: -1}, "rate -1"},
		{"not a number", Limit{Rate: math.NaN()}, "rate NaN"},
		{"infinite", Limit{Rate: math.Inf(1)}, "rate +Inf"},
		{"negative burst", Limit{Rate: 1, Burst: -1}, "burst -1"},
		{"huge burst", Limit{Rate: 1, Burst: math.MaxInt64}, "burst 9"},
		{"quota without a window", Limit{Quota: 1}, "quota 1 in a window of 0s"},
		{"window without a quota", Limit{Window: 1}, "quota 0"},
		{"negative window", Limit{Quota: 1, Window: -1}, "window of -1ns"},
		{"negative quota", Limit{Quota: -1, Window: 1}, "quota -1"},
		{"negative concurrency", Limit{Concurrency: -1}, "concurrency -1"},
		{"huge concurrency", Limit{Concurrency: math.MaxInt64}, "concurrency 9"},
		{"burst alone", Limit{Burst: 1}, "a burst without"},
		{"negative cost", Limit{Rate: 1, MaxCost: -1}, "cost -1"},
		{"fixed windows of a rate", Limit{Rate: 1, Fixed: true}, "fixed windows"},
		{"fixed windows with a burst", Limit{Quota: 9, Window: 1, Burst: 3, Fixed: true}, "fixed windows"},
		{"learning without units", Limit{Concurrency: 1, Learn: true}, "to learn"},
		{"no such key", Limit{Key: []Dimension{dimensions}}, "no such key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.m.Name = "it"
			l, err := New([]Limit{c.m}, Options{})
			if err == nil || l != nil || !strings.HasPrefix(err.Error(), `limiter: limit "it": `) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	_, err := New([]Limit{{Name: "a", Rate: -1}, {Name: "b", Quota: 1}, {Name: "c"}, {Name: "c"}}, Options{BackfillShare: 2})
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("four problems are reported as: %v", err)
	}
}

func TestDimensions(t *testing.T) {
	for d := range dimensions {
		if got, ok := ParseDimension(d.String()); !ok || got != d {
			t.Errorf("%v is parsed as %v, %v", d, got, ok)
		}
		var k Keys
		k.set(d, "x")
		if k == (Keys{}) || k.Get(d) != "x" {
			t.Errorf("%v can't be set: %+v", d, k)
		}
	}
	if _, ok := ParseDimension("user"); ok {
		t.Error("user is no dimension")
	}
}

// A key's parts can't be confused, whatever is in them.
func TestKeyParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &group{dims: []Dimension{Account, App, Host}}
		draw := func() Keys {
			s := rapid.StringMatching(`[ab\x00\x01\x02\x03]{0,5}|[ab]{125,130}`)
			return Keys{Account: s.Draw(t, "account"), App: s.Draw(t, "app"), Host: s.Draw(t, "host")}
		}
		a, b := draw(), draw()
		if got := g.keys(g.appendKey(nil, &a)); got != a {
			t.Fatalf("%+v reads %+v", a, got)
		}
		var e entry
		e.setKey(g, &a)
		if got := g.keys(e.key()); got != a {
			t.Fatalf("%+v is kept as %+v", a, got)
		}
		if got := g.matches(g.appendKey(nil, &a), &b); got != (a == b) {
			t.Fatalf("%+v is found for %+v: %v", a, b, got)
		}
	})
}

// TestTable holds the table against a map, also one so large that it remembers
// what it found last.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &group{dims: []Dimension{Account}}
		var tb table
		want := map[string]*entry{}
		// Few hashes, so that probes collide and wrap around.
		hash := func(k string) uint64 { return uint64(k[0]%7) | uint64(k[len(k)-1]%3)<<16 | uint64(len(k))<<61 }
		large := rapid.Bool().Draw(t, "large")
		if large {
			tb.resize(recentFrom)
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			k := rapid.StringMatching(`[a-p]{1,2}`).Draw(t, "key")
			keys := Keys{Account: k}
			got := tb.find(hash(k), g, &keys)
			if got != want[k] {
				t.Fatalf("%q: found %v, want %v", k, got, want[k])
			}
			switch {
			case got == nil:
				e := new(entry)
				e.setKey(g, &keys)
				want[k] = e
				tb.insert(hash(k), e)
			case rapid.Bool().Draw(t, "remove"):
				for i, s := range tb.cells {
					if s.e == got {
						tb.remove(i)
						break
					}
				}
				delete(want, k)
				if !large {
					tb.shrink()
				}
			}
			if tb.n != len(want) || len(tb.cells) > 0 && tb.n*8 > len(tb.cells)*7 || !large && len(tb.cells) > minCells && len(want) == 0 {
				t.Fatalf("%d entries, want %d, in %d slots", tb.n, len(want), len(tb.cells))
			}
		}
		for k, e := range want {
			keys := Keys{Account: k}
			if got := tb.find(hash(k), g, &keys); got != e {
				t.Fatalf("%q: found %v, want %v", k, got, e)
			}
		}
	})
}
