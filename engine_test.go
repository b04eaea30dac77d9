package recourse_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The acceptance tests: what a sync team relies on, through the public API
// alone. The providers are those of engine/enginetest, which misbehave at seeded
// rates and keep count of what a client does to them; time is virtual.

// worker syncs one provider's mailboxes through an engine's transport.
type worker struct {
	server   *enginetest.Server
	provider string // named by its calls; "" = the host is claimed
	client   *http.Client
	mu       sync.Mutex
	lost     []string
	synced   int
	gone     int
}

func newWorker(t *testing.T, s *enginetest.Server) *worker {
	t.Helper()
	tokens := enginetest.NewTokens(s)
	eng, err := engine.New(engine.Options{
		Reauth: engine.Reauth{
			Interval: time.Second, // these tokens live for a few requests
			Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
				return tokens.Renew(ctx, r.Account)
			},
		},
		Authorize: tokens.Authorize,
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{server: s, client: &http.Client{Transport: eng.Transport(enginetest.NewTransport(s))}}
	if eng.Policies().Lookup(s.Host(), "/") == nil {
		w.provider = s.Name()
	}
	return w
}

// do makes a request and returns the body of a success.
func (w *worker) do(ctx context.Context, mailbox string, req *http.Request) ([]byte, int, engine.Result, error) {
	resp, err := w.client.Do(req.WithContext(engine.WithCall(ctx, engine.Call{Provider: w.provider, Keys: limiter.Keys{Account: mailbox}})))
	if err != nil {
		return nil, 0, engine.Result{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	out, _ := engine.Outcome(resp)
	return b, resp.StatusCode, out, err
}

// sync fetches every message of every mailbox, and sends a few.
func (w *worker) sync(ctx context.Context, workers, sends int) {
	type item struct {
		mailbox, id string
		send        bool
	}
	var items []item
	for _, m := range w.server.Mailboxes() {
		for page, more := "", true; more; more = page != "" {
			b, status, out, err := w.do(ctx, m, w.server.ListRequest(m, page))
			ids, next, perr := w.server.ParseList(b)
			if err != nil || status != 200 || perr != nil {
				w.lost = append(w.lost, fmt.Sprintf("list of %s: HTTP %d, %v, %v", m, status, err, out.Decision.Reason))
				break
			}
			for _, id := range ids {
				items = append(items, item{m, id, false})
			}
			page = next
		}
		for i := range sends {
			items = append(items, item{m, fmt.Sprintf("acceptance-%d.%s", i, m), true})
		}
	}
	work := make(chan item)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for it := range work {
				var ok, gone bool
				var why string
				if it.send {
					ok, why = w.send(ctx, it.mailbox, it.id)
				} else {
					b, status, out, err := w.do(ctx, it.mailbox, w.server.GetRequest(it.mailbox, it.id))
					m, perr := w.server.ParseMessage(b)
					gone = status == 404
					ok = gone || err == nil && status == 200 && perr == nil && m.ID == it.id
					why = fmt.Sprintf("HTTP %d, %v, rule %v: %v", status, err, out.Decision.Rule, out.Decision.Reason)
				}
				w.mu.Lock()
				switch {
				case !ok:
					w.lost = append(w.lost, fmt.Sprintf("%s of %s: %s", it.id, it.mailbox, why))
				case gone:
					w.gone++
				default:
					w.synced++
				}
				w.mu.Unlock()
			}
		})
	}
	for _, it := range items {
		work <- it
	}
	close(work)
	wg.Wait()
}

// send sends a message; where the outcome is ambiguous it looks before it sends again.
func (w *worker) send(ctx context.Context, mailbox, id string) (bool, string) {
	why := ""
	for range 5 {
		_, status, out, err := w.do(ctx, mailbox, w.server.SendRequest(mailbox, id))
		if err == nil && status < 300 {
			return true, ""
		}
		why = fmt.Sprintf("HTTP %d as %q, %v", status, out.Decision.As, err)
		var gave *engine.GiveUpError
		ambiguous := out.Decision.As == engine.AsAmbiguous || errors.As(err, &gave) && gave.Decision.As == engine.AsAmbiguous
		if !ambiguous {
			return false, why
		}
		b, status, _, err := w.do(ctx, mailbox, w.server.FindRequest(mailbox, id))
		if err != nil || status != 200 {
			return false, fmt.Sprintf("looking for it: HTTP %d, %v", status, err)
		}
		ids, _, err := w.server.ParseList(b)
		if err != nil {
			return false, err.Error()
		}
		if len(ids) > 0 {
			return true, ""
		}
	}
	return false, why
}

// Nothing is lost, nothing is sent twice, no limit is crossed, and nobody comes
// back before the provider said, whatever the provider does.
func TestSyncStaysInsideEveryLimit(t *testing.T) {
	for _, provider := range []struct {
		name string
		make func(enginetest.Options) *enginetest.Server
	}{
		{"gmail", enginetest.NewGmail},
		{"microsoft_graph", enginetest.NewGraph},
		{"nylas_v3", enginetest.NewNylas},
		{"warpflow", enginetest.NewWarpflow},
	} {
		for _, seed := range []uint64{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/seed=%d", provider.name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := provider.make(enginetest.Options{Seed: seed, Mailboxes: 2, Messages: 80})
					s.FailOnEarlyReturn(t)
					w := newWorker(t, s)
					w.sync(t.Context(), 24, 3)

					c := s.Counts()
					if len(w.lost) > 0 {
						t.Errorf("lost %d: %s", len(w.lost), strings.Join(w.lost, "\n"))
					}
					if want := 2 * (80 + 3); w.synced+w.gone != want {
						t.Errorf("synced %d and found %d deleted, want %d in all", w.synced, w.gone, want)
					}
					if c.DuplicateSends != 0 {
						t.Errorf("%d messages were sent twice", c.DuplicateSends)
					}
					if c.ConcurrencyLimit > 0 && c.PeakConcurrency > c.ConcurrencyLimit {
						t.Errorf("%d requests at once for one mailbox, the limit is %d", c.PeakConcurrency, c.ConcurrencyLimit)
					}
					if c.UnitsLimit > 0 && c.PeakUnitsPerSecond > c.UnitsLimit {
						t.Errorf("%d units in one second for one mailbox, the limit is %d", c.PeakUnitsPerSecond, c.UnitsLimit)
					}
					if c.RefusedTotal() == 0 {
						t.Error("the provider refused nothing: the test proves nothing")
					}
				})
			})
		}
	}
}

// The same error means different things to different operations, and every
// decision names its rule.
func TestDecideByProvider(t *testing.T) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		event  rules.Event
		action policy.Action
		as     string
	}{
		{"history is gone", rules.Event{Provider: "gmail", Operation: "history.list", Status: 404, Codes: []string{"notFound"}}, policy.Fail, engine.AsResync},
		{"a message is gone", rules.Event{Provider: "gmail", Operation: "messages.get", Status: 404, Codes: []string{"notFound"}}, policy.Fail, "gone"},
		{"a quota in a 403", rules.Event{Provider: "gmail", Operation: "messages.get", Status: 403, Codes: []string{"rateLimitExceeded"}}, policy.Retry, ""},
		{"not ready", rules.Event{Provider: "nylas_v3", Operation: "messages.list", Status: 202}, policy.Retry, ""},
		{"concurrency", rules.Event{Provider: "microsoft_graph", Operation: "messages.list", Status: 429, Codes: []string{"ApplicationThrottled"}}, policy.Retry, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := eng.Provider(tt.event.Provider)
			if err != nil {
				t.Fatal(err)
			}
			e := tt.event
			e.Protocol, e.Method, e.Sent, e.Idempotent = "http", "GET", true, true
			d := p.Decide(engine.State{}, &e, 0.5)
			if d.Action != tt.action || d.As != tt.as {
				t.Errorf("Decide(%+v)\n got %v as %q by rule %q\nwant %v as %q", e, d.Action, d.As, d.Rule.Name, tt.action, tt.as)
			}
		})
	}
}

// A broken policy is refused as a whole, with everything that is wrong in it.
func TestBrokenPolicyIsRefused(t *testing.T) {
	set, diags := policy.Load([]policy.File{{Name: "mine.yaml", Data: []byte(`version: 1
provider: mine
rules:
  - {name: a, when: statsu == 404, action: fail}
  - {name: a, when: status == 500, action: retry}
`)}}, policy.LoadOptions{})
	if set != nil {
		t.Fatal("a broken policy was loaded")
	}
	var text bytes.Buffer
	for _, d := range diags {
		fmt.Fprintln(&text, d)
	}
	for _, want := range []string{"mine.yaml:4:", "status", "mine.yaml:5:", "default"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the diagnostics do not mention %q:\n%s", want, &text)
		}
	}
}

// The README's code compiles, its policies load, and its table is complete.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range regexp.MustCompile("(?ms)^```(go|yaml)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		t.Run(fmt.Sprintf("%s-%d", m[1], i), func(t *testing.T) {
			if m[1] == "yaml" {
				set, diags := policy.Load([]policy.File{{Name: "README.md", Data: []byte(m[2])}}, policy.LoadOptions{Over: policy.Builtin()})
				if set == nil || len(diags) > 0 {
					t.Errorf("%v in\n%s", diags, m[2])
				}
				return
			}
			// The block stands, for the compiler, in a folder of this module.
			dir := t.TempDir()
			code, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
			here, err := filepath.Abs("internal/readme/main.go")
			if err != nil {
				t.Fatal(err)
			}
			places, err := json.Marshal(map[string]any{"Replace": map[string]string{here: code}})
			if err != nil {
				t.Fatal(err)
			}
			for name, data := range map[string][]byte{code: []byte(m[2]), overlay: places} {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", os.DevNull, "./internal/readme").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	for _, p := range policy.Builtin().Policies() {
		if !strings.Contains(string(text), "`"+p.Name+"`") {
			t.Errorf("the table of policies lacks %q", p.Name)
		}
	}
}

// TestImports holds the graph of packages, so that the leaves stay leaves and a
// user of the limiter alone does not build an expression language.
func TestImports(t *testing.T) {
	const module = "github.com/recourse-go/recourse"
	for _, tt := range []struct {
		pkg       string
		forbidden []string
		why       string
	}{
		{"rules", []string{module + "/policy", module + "/limiter", module + "/engine", "net/http", "go.yaml.in/yaml/v3", "github.com/tidwall/gjson"},
			"rules match plain events: nothing about files, requests or limits"},
		{"rules/internal/fact", []string{"github.com/expr-lang/expr", module + "/rules"},
			"reading a fact needs no expression language"},
		{"internal/required", []string{module + "/rules", module + "/policy", module + "/engine"},
			"what a regular expression needs is the same for rules and for extractors"},
		{"limiter", []string{module + "/rules", module + "/policy", module + "/engine", "net/http", "github.com/expr-lang/expr", "go.yaml.in/yaml/v3"},
			"the limiter is of use without a policy, and must not know one"},
		{"policy", []string{module + "/engine", module + "/engine/classify", module + "/limiter", "net/http", "github.com/cenkalti/backoff/v4"},
			"a policy is data: reading one must not bring in what runs it"},
		{"internal/extract", []string{module + "/policy", module + "/engine", module + "/limiter", "net/http"},
			"where a fact stands in a reply is the same for who reads the policy and for who reads the reply"},
		{"engine/classify", []string{module + "/engine", module + "/limiter", "github.com/cenkalti/backoff/v4"},
			"classification says what happened, not what to do"},
		{"engine/internal/decision", []string{module + "/engine", module + "/engine/classify", module + "/limiter", "github.com/cenkalti/backoff/v4"},
			"what to do is decided from an event and a state alone"},
		{"engine/internal/credential", []string{module, module + "/engine", module + "/rules", module + "/policy", "net/http"},
			"whose credential it is and how it is refreshed is told to it"},
		{"engine", []string{module + "/internal/demo", module + "/internal/corpus", module + "/internal/suite", module + "/internal/explain", module + "/internal/h2test", module + "/internal/telemetry", module + "/engine/enginetest", "testing"},
			"the library does not depend on its own demo, nor on test code"},
		{"engine/enginetest", []string{module + "/engine", module + "/policy", module + "/rules", module + "/limiter", module + "/internal", "testing"},
			"the fake providers know nothing of who calls them; package testing is kept out of the demo"},
	} {
		t.Run(tt.pkg, func(t *testing.T) {
			out, err := exec.Command("go", "list", "-deps", "./"+tt.pkg).Output()
			if err != nil {
				t.Fatalf("go list: %v", err)
			}
			for _, dep := range strings.Fields(string(out)) {
				if slices.ContainsFunc(tt.forbidden, func(f string) bool {
					return dep == f || f == module+"/internal" && strings.HasPrefix(dep, f)
				}) {
					t.Errorf("%s imports %s: %s", tt.pkg, dep, tt.why)
				}
			}
		})
	}
}

// TestCommandLibrary holds that who uses a package does not build the library
// that the command stands on: only the command imports it.
func TestCommandLibrary(t *testing.T) {
	const command = "github.com/recourse-go/recourse/cmd/recourse"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := false
	for line := range strings.Lines(string(out)) {
		pkg, deps, _ := strings.Cut(line, " ")
		uses := strings.Contains(deps, "github.com/spf13/")
		if pkg == command {
			found = uses
		} else if uses {
			t.Errorf("%s imports github.com/spf13/…, by itself or by another package; only %s may", pkg, command)
		}
	}
	if !found {
		t.Errorf("%s does not import github.com/spf13/…: is this test still of use?", command)
	}
}
