package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// notices keeps what an observer was told.
type notices struct {
	mu  sync.Mutex
	all []Notice
}

func (o *notices) Observe(_ context.Context, n *Notice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, *n)
}

func (o *notices) of(k NoticeKind) (ns []Notice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.all {
		if n.Kind == k {
			ns = append(ns, n)
		}
	}
	return ns
}

// configMap writes a directory as Kubernetes mounts a ConfigMap: the files are
// links into ..data, which is a link to a directory of the version.
func configMap(t *testing.T, dir, version, content string) {
	t.Helper()
	data := filepath.Join(dir, ".."+version)
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "test.yaml"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, "..tmp")
	if err := os.Symlink(filepath.Base(data), tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	os.Symlink(filepath.Join("..data", "test.yaml"), filepath.Join(dir, "test.yaml"))
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	configMap(t, dir, "v1", loopYAML)
	synctest.Test(t, func(t *testing.T) {
		seen := &notices{}
		e := testEngine(t, Options{Observer: seen})
		first := e.Policies().Version()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Watch(ctx, WatchOptions{Dir: dir, Over: loopSet, Interval: time.Second}) }()
		step := func() {
			time.Sleep(3 * time.Second)
			synctest.Wait()
		}
		decide := func() string {
			p, err := e.Provider("test")
			if err != nil {
				t.Fatal(err)
			}
			return p.Decide(State{}, &rules.Event{Protocol: "http", Status: 418}, 0).As
		}
		step()
		if n := seen.of(NoticeReload); len(n) != 0 || e.Policies().Version() != first {
			t.Errorf("what is in force already was told at the start: %+v", n)
		}
		const teapot = overLoop + "rules: [{name: teapot, when: status == 418, action: fail, as: resync}]\n"
		configMap(t, dir, "v2", teapot)
		step()
		if as := decide(); as != AsResync || e.Reloads().Version == first || e.Reloads().Err != nil {
			t.Errorf("after a swap of links: as %q, %+v", as, e.Reloads())
		}
		good := e.Reloads()
		configMap(t, dir, "v3", overLoop+"rules: [{name: teapot, when: status == four hundred, action: fail, as: resync}]\n")
		step()
		step()
		if n := seen.of(NoticeReload); len(n) != 2 || n[1].Err == nil {
			t.Errorf("a broken file was told %d times, want once: %+v", len(n)-1, n)
		}
		if st := e.Reloads(); decide() != AsResync || st.Err == nil || st.Version != good.Version || !st.Success.Equal(good.Success) {
			t.Errorf("a broken file changed something: as %q, %+v", decide(), st)
		}
		configMap(t, dir, "v4", loopYAML)
		step()
		if st := e.Reloads(); decide() != AsPermanent || st.Err != nil {
			t.Errorf("after the repair: as %q, %+v", decide(), st)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
}

// A reload in the middle of a call: the call finishes by the policy it began with.
func TestReplaceInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{})
		other := loadPolicies(t, overLoop+`
remove: [inflight]
limits: [{name: added, key: account, concurrency: 1}]
rules: [{name: server, when: status >= 500, action: fail}]
`)
		s := newServer(reply{status: 500}, reply{status: 200, took: time.Minute}, reply{status: 500})
		tr := e.Transport(s)
		done := make(chan int)
		go func() {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err != nil {
				t.Error(err)
			}
			resp.Body.Close()
			done <- resp.StatusCode
		}()
		synctest.Wait()
		if err := e.Replace(other); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != 200 {
			t.Errorf("the call in flight ended with HTTP %d, want the retry of the policy it began with", got)
		}
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil || resp.StatusCode != 500 {
			t.Errorf("a new call got %v, %v; want the new policy's failure", resp, err)
		}
		resp.Body.Close()
	})
}

func TestShadow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &notices{}
		e := testEngine(t, Options{Observer: seen})
		e.Shadow(loadPolicies(t, overLoop+"rules: [{name: missing, when: status == 404, action: fail, as: resync}]\n"))
		tr := e.Transport(newServer(reply{status: 404}, reply{status: 500}))
		for range 2 {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err != nil {
				t.Fatal(err)
			}
			if out, ok := Outcome(resp); ok && out.Decision.As != AsPermanent {
				t.Errorf("the candidate had an effect: %+v", out.Decision)
			}
			resp.Body.Close()
		}
		p, _ := e.Provider("test")
		if compared, different, ok := p.Shadow(); !ok || compared != 2 || different != 1 {
			t.Errorf("got %d, %d, %v; want 2 compared, 1 different", compared, different, ok)
		}
		if n := seen.of(NoticeShadow); len(n) != 1 || n[0].Candidate.As != AsResync || n[0].Decision.As != AsPermanent {
			t.Errorf("told %+v", n)
		}
		// Through Do too, where the candidate reads the answer anew; what the
		// calling code decides is nobody's difference.
		for _, err := range []error{&ResponseError{Status: 404}, Permanent(&ResponseError{Status: 404})} {
			e.Do(t.Context(), Call{Provider: "test", Method: "GET"}, func(context.Context) error { return err })
		}
		if compared, different, _ := p.Shadow(); compared != 3 || different != 2 {
			t.Errorf("after Do: %d and %d; want 3 compared, 2 different", compared, different)
		}
		e.Shadow(nil)
		if _, _, ok := p.Shadow(); ok {
			t.Error("the candidate is still there")
		}
	})
}

// The candidate reads what the live policy has read, by itself: the name of the
// operation, what is idempotent, and the answer.
func TestShadowReadsByItself(t *testing.T) {
	const candidate = overLoop + `
operations:
  - {method: GET, path: /items/special, operation: items.special}
  - {method: POST, path: /sync, operation: sync}
idempotent: [mark, sync]
extract:
  facts:
    strange: [{json: strange}]
rules:
  - {name: special, when: 'status == 404 and operation == "items.special"', action: fail, as: resync}
  - {name: greylisted, when: '"4.7.1" in codes', action: fail, as: greylisted}
  - {name: strange, when: 'facts.strange == "yes"', action: fail, as: strange}
`
	lost := errors.New("read tcp: connection reset by peer")
	call := func(operation string) Call {
		return Call{Keys: limiter.Keys{Account: "a", Operation: operation}, MaxAttempts: 1}
	}
	for _, tt := range []struct {
		name         string
		method, path string // of a request through Transport; "" = Do
		call         Call
		reply        reply
		err          error  // of Do
		as           string // the candidate's; "" = no difference
	}{
		{name: "an operation that the candidate names", method: "GET", path: "/items/special", call: call(""), reply: reply{status: 404}, as: "resync"},
		{name: "another operation", method: "GET", path: "/items/1", call: call(""), reply: reply{status: 404}},
		{name: "an operation that the call names", method: "GET", path: "/items/special", call: call("items.get"), reply: reply{status: 404}},
		{name: "a repeat that the candidate allows", method: "POST", path: "/sync", call: call(""), reply: reply{status: 500}, as: "-"},
		{name: "and where the answer was lost", method: "POST", path: "/sync", call: call(""), reply: reply{err: lost}, as: "-"},
		{name: "a repeat that nobody allows", method: "POST", path: "/send", call: call(""), reply: reply{status: 500}},
		{name: "a repeat that the call allows", method: "POST", path: "/send", call: Call{Keys: limiter.Keys{Account: "a"}, Idempotent: true, MaxAttempts: 1}, reply: reply{status: 500}},
		{name: "a fact that the candidate reads", method: "GET", path: "/items/1", call: call(""), reply: reply{status: 400, body: `{"strange":"yes"}`}, as: "strange"},
		{name: "the same in Do", call: Call{Method: "GET"}, err: &ResponseError{Status: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"strange":"yes"}`)}, as: "strange"},
		{name: "in an SDK's error", call: Call{Method: "GET"}, err: &googleapiError{Code: 400, Body: `{"strange":"yes"}`, Header: http.Header{"Content-Type": {"application/json"}}}, as: "strange"},
		{name: "in a reply of SMTP", call: Call{Method: "MAIL"}, err: &textproto.Error{Code: 451, Msg: "4.7.1 try again later"}, as: "greylisted"},
		{name: "an operation of Do is the call's", call: Call{Keys: limiter.Keys{Operation: "sync"}, Method: "POST", MaxAttempts: 1}, err: &ResponseError{Status: 500}, as: "-"},
		{name: "what a token endpoint answers is its policy's", call: Call{Method: "GET"}, err: &RetrieveError{Response: &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}}, Body: []byte(`{"strange":"yes"}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &notices{}
				e := testEngine(t, Options{Observer: seen}, loopYAML, tokenYAML)
				e.Shadow(loadPolicies(t, candidate))
				p, _ := e.Provider("test")
				if tt.path != "" {
					req := request(t, t.Context(), tt.method, tt.path, "")
					ending(e.Transport(newServer(tt.reply)).RoundTrip(req.WithContext(WithCall(t.Context(), tt.call))))
				} else {
					p.Do(t.Context(), tt.call, func(context.Context) error { return tt.err })
				}
				as := ""
				if n := seen.of(NoticeShadow); len(n) > 0 {
					if as = n[0].Candidate.As; as == "" {
						as = "-"
					}
				}
				if _, different, ok := p.Shadow(); as != tt.as || !ok || (different > 0) != (tt.as != "") {
					t.Errorf("the candidate differs by %q, counted %d; want %q", as, different, tt.as)
				}
			})
		})
	}
}

// A candidate holds for providers that come and go with reloads.
func TestShadowAcrossReloads(t *testing.T) {
	set := func(names ...string) *policy.Set {
		var files []policy.File
		for _, name := range names {
			files = append(files, policy.File{Name: name + ".yaml", Data: fmt.Appendf(nil, "version: 1\nprovider: %s\nmatch: [{host: %[1]s.test}]\ndefault: fail\n", name)})
		}
		set, diags := policy.Load(files, policy.LoadOptions{})
		if set == nil {
			t.Fatal(diags.Err())
		}
		return set
	}
	e, err := New(Options{Policies: set("one")})
	if err != nil {
		t.Fatal(err)
	}
	shadowed := func() (names []string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for name, p := range e.handles {
			if _, _, ok := p.Shadow(); ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	fail := func(name string) {
		e.handles[name].Do(t.Context(), Call{Method: "GET"}, func(context.Context) error { return &ResponseError{Status: 404} })
	}
	replace := func(s *policy.Set) {
		if err := e.Replace(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name     string
		do       func()
		want     string
		compared uint64 // by the candidate of "one"
	}{
		{"before", func() {}, "[]", 0},
		{"with candidates", func() { e.Shadow(set("one", "two")) }, "[one]", 0},
		{"a failure", func() { fail("one") }, "[one]", 1},
		{"two comes", func() { replace(set("one", "two")) }, "[one two]", 1},
		{"one goes", func() { replace(set("two")) }, "[one two]", 1},
		{"its handle decides nothing", func() { fail("one") }, "[one two]", 1},
		{"one comes back", func() { replace(set("one", "two")) }, "[one two]", 1},
		{"one goes again", func() { replace(set("two")) }, "[one two]", 1},
		{"other candidates", func() { e.Shadow(set("one")) }, "[one]", 0},
		{"none", func() { e.Shadow(nil) }, "[]", 0},
		{"three comes", func() { replace(set("one", "two", "three")) }, "[]", 0},
	} {
		step.do()
		if got := fmt.Sprint(shadowed()); got != step.want {
			t.Errorf("%s: %s have a candidate, want %s", step.name, got, step.want)
		}
		if compared, _, _ := e.handles["one"].Shadow(); compared != step.compared {
			t.Errorf("%s: %d compared, want %d", step.name, compared, step.compared)
		}
	}
}

func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Recent: 2})
		tr := e.Transport(newServer(reply{status: 503}, reply{status: 500}, reply{status: 404, body: `{"error":{"code":"gone"}}`}))
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got := e.Recent()
		if len(got) != 2 || got[0].Status != 404 || got[0].Event.Code() != "gone" || got[0].Attempt != 3 || got[1].Decision.Rule.Name != "server" || got[1].Decision.Delay < 2*time.Second || got[0].Account != "a" || got[0].Operation != "items.get" {
			t.Errorf("got %+v", got)
		}
	})
	if got := testEngine(t, Options{}).Recent(); got != nil {
		t.Errorf("remembers %v although it is off", got)
	}
}

func TestBreaker(t *testing.T) {
	yaml := loopYAML + "breaker: {failures: 3, open: 30s, probes: 1}\n"
	synctest.Test(t, func(t *testing.T) {
		down := true
		n := 0
		base := roundTripper(func(req *http.Request) (*http.Response, error) {
			n++
			status := 200
			if down {
				status = 503
			}
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
		})
		tr := testEngine(t, Options{Rand: func() float64 { return 0 }}, yaml).Transport(base)
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		if out, _ := Outcome(resp); n != 3 || out.Decision.Reason != decision.ReasonBreaker || resp.StatusCode != 503 {
			t.Errorf("%d attempts, then %v with HTTP %d; want 3, then an open breaker with the 503", n, out.Decision.Reason, resp.StatusCode)
		}
		start := time.Now()
		_, err = tr.RoundTrip(request(t, t.Context(), "GET", "/items/2", ""))
		var gave *GiveUpError
		if !errors.As(err, &gave) || gave.Decision.Reason != decision.ReasonBreaker || n != 3 || time.Since(start) != 0 {
			t.Errorf("with the breaker open: %v after %d requests and %v", err, n, time.Since(start))
		}
		down = false
		time.Sleep(31 * time.Second)
		resp, err = tr.RoundTrip(request(t, t.Context(), "GET", "/items/3", ""))
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("the probe: %v, %v", resp, err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Somebody above who retries what was given up, or handed back, is reported
// once; somebody who sends something else, or comes back when told to, is not.
func TestNested(t *testing.T) {
	get := func(t *testing.T) *http.Request { return request(t, t.Context(), "GET", "/items/1", "") }
	for _, tt := range []struct {
		name     string
		replies  reply
		inline   time.Duration
		requests []func(t *testing.T) *http.Request
		apart    time.Duration
		want     int
	}{
		{name: "given up", replies: reply{status: 400}, requests: []func(*testing.T) *http.Request{get, get, get}, apart: time.Second, want: 1},
		{name: "given up long before", replies: reply{status: 400}, requests: []func(*testing.T) *http.Request{get, get}, apart: 10 * time.Second},
		{name: "handed back", replies: reply{status: 429, header: "Retry-After: 6"}, inline: time.Second, requests: []func(*testing.T) *http.Request{get, get}, apart: time.Second, want: 1},
		{name: "handed back until now", replies: reply{status: 429, header: "Retry-After: 6"}, inline: time.Second, requests: []func(*testing.T) *http.Request{get, get}, apart: 6 * time.Second},
		{name: "another message sent", replies: reply{status: 400}, requests: []func(*testing.T) *http.Request{
			func(t *testing.T) *http.Request { return request(t, t.Context(), "POST", "/send", "one") },
			func(t *testing.T) *http.Request { return request(t, t.Context(), "POST", "/send", "two") },
		}, apart: time.Second},
		{name: "a message sent again", replies: reply{status: 400}, requests: []func(*testing.T) *http.Request{
			func(t *testing.T) *http.Request { return request(t, t.Context(), "POST", "/send", "one") },
			func(t *testing.T) *http.Request { return request(t, t.Context(), "POST", "/send", "one") },
		}, apart: time.Second, want: 1},
		{name: "another account", replies: reply{status: 400}, requests: []func(*testing.T) *http.Request{get, func(t *testing.T) *http.Request {
			req := get(t)
			return req.WithContext(WithAccount(req.Context(), "b"))
		}}, apart: time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &notices{}
				var replies []reply
				for range tt.requests {
					replies = append(replies, tt.replies)
				}
				tr := testEngine(t, Options{Observer: seen, MaxInline: tt.inline, Rand: func() float64 { return 0 }}).Transport(newServer(replies...))
				for _, req := range tt.requests {
					resp, err := tr.RoundTrip(req(t))
					if err == nil {
						resp.Body.Close()
					} else if !errors.As(err, new(*DeferError)) {
						t.Fatal(err)
					}
					time.Sleep(tt.apart)
				}
				if n := seen.of(NoticeNested); len(n) != tt.want {
					t.Errorf("reported %d times, want %d", len(n), tt.want)
				}
			})
		})
	}
}

// A set put in force by hand is the one that Reloads tells of.
func TestReplaceIsAReload(t *testing.T) {
	e := testEngine(t, Options{})
	e.reload(t.Context(), nil, errors.New("unreadable"), nil)
	if st := e.Reloads(); st.Err == nil || st.Version != e.Policies().Version() || st.Success.IsZero() {
		t.Errorf("after a failed reload: %+v, want an error beside version %q", st, e.Policies().Version())
	}
	set := testEngine(t, Options{}, overLoop+"rules: [{name: gone, when: status == 418, action: accept, override: true}]\n").Policies()
	if err := e.Replace(set); err != nil {
		t.Fatal(err)
	}
	if st := e.Reloads(); st.Err != nil || st.Version != set.Version() {
		t.Errorf("after Replace: %+v, want version %q", st, set.Version())
	}
}

// load puts a policy file in force.
func load(t testing.TB, e *Engine, yaml string) {
	t.Helper()
	if err := e.Replace(loadPolicies(t, yaml)); err != nil {
		t.Fatal(err)
	}
}
