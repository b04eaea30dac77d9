package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Whatever becomes of the directory, the last good policies stay in force, and
// each failure is told once.
func TestWatchFailures(t *testing.T) {
	const teapot = overLoop + "rules: [{name: teapot, when: status == 418, action: fail, as: resync}]\n"
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "policies")
		file := filepath.Join(dir, "test.yaml")
		seen := &notices{}
		e := testEngine(t, Options{Observer: seen})
		over := e.Policies()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Watch(ctx, WatchOptions{Dir: dir, Over: over, Interval: time.Second}) }()
		told := 0
		as := func() string {
			p, err := e.Provider("test")
			if err != nil {
				t.Fatal(err)
			}
			return p.Decide(State{}, &rules.Event{Protocol: "http", Status: 418}, 0).As
		}
		for _, step := range []struct {
			name string
			do   func()
			as   string
			told int  // notices
			bad  bool // Reloads().Err
		}{
			{"no directory", func() {}, AsPermanent, 1, true},
			{"still none", func() {}, AsPermanent, 0, true},
			{"an empty one", func() { os.Mkdir(dir, 0o755) }, AsPermanent, 1, true},
			{"a file appears", func() { os.WriteFile(file, []byte(teapot), 0o644) }, AsResync, 1, false},
			{"the same again", func() { os.WriteFile(file, []byte(teapot), 0o644) }, AsResync, 0, false},
			{"half a file", func() { os.WriteFile(file, []byte(loopYAML[:len(loopYAML)/2]), 0o644) }, AsResync, 1, true},
			{"an empty file", func() { os.WriteFile(file, nil, 0o644) }, AsResync, 1, true},
			{"not a file", func() { os.Remove(file); os.Symlink("nowhere", file) }, AsResync, 1, true},
			{"other files", func() { os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("x"), 0o644) }, AsResync, 0, true},
			{"repaired", func() { os.Remove(file); os.WriteFile(file, []byte(loopYAML), 0o644) }, AsPermanent, 1, false},
			{"binary", func() { os.WriteFile(file, []byte("\x00\xff\xfe"), 0o644) }, AsPermanent, 1, true},
			{"a limit that cannot be built", func() {
				os.WriteFile(file, []byte(teapot+"limits: [{name: inflight, key: account, concurrency: 0}]\n"), 0o644)
			}, AsPermanent, 1, true},
			{"the directory goes", func() { os.RemoveAll(dir) }, AsPermanent, 1, true},
			{"a file in its place", func() { os.WriteFile(dir, []byte(loopYAML), 0o644) }, AsPermanent, 1, true},
			{"it comes back", func() { os.Remove(dir); os.Mkdir(dir, 0o755); os.WriteFile(file, []byte(teapot), 0o644) }, AsResync, 1, false},
		} {
			before := e.Reloads()
			step.do()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			ns := seen.of(NoticeReload)
			now := e.Reloads()
			if got := as(); got != step.as || len(ns)-told != step.told || (now.Err != nil) != step.bad {
				t.Errorf("%s: as %q, told %d times, error %v; want %q, %d, error %v", step.name, got, len(ns)-told, now.Err, step.as, step.told, step.bad)
			}
			if now.Version != e.Policies().Version() || step.bad && (now.Version != before.Version || !now.Success.Equal(before.Success)) {
				t.Errorf("%s: status %+v, was %+v", step.name, now, before)
			}
			if told < len(ns) && (ns[len(ns)-1].Err != nil) != step.bad {
				t.Errorf("%s: told %v", step.name, ns[len(ns)-1].Err)
			}
			told = len(ns)
		}
		cancel()
		<-done
	})
	if err := new(Engine).Watch(t.Context(), WatchOptions{}); err == nil {
		t.Error("no directory is no error")
	}
}

// Content that is in force already replaces nothing: neither at the start nor later, when
// only comments have changed, or an error is mended.
func TestWatchKeepsWhatIsInForce(t *testing.T) {
	const own = "version: 1\nprovider: own\nextends: [http]\nrules: [{name: teapot, when: status == 418, action: fail, as: resync}]\n"
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write := func(text string) {
			if err := os.WriteFile(filepath.Join(dir, "own.yaml"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		write(own)
		files, err := policy.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		set, diags := policy.Load(files, policy.LoadOptions{Over: policy.Builtin()})
		if err := diags.Err(); err != nil {
			t.Fatal(err)
		}
		seen := &notices{}
		e, err := New(Options{Policies: set, Observer: seen})
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Provider("own")
		if err != nil {
			t.Fatal(err)
		}
		limits, started := p.Limiter(), e.Reloads()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Watch(ctx, WatchOptions{Dir: dir, Interval: time.Second}) }()
		for _, step := range []struct {
			name    string
			content string
			kept    bool // the set is the same
			told    int
			bad     bool
		}{
			{name: "at the start", content: own, kept: true},
			{name: "touched", content: own, kept: true},
			{name: "a comment", content: own + "# why\n", kept: true},
			{name: "broken", content: own + "no", kept: true, told: 1, bad: true},
			{name: "mended", content: own, kept: true, told: 1},
			{name: "mended again", content: own + "\n", kept: true},
			{name: "changed", content: own + "attempt_timeout: 7s\n", told: 1},
			{name: "changed back", content: own, told: 1},
		} {
			before, told := e.Policies(), len(seen.of(NoticeReload))
			write(step.content)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			now := e.Reloads()
			told = len(seen.of(NoticeReload)) - told
			if kept := e.Policies() == before; kept != step.kept || told != step.told || (now.Err != nil) != step.bad {
				t.Errorf("%s: the set is the same: %v, told %d times, error %v; want %v, %d, %v", step.name, kept, told, now.Err, step.kept, step.told, step.bad)
			}
			if step.kept && !now.Success.Equal(started.Success) {
				t.Errorf("%s: in force since %v, want %v", step.name, now.Success, started.Success)
			}
			if p.Limiter() != limits {
				t.Errorf("%s: another limiter", step.name)
			}
		}
		cancel()
		<-done
	})
}

// What is being written is not read: neither a file of which a part is valid by
// itself, nor files of two versions.
func TestWatchWaitsForWriters(t *testing.T) {
	const half = overLoop + `
rules:
  - {name: token, when: status == 401, action: reauth}
`
	const content = half + "  - {name: teapot, when: status == 418, action: fail, as: resync}\n"
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "test.yaml")
		seen := &notices{}
		e := testEngine(t, Options{Observer: seen})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		os.WriteFile(file, []byte(half), 0o644)
		go func() { done <- e.Watch(ctx, WatchOptions{Dir: dir, Over: e.Policies(), Interval: time.Second}) }()
		time.Sleep(quietTime / 2)
		os.WriteFile(file, []byte(content), 0o644)
		time.Sleep(5 * time.Second)
		p, _ := e.Provider("test")
		if ns := seen.of(NoticeReload); len(ns) != 1 || ns[0].Err != nil || p.Decide(State{}, &rules.Event{Protocol: "http", Status: 418}, 0).As != AsResync {
			t.Errorf("told %+v", ns)
		}
		cancel()
		<-done
	})
}

// Reloads beside calls in flight, with limits that come, go and change: nobody
// waits for ever, no permit is lost, nothing is over a limit.
func TestReplaceUnderLoad(t *testing.T) {
	variants := []string{
		loopYAML,
		overLoop + "limits: [{name: inflight, key: account, concurrency: 1}]\n",
		overLoop + "remove: [inflight]\nlimits: [{name: renamed, key: account, concurrency: 2}]\n",
		overLoop + "remove: [inflight]\n",
		overLoop + "limits: [{name: inflight, key: [account, operation], concurrency: 2}]\n",
		overLoop + "limits: [{name: requests, key: account, rate: 50/s, burst: 10}]\n",
		overLoop + "backoff: {default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 3, elapsed: 10m}}\n",
		overLoop + "breaker: {failures: 1000, open: 1s, probes: 1}\n",
	}
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{})
		var sets []*policy.Set
		for _, y := range variants {
			sets = append(sets, loadPolicies(t, y))
		}
		handle, _ := e.Provider("test")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(7 * time.Millisecond)
			status := 200
			if time.Now().UnixNano()%5 == 0 {
				status = 503
			}
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: &closer{Reader: strings.NewReader("x")}, Request: r}, nil
		})
		for i := range 8 {
			wg.Go(func() {
				tr := e.Transport(base)
				for ctx.Err() == nil {
					req, _ := http.NewRequestWithContext(WithAccount(ctx, fmt.Sprint(i%3)), "GET", "http://api.test/items/1", nil)
					if resp, err := tr.RoundTrip(req); err == nil {
						time.Sleep(3 * time.Millisecond)
						resp.Body.Close()
					}
					handle.Do(ctx, Call{Keys: limiter.Keys{Account: "0"}, Method: "GET"}, func(context.Context) error { return nil })
					time.Sleep(time.Millisecond) // near the deadline everything fails at once
				}
			})
		}
		for i := 0; ctx.Err() == nil; i++ {
			if err := e.Replace(sets[i%len(sets)]); err != nil {
				t.Error(err)
			}
			time.Sleep(13 * time.Millisecond)
		}
		wg.Wait()
	})
}

// A policy that goes away and comes back finds its handles, limits and holds again.
func TestReplaceBringsProvidersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{})
		p, _ := e.Provider("test")
		key := limiter.Keys{Account: "a"}
		p.Hold("requests", key, time.Now().Add(30*time.Second))
		other, _ := policy.Load([]policy.File{{Name: "other.yaml", Data: []byte("version: 1\nprovider: other\ndefault: fail\n")}}, policy.LoadOptions{})
		if err := e.Replace(other); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Provider("test"); err == nil {
			t.Error("a provider without a policy is found")
		}
		err := p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "b"}}, func(context.Context) error { t.Error("it was called"); return nil })
		if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsMisconfigured || gave.Decision.Reason != decision.ReasonNoPolicy {
			t.Errorf("a handle without a policy in force: %v, want a give-up as %s", err, AsMisconfigured)
		}
		load(t, e, overLoop+"backoff: {default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 7, elapsed: 10m}}\n")
		again, err := e.Provider("test")
		if err != nil || again != p || p.Policy().Backoffs[0].Attempts != 7 {
			t.Errorf("the handle does not follow: %p, %p, %v", p, again, err)
		}
		start := time.Now()
		get(t, e, newServer())
		if took := time.Since(start); took < 30*time.Second {
			t.Errorf("the hold is gone: the call went out after %v", took)
		}
	})
}
