package engine

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// BenchmarkNew is what an engine costs: a later one over the built-in policies,
// which the first one of a process loads (see TestBytesOfNew), and one over as many
// policies that are loaded and checked.
func BenchmarkNew(b *testing.B) {
	b.Run("later", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := New(Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("checked", func(b *testing.B) {
		files := policy.BuiltinFiles()
		b.ReportAllocs()
		for b.Loop() {
			set, ds := policy.Load(files, policy.LoadOptions{})
			if set == nil {
				b.Fatal(ds)
			}
			if _, err := New(Options{Policies: set}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A built-in policy is read when a worker first uses it, and its limits can be built.
func TestUnreadPolicies(t *testing.T) {
	e, err := New(Options{LimitFor: func(string, limiter.Keys) (limiter.Limit, bool) { return limiter.Limit{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Replace(policy.Builtin()); err != nil {
		t.Fatal(err)
	}
	for _, name := range policy.Builtin().Names() {
		p, err := e.Provider(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Limiter() == nil || p.Policy().Name != name {
			t.Errorf("the policy of %q is %q", name, p.Policy().Name)
		}
	}
	if err := e.Replace(policy.Builtin()); err != nil {
		t.Error(err)
	}
	only, ds := policy.Load(nil, policy.LoadOptions{})
	if only == nil {
		t.Fatal(ds)
	}
	other, err := New(Options{}) // whose providers go before anybody has used them
	if err != nil {
		t.Fatal(err)
	}
	p, err := other.Provider("rick")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Replace(only); err != nil {
		t.Fatal(err)
	}
	if got := p.Policy().Name; got != "rick" {
		t.Errorf("the policy that a handle had when it went is %q, want rick", got)
	}
}

// TestBytesOfNew holds what the first engine of a process allocates: a worker uses
// few of the built-in policies, and must not pay for all.
func TestBytesOfNew(t *testing.T) {
	if os.Getenv("RECOURSE_TEST_NEW") == "" {
		c := exec.Command(os.Args[0], "-test.run", "^TestBytesOfNew$", "-test.v")
		c.Env = append(os.Environ(), "RECOURSE_TEST_NEW=1")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 3_000_000 && !raceEnabled {
		t.Errorf("New allocated %d bytes, want at most 3 MB", got)
	} else {
		t.Logf("New: %d bytes in %d allocations", got, after.Mallocs-before.Mallocs)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("kept: %d bytes", int64(after.HeapAlloc)-int64(before.HeapAlloc))
	runtime.ReadMemStats(&before)
	for _, name := range []string{"gmail", "microsoft_graph", "imap"} {
		p, err := e.Provider(name)
		if err != nil {
			t.Fatal(err)
		}
		p.Limiter()
		p.Decide(State{}, &rules.Event{Status: 403}, 0)
	}
	runtime.ReadMemStats(&after)
	t.Logf("first use of three providers: %d bytes in %d allocations", after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs)
	runtime.KeepAlive(e)
}

// The built-in policies are compiled when they are first used, which may be by many
// at once.
func TestFirstUseByMany(t *testing.T) {
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	set, ds := policy.Load(policy.BuiltinFiles(), policy.LoadOptions{})
	if set == nil {
		t.Fatal(ds)
	}
	checked, err := New(Options{Policies: set})
	if err != nil {
		t.Fatal(err)
	}
	ev := &rules.Event{Status: 403, Codes: []string{"rateLimitExceeded"}, Message: "Rate Limit Exceeded", Protocol: "http", Attempt: 1}
	var group sync.WaitGroup
	for _, pol := range set.Policies() {
		p, err := e.Provider(pol.Name)
		if err != nil {
			t.Fatal(err)
		}
		other, _ := checked.Provider(pol.Name)
		want := other.Decide(State{}, ev, 0.5).Rule.Name
		for range 4 {
			group.Go(func() {
				p.Limiter()
				if got := p.Decide(State{}, ev, 0.5).Rule.Name; got != want {
					t.Errorf("%s: got rule %q, want %q", pol.Name, got, want)
				}
				p.Policy().Matcher.Explain(ev)
			})
		}
		if p.Policy().Version != pol.Version {
			t.Errorf("%s: version %s, want %s", pol.Name, p.Policy().Version, pol.Version)
		}
	}
	group.Wait()
}
