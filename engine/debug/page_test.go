package debug

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// The parts of the policy of the tests: see shopPolicy.
const (
	shopTop = `version: 1
provider: shop
extends: [http]
match: [{host: shop.example}]
extract:
  codes: [{json: error.code}]
  message: [{json: error.message}]
`
	shopLimits = `limits:
  - {name: requests, key: account, rate: 10/s, burst: 20}
  - {name: inflight, key: account, concurrency: 2}
  - {name: project, key: app, quota: 100000/1h}
  - {name: sending, key: account, operations: [send]}
`
	shopRules = `breaker: {key: host, failures: 3, open: 30s}
budget: {key: account, ratio: 0.1, min: 1/s}
rules:
  - {name: sending-quota, when: status == 429 and "SEND_QUOTA" in codes, action: wait, max_wait: 30m, hold: sending}
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m, hold: requests}
  - {name: signed-out, when: status == 401, action: reauth}
  - {name: gone, when: status == 404, action: fail, as: gone}
`
)

// shopPolicy returns the policies of the tests, over the built-in ones, with these limits and
// with more rules behind the usual ones.
func shopPolicy(t testing.TB, limits, more string) *policy.Set {
	t.Helper()
	text := shopTop + limits + shopRules + more + "default: fail\n"
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(text)}}, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		t.Fatal(found.Err())
	}
	return set
}

// shopSet returns the policies of the tests with more rules.
func shopSet(t testing.TB, more string) *policy.Set {
	t.Helper()
	return shopPolicy(t, shopLimits, more)
}

// world is an engine with its page.
type world struct {
	t      testing.TB
	engine *engine.Engine
	page   http.Handler
}

func newWorld(t testing.TB, o Options, eo engine.Options) *world {
	t.Helper()
	if eo.Policies == nil {
		eo.Policies = shopSet(t, "")
	}
	eng, err := engine.New(eo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { eng.Close() })
	return &world{t, eng, Handler(eng, o)}
}

// answer is what the provider answers, with a status, a body and headers in pairs.
func (w *world) answer(ctx context.Context, status int, body string, header ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		resp := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
		for i := 0; i < len(header); i += 2 {
			resp.Header.Set(header[i], header[i+1])
		}
		return w.engine.CheckResponse(ctx, resp)
	}
}

// call makes a call that the provider answers.
func (w *world) call(account, operation string, status int, body string, header ...string) error {
	return w.do(account, operation, w.answer(w.t.Context(), status, body, header...))
}

func (w *world) do(account, operation string, fn func(context.Context) error) error {
	return w.to("shop.example", account, operation, fn)
}

func (w *world) to(host, account, operation string, fn func(context.Context) error) error {
	c := engine.Call{Provider: "shop", Method: "GET", Keys: limiter.Keys{Account: account, Operation: operation, Host: host, App: "sync"}}
	return w.engine.Do(w.t.Context(), c, fn)
}

// request is one from this machine.
func request(method, target string, form url.Values) *http.Request {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, target, body)
	r.RemoteAddr, r.Host = "127.0.0.1:50000", "localhost:6060"
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func (w *world) serve(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	w.page.ServeHTTP(rec, r)
	return rec
}

// get is the text of a page.
func (w *world) get(target string) string {
	w.t.Helper()
	rec := w.serve(request("GET", "/debug/recourse/"+target, nil))
	if rec.Code != http.StatusOK {
		w.t.Fatalf("GET %s: status %d: %s", target, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// json reads a table.
func (w *world) json(target string, into any) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.get(target)), into); err != nil {
		w.t.Fatalf("GET %s: %v", target, err)
	}
}

var spaces, tags = regexp.MustCompile(`\s+`), regexp.MustCompile(`<[^>]*>`)

// section is the text of one section of a page, without tags.
func section(page, id string) string {
	_, after, found := strings.Cut(page, `<section id="`+id+`"`)
	if !found {
		return ""
	}
	_, after, _ = strings.Cut(after, ">")
	inner, _, _ := strings.Cut(after, "</section>")
	return strings.TrimSpace(spaces.ReplaceAllString(tags.ReplaceAllString(inner, " "), " "))
}

var errRefused = errors.New("dial tcp 10.0.0.1:443: connect: connection refused")

// The page says why an account waits, when it resumes, and what happened to it last: by its
// name, by its pseudonym, in HTML and in JSON.
func TestAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, engine.Options{})
		var later *engine.DeferError
		if err := w.call("ann@example.com", "send", 429, `{"error": {"code": "SEND_QUOTA"}}`, "Retry-After", "600"); !errors.As(err, &later) {
			t.Fatalf("got %v, want a deferral", err)
		}
		page := w.get("?account=ann@example.com")
		if strings.Contains(strings.ReplaceAll(page, `value="ann@example.com"`, ""), ">ann@") {
			t.Error("the page shows the account's name")
		}
		text := section(page, "result")
		for _, want := range []string{"held", "It resumes", "in 10 min", "shop: sending", "rule sending-quota", "status 429", "SEND_QUOTA", "handed back for 10 min"} {
			if !strings.Contains(text, want) {
				t.Errorf("the account's section lacks %q:\n%s", want, text)
			}
		}
		var v accountView
		w.json("account.json?account="+url.QueryEscape("ann@example.com"), &v)
		if v.State != "held" || v.Resumes.Sub(v.Time) < 10*time.Minute || len(v.Limits) != 1 || v.Limits[0].Cause.Rule != "sending-quota" || len(v.Events) < 2 {
			t.Errorf("account.json says %+v", v)
		}
		var same accountView
		w.json("account.json?account="+v.Account, &same)
		if same.Account != v.Account || same.State != v.State || len(same.Events) != len(v.Events) {
			t.Errorf("by its pseudonym: %+v, want what its name finds: %+v", same, v)
		}
		var other accountView
		w.json("account.json?account=bob", &other)
		if other.State != "free" || len(other.Events) != 0 {
			t.Errorf("an account that nothing happened to: %+v", other)
		}
	})
}

// The answer says whether the account itself waits, and for what.
func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, engine.Options{})
		p, err := w.engine.Provider("shop")
		if err != nil {
			t.Fatal(err)
		}
		in := func(d time.Duration) time.Time { return time.Now().Add(d) }
		ann := limiter.Keys{Account: "ann"}
		hold := func(limit string, k limiter.Keys, d time.Duration) func() func() {
			return func() func() {
				if err := p.Hold(limit, k, in(d)); err != nil {
					t.Fatal(err)
				}
				return func() { _ = p.Lift(limit, k) }
			}
		}
		waits := func(account string) func() func() {
			return func() func() {
				undo := hold("project", limiter.Keys{App: "sync"}, 30*time.Second)()
				if account != "" {
					undo()
					undo = hold("requests", limiter.Keys{Account: account}, 30*time.Second)()
				}
				go func() { _ = w.call(cmp.Or(account, "bob"), "get", 200, "{}") }()
				synctest.Wait()
				return func() { undo(); synctest.Wait() }
			}
		}
		pause := func(d time.Duration) func() func() {
			return func() func() {
				until := time.Time{}
				if d > 0 {
					until = in(d)
				}
				_ = w.engine.PauseAccount("ann", until, "")
				return func() { _ = w.engine.ResumeAccount("ann") }
			}
		}
		for _, tt := range []struct {
			name    string
			do      func() func()
			state   string
			says    string
			resumes time.Duration // from now on; 0 = not known
		}{
			{"nothing", func() func() { return func() {} }, "free", "Nothing that this process knows", 0},
			{"a limit of its own is held", hold("sending", ann, time.Hour), "held", "the next call that needs it", time.Hour},
			{"somebody else's limit is held", hold("sending", limiter.Keys{Account: "bob"}, time.Hour), "free", "Nothing", 0},
			{"a shared limit is held", hold("project", limiter.Keys{App: "sync"}, time.Hour), "held", "shares with other accounts", time.Hour},
			{"its own call waits", waits("ann"), "waiting", "Calls are waiting for a limit.", 30 * time.Second},
			{"somebody's call waits for a shared limit", waits(""), "waiting", "whose they are is not known", 30 * time.Second},
			{"paused for a time", pause(time.Minute), "paused", "It is paused.", time.Minute},
			{"paused for good", pause(0), "paused", "until somebody resumes it", 0},
		} {
			undo := tt.do()
			w.page.(*handler).changed()
			var v accountView
			w.json("account.json?account=ann", &v)
			resumes := time.Duration(0)
			if !v.Resumes.IsZero() {
				resumes = v.Resumes.Sub(v.Time).Round(time.Second)
			}
			if v.State != tt.state || !strings.Contains(v.Says, tt.says) || resumes != tt.resumes {
				t.Errorf("%s: got %s, %q, resumes in %v; want %s, %q, %v", tt.name, v.State, v.Says, resumes, tt.state, tt.says, tt.resumes)
			}
			undo()
		}
		long := strings.Repeat("x", 1<<20)
		if page := w.get("?account=" + long); len(page) > 200<<10 {
			t.Errorf("a search for a megabyte is answered by %d bytes", len(page))
		}
	})
}

// watcher writes down what the observer is told.
type watcher struct{ told *[]string }

func (w *watcher) Observe(_ context.Context, n *engine.Notice) {
	*w.told = append(*w.told, strings.TrimSpace(n.Kind.String()+" "+n.Limit))
}
