package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/enginetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// inMemory is a demo over in-memory connections, which ends with the test.
func inMemory(t *testing.T, o Options) *Demo {
	t.Helper()
	o.fill()
	d, err := newDemo(o, Servers(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// runInBubble runs the demo over in-memory connections, in a bubble's time.
func runInBubble(t *testing.T, o Options) *Report {
	t.Helper()
	var r *Report
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t, o)
		var err error
		if r, err = d.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// What the demo shows, for several seeds and numbers of workers: the loop loses
// messages, retries early and breaks limits; Recourse does none of it.
func TestPasses(t *testing.T) {
	for _, tt := range []struct {
		seed    uint64
		workers int
	}{{1, 64}, {2, 64}, {3, 200}, {4, 8}} {
		t.Run(fmt.Sprintf("seed %d, %d workers", tt.seed, tt.workers), func(t *testing.T) {
			o := Options{Seed: tt.seed, Workers: tt.workers}
			r := runInBubble(t, o)
			if len(r.Passes) != 2 || r.Passes[0].Name != Naive || r.Passes[1].Name != Recourse {
				t.Fatalf("passes %+v, want naive and recourse", r.Passes)
			}
			naive, recourse := r.Passes[0], r.Passes[1]
			var lost, early int
			for _, v := range naive.Providers {
				lost += v.Lost
				early += v.EarlyRetries
			}
			if lost == 0 || early == 0 {
				t.Errorf("naive pass: %d lost, %d early retries, want some of each", lost, early)
			}
			for _, v := range recourse.Providers {
				if v.Lost != 0 || v.Deferred != 0 || v.DuplicateSends != 0 || v.EarlyRetries != 0 {
					t.Errorf("%s: %d lost, %d deferred, %d duplicate sends, %d early retries, want none", v.Provider, v.Lost, v.Deferred, v.DuplicateSends, v.EarlyRetries)
				}
				if v.ConcurrencyLimit > 0 && v.PeakConcurrency > v.ConcurrencyLimit {
					t.Errorf("%s: %d at once, limit %d", v.Provider, v.PeakConcurrency, v.ConcurrencyLimit)
				}
				if v.UnitsLimit > 0 && v.PeakUnitsPerSecond > v.UnitsLimit {
					t.Errorf("%s: %d units in a second, limit %d", v.Provider, v.PeakUnitsPerSecond, v.UnitsLimit)
				}
				if v.RefusedFor[enginetest.OverQuota] != 0 || v.RefusedFor[enginetest.OverConcurrency] != 0 {
					t.Errorf("%s: refused %v, want none for a quota or concurrency", v.Provider, v.RefusedFor)
				}
				if want := 3*(min(80, 20+3*tt.workers)+4) - v.GaveUp; v.Synced != want {
					t.Errorf("%s: %d synced, want %d", v.Provider, v.Synced, want)
				}
			}
			if recourse.Seconds > 60 {
				t.Errorf("the recourse pass took %.1f s, want less than a minute", recourse.Seconds)
			}
			if t.Failed() || testing.Verbose() {
				var b strings.Builder
				r.WriteTable(&b)
				t.Log("\n" + b.String())
			}
		})
	}
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		r, err := d.Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("run returned %+v, %v, want context.DeadlineExceeded", r, err)
		}
		if d := time.Since(start); d > 1600*time.Millisecond {
			t.Errorf("ended %v after the context did", d-1500*time.Millisecond)
		}
	})
}

// With a page open on the engine the pass by Recourse comes first, and goes on after the
// report; the report is the same.
func TestRecourseFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		d := inMemory(t, Options{Seed: 1, RecourseFirst: true, Progress: func(p Progress) {
			if p.Finished {
				order = append(order, p.Pass)
			}
		}})
		r, err := d.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{Recourse, Naive}; !slices.Equal(order, want) {
			t.Errorf("passes in the order %q, want %q", order, want)
		}
		if r.Passes[0].Name != Naive || r.Passes[1].Name != Recourse {
			t.Errorf("reported in the order %s, %s, want %s, %s", r.Passes[0].Name, r.Passes[1].Name, Naive, Recourse)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := d.Repeat(ctx); err != nil {
			t.Errorf("Repeat returned %v when its context ended, want nil", err)
		}
		if len(order) != 2 {
			t.Errorf("progress of %q, want none of the repeated passes", order)
		}
		if requests := d.servers[0].Counts().Requests; requests == 0 {
			t.Error("the job was not done again")
		}
	})
}

// The delays of Warpflow's sample, mistakes included.
func TestNaiveDelay(t *testing.T) {
	for _, tt := range []struct {
		header  string
		attempt int
		want    time.Duration
	}{
		{"", 0, time.Second},
		{"", 3, 8 * time.Second},
		{"", 9, 30 * time.Second},
		{"30", 0, 30 * time.Second},
		{"1.5", 0, time.Second},
		{"0.249", 2, 0},
		{"Fri, 11 Sep 2026 20:00:00 GMT", 2, time.Millisecond},
	} {
		if got := naiveDelay(tt.header, tt.attempt); got != tt.want {
			t.Errorf("Retry-After %q, attempt %d: %v, want %v", tt.header, tt.attempt, got, tt.want)
		}
	}
}

// report is one that shows every case of the table.
func report() *Report {
	return &Report{Seed: 1, Workers: 8, Passes: []Pass{
		{Name: Naive, Seconds: 12.25, Providers: []Provider{
			{
				Provider: "gmail", Synced: 100, Lost: 20, Requests: 300, Refused: 21, EarlyRetries: 4, PeakConcurrency: 10, PeakUnitsPerSecond: 910, UnitsLimit: 500,
				GaveUp: 3, Unread: 2, RefusedFor: map[enginetest.Fault]int{enginetest.OverQuota: 2, enginetest.Throttled: 15, enginetest.Overloaded: 4}, Took: 4 * time.Second,
			},
			{
				Provider: "microsoft_graph", Synced: 110, Lost: 10, Requests: 200, Refused: 9, DuplicateSends: 1, PeakConcurrency: 9, ConcurrencyLimit: 4, PeakUnitsPerSecond: 40,
				Unread: 1, RefusedFor: map[enginetest.Fault]int{enginetest.OverConcurrency: 8, enginetest.FailedLate: 1}, Took: 12 * time.Second,
			},
		}},
		{Name: Recourse, Seconds: 9.5, Providers: []Provider{
			{
				Provider: "gmail", Synced: 120, Requests: 310, Refused: 5, Reauths: 2, PeakConcurrency: 9, PeakUnitsPerSecond: 480, UnitsLimit: 500,
				GaveUp: 3, Unread: 2, LookedUp: 2, Resent: 1, RefusedFor: map[enginetest.Fault]int{enginetest.Throttled: 4, enginetest.TokenExpired: 1}, Took: 9 * time.Second,
			},
			{
				Provider: "microsoft_graph", Synced: 119, Deferred: 1, Requests: 130, Refused: 1, PeakConcurrency: 4, ConcurrencyLimit: 4, PeakUnitsPerSecond: 42,
				RefusedFor: map[enginetest.Fault]int{enginetest.NotReady: 1}, Took: 5 * time.Second,
			},
		}},
	}}
}

// The JSON object is relied on from outside: exactly these names.
func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b.Bytes(), &top); err != nil {
		t.Fatal(err)
	}
	var passes []map[string]json.RawMessage
	var providers []map[string]json.RawMessage
	if err := json.Unmarshal(top["passes"], &passes); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(passes[0]["providers"], &providers); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  map[string]json.RawMessage
		want string
	}{
		{"object", top, "passes"},
		{"pass", passes[0], "name providers seconds"},
		{"provider", providers[0], "concurrency_limit duplicate_sends early_retries lost peak_concurrency peak_units_per_second provider reauths refused requests synced units_limit"},
	} {
		var keys []string
		for k := range tt.got {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if got := strings.Join(keys, " "); got != tt.want {
			t.Errorf("%s: keys %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := report().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/table.txt"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("table (-update writes it anew):\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestProgress(t *testing.T) {
	p := Progress{Pass: Recourse, Elapsed: 12340 * time.Millisecond, Providers: []ProviderProgress{
		{"gmail", 100, 100, 200}, {"microsoft_graph", 250, 0, 250}, {"nylas_v3", 0, 1, 100}, {"warpflow", 0, 0, 0},
	}}
	if got, want := p.String(), "recourse 12.3s  gmail 100/200 (100 given up)  microsoft_graph 250/250  nylas_v3 0/100 (1 given up)  warpflow 0/0"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	got, want := p.Short(), "recourse 12.3s  gmail 50%  microsoft_graph 100%  nylas_v3 0%  warpflow 0%  101 given up"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
