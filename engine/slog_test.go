package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

const secret = "s3cr3t-t0k3n-0123456789"

// observed runs calls of every ending, with secrets wherever a request or a
// response can carry one, and a reload, a shadow and a nested retry.
func observed(t *testing.T, o Observer) {
	const yaml = overLoop + "breaker: {failures: 50, open: 30s, probes: 1}\n"
	broken := &url.Error{Op: "Post", URL: "https://id.test/token?refresh_token=" + secret, Err: io.ErrUnexpectedEOF}
	refresh := error(nil)
	e := testEngine(t, Options{Observer: o, Rand: func() float64 { return 0 }, Recent: 100,
		Authorize: func(r *http.Request, _ string) error {
			r.Header.Set("Authorization", "Bearer "+secret)
			return nil
		},
		Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return refresh }}}, yaml)
	e.Shadow(loadPolicies(t, overLoop+"remove: [server]\nrules: [{name: unavailable, when: status >= 500, action: retry, backoff: default}]\n"))
	run := func(account string, limit time.Duration, rs ...reply) {
		for i := range rs {
			rs[i].body = fmt.Sprintf(`{"error":{"code":"x","message":"token %s is bad"},"access_token":%q}`, secret, secret)
			if rs[i].header == "" {
				rs[i].header = "Set-Cookie: session=" + secret
			}
		}
		ctx := t.Context()
		if limit > 0 {
			var cancel func()
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		req := request(t, ctx, "POST", "/mark?key="+secret, "password="+secret)
		ending(e.Transport(newServer(rs...)).RoundTrip(req.WithContext(WithAccount(ctx, account))))
		time.Sleep(2 * time.Minute)
	}
	reset := &url.Error{Op: "Post", URL: "https://ann:" + secret + "@api.test/?key=" + secret, Err: errors.New("connection reset by peer (Authorization: Bearer " + secret + ")")}
	run("ok", 0, reply{status: 200})
	run("retried", 0, reply{status: 503}, reply{err: reset})
	run("asked", 0, reply{status: 429, header: "Retry-After: 5"})
	run("accepted", 0, reply{status: 410})
	run("failed", 0, reply{status: 400})
	run("exhausted", 0, reply{err: reset}, reply{err: reset}, reply{err: reset}, reply{err: reset})
	run("deadline", time.Millisecond, reply{status: 503})
	run("deferred", 0, reply{status: 429, header: "Retry-After: 600"})
	run("renewed", 0, reply{status: 401, header: `WWW-Authenticate: Bearer error="invalid_token", claims="` + secret + `"`})
	refresh = broken
	run("broken", 0, reply{status: 401})
	refresh = RetryAfter(time.Second, broken)
	run("later", 0, reply{status: 401}, reply{status: 401})
	for range 2 {
		ending(e.Transport(newServer(reply{status: 404})).RoundTrip(request(t, t.Context(), "GET", "/items/1", "")))
	}
	load(t, e, yaml+"backoff: {default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 5, elapsed: 10m}}\n")
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "test.yaml"), []byte("version: 1\nprovider: test\n"), 0o600)
	go e.Watch(ctx, WatchOptions{Dir: dir})
	time.Sleep(time.Minute)
	cancel()
	synctest.Wait()
	for _, r := range e.Recent() {
		if text := fmt.Sprintf("%+v %+v %+v", r, r.Event, r.Decision); strings.Contains(text, secret) {
			t.Errorf("remembered: %s", text)
		}
	}
}

// Every kind of notice comes, each with the policy's version and, where
// something was decided, the rule.
func TestObserverIsToldEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &notices{}
		observed(t, seen)
		for k := NoticeAttempt; k <= NoticeLeak; k++ {
			ns := seen.of(k)
			if len(ns) == 0 && k != NoticeLeak { // TestLeakedBodyIsReported
				t.Errorf("no %v", k)
			}
			for _, n := range ns {
				if n.Time.IsZero() || n.Version == "" || n.Provider != "test" && k != NoticeReload {
					t.Errorf("%v: time %v, provider %q, version %q", k, n.Time, n.Provider, n.Version)
				}
				switch k {
				case NoticeReload, NoticeNested, NoticeLeak:
					continue
				case NoticeAttempt:
					if n.Event == nil { // a success
						continue
					}
				}
				if n.Decision == nil || n.Decision.Rule == nil || n.Decision.Rule.Name == "" {
					t.Errorf("%v of %s: %+v has no rule", k, n.Account, n.Decision)
				}
			}
		}
	})
}

// One record a decision, without secrets.
func TestLogObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		l := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		decisions := map[string]int{}
		observed(t, Observers{LogObserver(l), ObserverFunc(func(_ context.Context, n *Notice) {
			if n.Kind == NoticeDecision {
				decisions[n.Account]++
			}
		})})
		text := buf.String()
		if strings.Contains(text, secret) {
			t.Errorf("a secret is in the log:\n%s", text)
		}
		records := map[string][]string{}
		for line := range strings.Lines(text) {
			account, level, msg := field(line, "account"), field(line, "level"), field(line, "msg")
			records[account] = append(records[account], level+" "+msg)
			if account != "" && (field(line, "rule") == "" || field(line, "policy_version") == "" || field(line, "action") == "") && !strings.Contains(msg, "retried again above") {
				t.Errorf("no rule, version or action: %s", line)
			}
		}
		for account, want := range map[string]string{
			"ok":        "[]",
			"retried":   "[DEBUG retrying DEBUG retrying]",
			"asked":     "[DEBUG retrying]",
			"accepted":  "[DEBUG accepted]",
			"failed":    "[WARN gave up]",
			"exhausted": "[DEBUG retrying DEBUG retrying DEBUG retrying WARN gave up]",
			"deadline":  "[WARN gave up]",
			"deferred":  "[INFO deferred]",
			"renewed":   "[DEBUG re-authenticated]",
			"broken":    "[WARN gave up]",
			"later":     "[DEBUG retrying DEBUG re-authenticated]",
		} {
			got := fmt.Sprint(records[account])
			if account == "later" {
				continue // below
			}
			if got != want || len(records[account]) != decisions[account] {
				t.Errorf("%s: %d decisions, logged %s, want %s", account, decisions[account], got, want)
			}
		}
		if n := len(records["later"]); n == 0 || n != decisions["later"] {
			t.Errorf("later: %d decisions, logged %v", decisions["later"], records["later"])
		}
		if got := fmt.Sprint(records[""]); got != "[INFO policies reloaded ERROR policies not reloaded]" {
			t.Errorf("of the engine itself: %s", got)
		}
	})
}

// A success whose body was looked into is no decision either.
func TestLogObserverIsQuietOnSuccess(t *testing.T) {
	var buf bytes.Buffer
	l := slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug}))
	yaml := overLoop + "inspect: [{status: 200}]\n"
	decisions := 0
	e := testEngine(t, Options{Observer: Observers{LogObserver(l), ObserverFunc(func(_ context.Context, n *Notice) {
		if n.Kind == NoticeDecision {
			decisions++
		}
	})}}, yaml)
	for _, status := range []int{200, 410} { // 410 is accepted by a rule
		resp, err := e.Transport(newServer(reply{status: status, body: `{"ok":true}`})).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if lines := strings.Split(strings.TrimSpace(buf.String()), "\n"); decisions != 2 || len(lines) != 1 || field(lines[0], "rule") != "gone" {
		t.Errorf("%d decisions, logged\n%s\nwant the one of the 410", decisions, buf.String())
	}
}

// Answers that are ordinary in sync work are no warnings; those for which somebody has
// to act are, whatever their status.
func TestLogObserverLevels(t *testing.T) {
	label := func(status int, as string) string {
		return fmt.Sprintf("rules: [{name: own, when: status == %d, action: fail, as: %s}]\n", status, as)
	}
	for _, tt := range []struct {
		name   string
		policy string // in place of the rules of http
		method string
		status int
		cancel bool
		want   string
	}{
		{name: "deleted meanwhile", status: 404, want: "DEBUG"},
		{name: "deleted for good", status: 410, want: "DEBUG"},
		{name: "changed meanwhile", method: "PUT", status: 412, want: "DEBUG"},
		{name: "in conflict", method: "PUT", status: 409, want: "DEBUG"},
		{name: "404, permanent", policy: label(404, "permanent"), status: 404, want: "DEBUG"},
		{name: "404, a label of the policy's own", policy: label(404, "base_gone"), status: 404, want: "DEBUG"},
		{name: "the history is gone", policy: label(404, "resync"), status: 404, want: "DEBUG"},
		{name: "the sync token is bad", policy: label(400, "resync"), status: 400, want: "DEBUG"},
		{name: "nothing to fetch", policy: label(403, "skip"), status: 403, want: "DEBUG"},
		{name: "404, the user has to act", policy: label(404, "needs_user"), status: 404, want: "WARN"},
		{name: "410, who runs the workers has to act", policy: label(410, "operator"), status: 410, want: "WARN"},
		{name: "412, somebody has to look", policy: label(412, "ambiguous"), status: 412, want: "WARN"},
		{name: "404, repeated until it was too often", policy: "rules: [{name: own, when: status == 404, action: retry}]\n", status: 404, want: "WARN"},
		{name: "a bad request", status: 400, want: "WARN"},
		{name: "may have happened", method: "POST", status: 503, want: "WARN"},
		{name: "canceled", status: 503, cancel: true, want: "INFO"},
		{name: "not modified", status: 304, want: ""},
	} {
		for _, way := range []string{"Transport", "Do"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var buf bytes.Buffer
					file := policy.File{Name: "levels.yaml", Data: []byte("version: 1\nprovider: levels\nextends: [http]\nmatch: [{host: api.test}]\n" + tt.policy)}
					set, diags := policy.Load([]policy.File{file}, policy.LoadOptions{Over: policy.Builtin()})
					if err := diags.Err(); err != nil {
						t.Fatal(err)
					}
					e, err := New(Options{Policies: set, Observer: LogObserver(slog.New(slog.NewTextHandler(&buf, &slog.HandlerOptions{Level: slog.LevelDebug})))})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if tt.cancel {
						time.AfterFunc(time.Millisecond, cancel)
					}
					method := cmp.Or(tt.method, "GET")
					if way == "Do" {
						_ = e.Do(ctx, Call{Provider: "levels", Method: method}, func(context.Context) error {
							if tt.status < 400 {
								return nil
							}
							return &ResponseError{Status: tt.status}
						})
					} else {
						answers := slices.Repeat([]reply{{status: tt.status}}, 10)
						ending(e.Transport(newServer(answers...)).RoundTrip(request(t, ctx, method, "/items/1", "")))
					}
					got := ""
					for line := range strings.Lines(buf.String()) {
						if field(line, "msg") == "gave up" {
							got += field(line, "level")
						}
					}
					if got != tt.want {
						t.Errorf("%s answered %d: logged %q, want %q in\n%s", method, tt.status, got, tt.want, buf.String())
					}
				})
			})
		}
	}
}

// Whatever a provider, or an Options.Classify, calls a failure, a record is short.
func TestLogObserverIsBrief(t *testing.T) {
	long := strings.Repeat("é", 30) + "ab" + strings.Repeat("€", 20_000) // 62 bytes, and two of the next rune's three
	for _, tt := range []struct {
		attr string
		e    rules.Event
		want string
	}{
		{"code", rules.Event{Status: 400, Codes: []string{long}}, "…"},
		{"imap_status", rules.Event{Protocol: "imap", IMAPStatus: long}, "…"},
		{"network", rules.Event{Network: long}, "…"},
		{"as", rules.Event{Status: 400}, long[:62]},
	} {
		t.Run(tt.attr, func(t *testing.T) {
			var buf bytes.Buffer
			e := testEngine(t, Options{
				Observer: LogObserver(slog.New(slog.NewJSONHandler(&buf, nil))),
				Classify: func(_ error, e *rules.Event) bool { *e = tt.e; return true },
			})
			err := errors.New("failed")
			if tt.attr == "as" {
				err = &GiveUpError{Decision: Decision{As: long}, Err: err}
			}
			if err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}, func(context.Context) error { return err }); err == nil {
				t.Fatal("no error")
			}
			var record map[string]any
			if err := json.Unmarshal(buf.Bytes(), &record); err != nil {
				t.Fatalf("%v of %d bytes of log", err, buf.Len())
			}
			if got, want := record[tt.attr], tt.want; got != want || buf.Len() > 1000 {
				t.Errorf("a record of %d bytes, %s=%q, want %q", buf.Len(), tt.attr, got, want)
			}
		})
	}
}

// field is an attribute of a line that slog's TextHandler wrote.
func field(line, key string) string {
	_, rest, ok := strings.Cut(" "+line, " "+key+"=")
	if !ok {
		return ""
	}
	if strings.HasPrefix(rest, `"`) {
		v, _, _ := strings.Cut(rest[1:], `"`)
		return v
	}
	v, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return v
}
