package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// shop is a policy that reads a body, a header and secrets.
const shop = `
version: 1
provider: shop
extract:
  codes: [{json: error}]
  message: [{json: text}]
  facts: {box: [{json: box}]}
operations:
  - {method: GET, path: '/box/{user}', operation: box.get}
rules:
  - {name: words, when: status == 500 and body contains "teapot", action: fail}
  - {name: header, when: header("X-Reason") == "full", action: fail, as: full}
  - {name: secret, when: header("X-Api-Key") == "s3cr3t-k3y" and status == 418, action: fail, as: secret}
  - {name: talk, when: message contains "mailbox of", action: fail, as: talk}
  - {name: server-error, when: status >= 500, action: retry}
backoff: {default: {initial: 1s, attempts: 3}}
default: fail
`

func load(t testing.TB) (*policy.Policy, *engine.Provider) {
	t.Helper()
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(shop)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	eng, err := engine.New(engine.Options{Policies: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close() })
	pol, _ := set.Policy("shop")
	p, err := eng.Provider("shop")
	if err != nil {
		t.Fatal(err)
	}
	return pol, p
}

// notice is what an engine tells of an event.
func notice(pol *policy.Policy, p *engine.Provider, e rules.Event, account string, at time.Time) *engine.Notice {
	e.Provider, e.Protocol, e.Now = "shop", "http", at
	if e.Attempt == 0 {
		e.Attempt = 1
	}
	d := p.Decide(engine.State{}, &e, 0.5)
	return &engine.Notice{Kind: engine.NoticeDecision, Time: at, Provider: "shop", Account: account, Event: &e, Decision: &d, Before: new(engine.State), Policy: pol}
}

func recorder(t testing.TB, o Options) *Recorder {
	t.Helper()
	if o.File == "" {
		o.File = filepath.Join(t.TempDir(), "errors.jsonl")
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// What must not be written is not, and what is left out is named.
func TestRedacted(t *testing.T) {
	pol, p := load(t)
	const account = "anna@example.com"
	for _, tt := range []struct {
		name  string
		e     rules.Event
		never []string // are not in the line
		want  []string // are
		not   []string // the facts that were not recorded
	}{
		{"an address", rules.Event{Status: 404, Message: "no mailbox of anna@example.com, nor of bob.b@mail.example.org."},
			[]string{"anna", "bob.b", "example.com", "example.org"}, []string{"u-", "@hidden.invalid, nor of u-", `"replay":true`}, []string{"message"}},
		{"a token", rules.Event{Status: 401, Message: "Invalid token ya29.a0AfH6SMBx7Zk3Qw9 for x"}, []string{"AfH6SMBx7Zk3Qw9"}, []string{"Invalid token", "for x"}, []string{"message"}},
		{"a token as a code", rules.Event{Status: 401, Codes: []string{"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"}}, []string{"eyJhbGci"}, []string{`"codes":["…"]`}, []string{"codes"}},
		{"a URL", rules.Event{Status: 404, Message: "see https://user:pw@api.example/a?key=hidden#frag now"}, []string{"pw@", "key=", "frag"}, []string{"https://api.example/a now"}, []string{"message"}},
		{"a header that no rule reads", rules.Event{Status: 404, Header: map[string][]string{"X-Other": {"other"}, "Set-Cookie": {"sid=1"}}}, []string{"other", "sid", "X-Other", "Cookie"}, []string{`"X-Reason":[]`}, nil},
		{"a secret header that a rule reads", rules.Event{Status: 418, Header: map[string][]string{"X-Api-Key": {"s3cr3t-k3y"}}}, []string{"s3cr3t"}, []string{`"replay":false`, `"rule":"secret"`}, nil},
		{"a header that a rule reads", rules.Event{Status: 404, Header: map[string][]string{"X-Reason": {"full"}, "Retry-After": {"7"}}}, nil, []string{`"X-Reason":["full"]`, `"Retry-After":["7"]`}, nil},
		{"a body that does not matter", rules.Event{Status: 404, Body: "private words"}, []string{"private", `"body"`}, nil, nil},
		{"a body that matters", rules.Event{Status: 500, Body: "a teapot of anna@example.com"}, []string{"anna"}, []string{"a teapot of u-"}, []string{"body"}},
		{"a body that might have mattered", rules.Event{Status: 500, Body: "no such word"}, nil, []string{"no such word", `"rule":"server-error"`}, nil},
		{"an empty body", rules.Event{Status: 500}, nil, []string{`"body":""`}, nil},
		{"a fact", rules.Event{Status: 404, Facts: map[string]string{"box": "inbox of anna@example.com", "user": "anna@example.com"}}, []string{"anna"}, []string{`"user":"u-`}, []string{"facts.box", "facts.user"}},
		{"a long message", rules.Event{Status: 404, Message: strings.Repeat("word ", 2000)}, nil, nil, []string{"message"}},
		{"a long fact", rules.Event{Status: 404, Facts: map[string]string{"box": strings.Repeat("é", 2000)}}, nil, nil, []string{"facts.box"}},
		{"no UTF-8", rules.Event{Status: 404, Message: "caf\xe9"}, nil, []string{`caf\ufffd`}, []string{"message"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := recorder(t, Options{})
			r.Observe(t.Context(), notice(pol, p, tt.e, account, noon))
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			line := read(t, r.o.File)
			for _, secret := range append(tt.never, account) {
				if strings.Contains(line, secret) {
					t.Errorf("given %+v\ngot  %s\nwith %q", tt.e, line, secret)
				}
			}
			for _, want := range tt.want {
				if !strings.Contains(line, want) {
					t.Errorf("given %+v\ngot  %s\nwithout %q", tt.e, line, want)
				}
			}
			var rec corpus.Record
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatal(err)
			}
			if strings.Join(rec.NotRecorded, " ") != strings.Join(tt.not, " ") {
				t.Errorf("given %+v\nnot recorded %v, want %v", tt.e, rec.NotRecorded, tt.not)
			}
			if len(line) > 20_000 {
				t.Errorf("the line has %d bytes", len(line))
			}
		})
	}
}

// Where what was taken away has decided, the line says so.
func TestRedactionThatDecides(t *testing.T) {
	set, found := policy.Load([]policy.File{{Name: "x.yaml", Data: []byte(`
version: 1
provider: shop
rules:
  - {name: postmaster, when: message contains "postmaster@", action: fail, as: mine}
default: fail
`)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	eng, err := engine.New(engine.Options{Policies: set})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	pol, _ := set.Policy("shop")
	p, _ := eng.Provider("shop")
	r := recorder(t, Options{})
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 500, Message: "write to postmaster@example.com"}, "", noon))
	r.Close()
	if line := read(t, r.o.File); !strings.Contains(line, `"not_recorded":["message"]`) || !strings.Contains(line, `"replay":false`) || strings.Contains(line, "postmaster@") {
		t.Errorf("got %s, want that the message was not recorded", line)
	}
}

// The same key gives the same pseudonyms, another one others.
func TestPseudonyms(t *testing.T) {
	pol, p := load(t)
	var accounts []string
	for _, key := range []string{"a key", "a key", "another", "", ""} {
		o := Options{}
		if key != "" {
			o.Key = []byte(key)
		}
		r := recorder(t, o)
		r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "anna@example.com", noon))
		r.Close()
		var rec corpus.Record
		if err := json.Unmarshal([]byte(read(t, r.o.File)), &rec); err != nil {
			t.Fatal(err)
		}
		accounts = append(accounts, rec.Account)
	}
	if accounts[0] != accounts[1] || len(accounts[0]) < 16 {
		t.Errorf("with one key: %q and %q, want the same", accounts[0], accounts[1])
	}
	seen := map[string]bool{}
	for _, a := range accounts[1:] {
		if seen[a] {
			t.Errorf("%q twice in %q, want one for each key", a, accounts)
		}
		seen[a] = true
	}
}

func TestSampled(t *testing.T) {
	for _, tt := range []struct {
		name              string
		o                 Options
		failures, minutes int
		want              int
	}{
		{"few", Options{}, 10, 1, 10},
		{"many", Options{}, 1010, 1, 20},
		{"in each minute anew", Options{}, 10, 5, 50},
		{"no more at all", Options{OneIn: -1}, 5000, 2, 20},
		{"other numbers", Options{PerMinute: 2, OneIn: 4}, 10, 1, 4},
		{"one in so many goes on over minutes", Options{PerMinute: 1, OneIn: 10}, 6, 10, 10 + 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pol, p := load(t)
			tt.o.Queue = 10_000
			r := recorder(t, tt.o)
			for minute := range tt.minutes {
				for range tt.failures {
					r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon.Add(time.Duration(minute)*time.Minute)))
				}
			}
			// Another rule has its own.
			r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 503}, "a", noon))
			r.Close()
			s := r.Stats()
			total := uint64(tt.failures*tt.minutes + 1)
			if s.Written != uint64(tt.want)+1 || s.Seen != total || s.Sampled != total-s.Written || s.Dropped+s.Failed > 0 || s.Err != nil {
				t.Errorf("got %+v, want %d written of %d", s, tt.want+1, total)
			}
		})
	}
}

func TestSamplerIsBounded(t *testing.T) {
	s := sampler{perMinute: 1, oneIn: 100}
	for i := range 3 * maxSamples {
		s.take("shop", fmt.Sprint(i), noon)
	}
	if len(s.rules) > maxSamples+1 {
		t.Errorf("%d rules are counted, want at most %d", len(s.rules), maxSamples+1)
	}
}

// Nothing but failures that were decided is written.
func TestWhatIsNoFailure(t *testing.T) {
	pol, p := load(t)
	r := recorder(t, Options{})
	for kind := range engine.NoticeManyFacts + 2 {
		if kind != engine.NoticeDecision {
			n := notice(pol, p, rules.Event{Status: 404}, "a", noon)
			n.Kind = kind
			r.Observe(t.Context(), n)
		}
	}
	r.Observe(t.Context(), &engine.Notice{Kind: engine.NoticeDecision})
	r.Observe(t.Context(), &engine.Notice{Kind: engine.NoticeDecision, Event: &rules.Event{}, Decision: &engine.Decision{}})
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 200}, "a", noon))
	r.Close()
	if s := r.Stats(); s.Seen != 0 || s.Written != 0 {
		t.Errorf("got %+v, want nothing", s)
	}
}

// The files stay within their size and number, and the newest lines are there.
func TestRotated(t *testing.T) {
	pol, p := load(t)
	o := Options{File: filepath.Join(t.TempDir(), "deep", "er", "errors.jsonl"), MaxBytes: 1, MaxFiles: 3, PerMinute: 1 << 30, Queue: 4000}
	r := recorder(t, o)
	for range 2000 {
		r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404, Message: strings.Repeat("word ", 20)}, "a", noon))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s := r.Stats()
	if s.Written != 2000 || s.Rotated < 5 {
		t.Errorf("got %+v, want 2000 lines in more than 5 files", s)
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(o.File), "*"))
	if len(names) != 3 {
		t.Errorf("the files are %v, want 3", names)
	}
	for _, name := range names {
		if n := len(read(t, name)); n > minFileBytes || n == 0 {
			t.Errorf("%s has %d bytes, want at most %d", name, n, minFileBytes)
		}
	}
	if last := read(t, o.File); !strings.Contains(last, fmt.Sprintf(`"id":"%s-2000"`, r.prefix)) {
		t.Error("the last line is not in the first file")
	}
	if _, err := os.Stat(r.log.older(2)); err != nil {
		t.Error(err)
	}
	// Fewer files are wanted: those beyond go.
	o.MaxFiles = 1
	r = recorder(t, o)
	for range 500 {
		r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404, Message: strings.Repeat("word ", 20)}, "a", noon))
	}
	r.Close()
	if names, _ = filepath.Glob(filepath.Join(filepath.Dir(o.File), "*")); len(names) != 1 || r.Stats().Rotated == 0 {
		t.Errorf("the files are %v, want 1 that was begun anew: %+v", names, r.Stats())
	}
}

// What is there is gone on with, and half a line spoils no other.
func TestGoesOn(t *testing.T) {
	pol, p := load(t)
	o := Options{File: filepath.Join(t.TempDir(), "errors.jsonl")}
	if err := os.WriteFile(o.File, []byte("{\"id\":\"old\"}\n{\"id\":\"cut sho"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := recorder(t, o)
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon))
	r.Close()
	lines := strings.Split(read(t, o.File), "\n")
	if len(lines) != 4 || lines[0] != `{"id":"old"}` || lines[1] != `{"id":"cut sho` || !json.Valid([]byte(lines[2])) || lines[3] != "" {
		t.Errorf("got %q, want the two lines that were there and a new one", lines)
	}
}

func TestNewErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", dir, filepath.Join(file, "errors.jsonl")} {
		if r, err := New(Options{File: path}); err == nil || r != nil || !strings.HasPrefix(err.Error(), "record: ") {
			t.Errorf("New(%q) = %v, %v; want an error", path, r, err)
		}
	}
}

// A disk that fails costs lines, which are counted, and no call; when it works again,
// lines are written again.
func TestDiskFails(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be moved away")
	}
	pol, p := load(t)
	dir := filepath.Join(t.TempDir(), "log")
	var mu sync.Mutex
	var told []error
	r := recorder(t, Options{File: filepath.Join(dir, "errors.jsonl"), MaxBytes: 1, PerMinute: 1 << 30, OnError: func(err error) {
		mu.Lock()
		told = append(told, err)
		mu.Unlock()
	}})
	write := func(n int, until func(Stats) bool) {
		for range n {
			r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404, Message: strings.Repeat("word ", 500)}, "a", noon))
		}
		for !until(r.Stats()) {
			runtime.Gosched()
		}
	}
	write(5, func(s Stats) bool { return s.Written == 5 })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no folder can be made there
		t.Fatal(err)
	}
	write(200, func(s Stats) bool { return s.Written+s.Failed == 205 })
	s := r.Stats()
	mu.Lock()
	if s.Failed < 100 || s.Err == nil || len(told) == 0 || len(told) > 10 {
		t.Errorf("got %+v and told %d times, want some that failed, and to be told once in a while", s, len(told))
	}
	mu.Unlock()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	write(10, func(now Stats) bool { return now.Written == s.Written+10 })
	if err := r.Close(); err == nil || r.Close() == nil {
		t.Error("Close returned nil, want the latest error")
	}
}

// While nothing can be written, Observe goes on, and what does not fit is counted.
func TestNeverWaits(t *testing.T) {
	pol, p := load(t)
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := recorder(t, Options{PerMinute: 1 << 30, Queue: 8, OnError: func(error) {
		once.Do(func() { close(stuck) })
		<-release
	}})
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon))
	for r.Stats().Written == 0 {
		runtime.Gosched()
	}
	r.log.f.Close() // behind its back
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon))
	<-stuck
	for range 100 {
		r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon))
	}
	if s := r.Stats(); s.Dropped != 92 {
		t.Errorf("got %+v, want 92 dropped", s)
	}
	close(release)
	r.Close()
	if s := r.Stats(); s.Written+s.Failed != 10 {
		t.Errorf("got %+v, want 10 that were written or failed", s)
	}
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon))
	if s := r.Stats(); s.Dropped != 93 {
		t.Errorf("after Close: got %+v, want 93 dropped", s)
	}
}

// What waits to be written is bounded in bytes too.
func TestQueueIsBounded(t *testing.T) {
	pol, p := load(t)
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := recorder(t, Options{PerMinute: 1 << 30, Queue: 1 << 20, OnError: func(error) {
		once.Do(func() { close(stuck) })
		<-release
	}})
	r.log.f.Close()
	r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 404}, "a", noon))
	<-stuck
	body := strings.Repeat("x", 64<<10)
	for range 1000 {
		r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 500, Body: body}, "a", noon))
	}
	if queued := r.queued.Load(); queued > maxQueuedBytes+128<<10 {
		t.Errorf("%d bytes are queued, want about %d", queued, maxQueuedBytes)
	}
	if s := r.Stats(); s.Dropped < 800 {
		t.Errorf("got %+v, want most dropped", s)
	}
	close(release)
}

// Many calls and a Close at once: each failure is written, left out, or counted as lost.
func TestConcurrent(t *testing.T) {
	pol, p := load(t)
	before := runtime.NumGoroutine()
	r := recorder(t, Options{PerMinute: 100, Queue: 64, MaxBytes: 1})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				r.Observe(t.Context(), notice(pol, p, rules.Event{Status: 400 + i%100, Codes: []string{fmt.Sprint(g)}}, fmt.Sprint(i), noon))
				if g == 0 && i == 400 {
					r.Close()
				}
				r.Stats()
			}
		})
	}
	wg.Wait()
	r.Close()
	if s := r.Stats(); s.Seen != 4000 || s.Written+s.Failed+s.Dropped+s.Sampled != s.Seen || s.Failed > 0 {
		t.Errorf("got %+v, want all 4000 accounted for", s)
	}
	for until := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(until); {
		runtime.Gosched() // the last one may have a few steps left
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	for line := range bytes.Lines([]byte(read(t, r.o.File))) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// Observe keeps nothing of the notice: what it points to may change at once.
func TestObserveCopies(t *testing.T) {
	pol, p := load(t)
	r := recorder(t, Options{})
	n := notice(pol, p, rules.Event{Status: 404, Codes: []string{"first"}, Facts: map[string]string{"box": "first"}, Header: map[string][]string{"X-Reason": {"first"}}}, "a", noon)
	r.Observe(t.Context(), n)
	n.Event.Codes[0], n.Event.Facts["box"], n.Event.Header["X-Reason"][0] = "changed", "changed", "changed"
	*n.Event, *n.Decision, *n.Before = rules.Event{}, engine.Decision{}, engine.State{Attempts: 9}
	r.Close()
	if line := read(t, r.o.File); strings.Contains(line, "changed") || strings.Count(line, "first") != 3 || strings.Contains(line, `"state"`) {
		t.Errorf("got %s, want what was there when it was observed", line)
	}
}

func TestCloseTells(t *testing.T) {
	r := recorder(t, Options{})
	r.log.f.Close()
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close = %v, want %v", err, os.ErrClosed)
	}
}

// What a line costs in the goroutine of a call.
func BenchmarkObserve(b *testing.B) {
	pol, p := load(b)
	n := notice(pol, p, rules.Event{Status: 404, Codes: []string{"notFound"}, Message: "no such thing", Header: map[string][]string{"Retry-After": {"7"}}}, "anna@example.com", noon)
	for _, perMinute := range []int{1, 1 << 30} {
		b.Run(fmt.Sprintf("per-minute=%d", perMinute), func(b *testing.B) {
			r := recorder(b, Options{PerMinute: perMinute, OneIn: -1})
			b.ReportAllocs()
			for b.Loop() {
				r.Observe(b.Context(), n)
			}
		})
	}
}
