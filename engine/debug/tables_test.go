package debug

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
	"github.com/recourse-go/recourse/policy"
)

// busy is a world in which something stands in every table.
func busy(t *testing.T, o Options) *world {
	t.Helper()
	w := newWorld(t, o, engine.Options{
		Store: storetest.NewMemory(time.Now),
		Reauth: engine.Reauth{Refresh: func(context.Context, engine.ReauthRequest) error {
			return errors.New("invalid_grant for s3cr3t-t0k3n")
		}},
	})
	w.engine.Shadow(shopSet(t, "  - {name: vanished, when: status == 404 and method == \"GET\", action: fail, as: vanished, override: true}\n"))
	_ = w.call("ann@example.com", "send", 429, `{"error": {"code": "SEND_QUOTA", "message": "Slow down"}}`, "Retry-After", "600")
	_ = w.call("bob@example.com", "get", 404, `{"error": {"message": "there is no order ya29.s3cr3t"}}`)
	_ = w.call("cid@example.com", "get", 401, `{}`)
	_ = w.call("dan@example.com", "get", 200, `{}`)
	for range 4 { // the last one finds the breaker open
		_ = w.to("down.example", "eve@example.com", "get", func(context.Context) error { return engine.Permanent(errRefused) })
	}
	if err := w.engine.PauseAccount("fay@example.com", time.Now().Add(time.Hour), "the migration of fay@example.com"); err != nil {
		t.Fatal(err)
	}
	// A call that waits for a slot for two seconds.
	var calls []chan struct{}
	for i := range 3 {
		end := make(chan struct{})
		calls = append(calls, end)
		go func() {
			_ = w.do("gus@example.com", "get", func(context.Context) error { <-end; return nil })
		}()
		synctest.Wait()
		_ = i
	}
	time.Sleep(2 * time.Second)
	close(calls[0])
	synctest.Wait()
	if err := w.engine.Replace(shopSet(t, "")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // past what was looked at before
	t.Cleanup(func() {
		close(calls[1])
		close(calls[2])
		synctest.Wait()
	})
	return w
}

// Each table stands on the page and is there as JSON, by stable names.
func TestTables(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busy(t, Options{})
		defer w.engine.Close()
		page := w.get("")
		for _, tt := range []struct {
			table, section string
			texts          []string // on the page
			fields         []string // of the JSON
		}{
			{"summary", "summary", []string{"Keys held 1", "Accounts paused 1", "Credentials failing 1"}, []string{`"held": 1`, `"paused": 1`, `"failures_last_five_minutes": 3`, `"bad_credentials": 1`}},
			{"held", "held", []string{"shop: sending", "rule sending-quota", "status 429", "SEND_QUOTA", "in 10 min"}, []string{`"provider": "shop"`, `"limit": "sending"`, `"state": "held"`, `"held_until": "`, `"rule": "sending-quota"`, `"code": "SEND_QUOTA"`, `"status": 429`, `"operation": "send"`, `"account": "u-`, `"waiting": 0`, `"in_flight": 0`}},
			{"fullest", "fullest", []string{"shop: inflight", "2 / 2", "100 %"}, []string{`"limit": "inflight"`, `"used": 1`, `"in_flight": 2`, `"concurrency": 2`, `"level": 0`, `"state": "full"`, `"factor": 1`}},
			{"waits", "waits", []string{"shop: inflight", "0"}, []string{`"waiting_now": 0`, `"waits": `, `"seconds": `, `"longest_seconds": `, `"handed_back": 0`, `"points": [`}},
			{"decisions", "decisions", []string{"shop: sending-quota", "shop: gone", "fail as gone", "HTTP 404 Not Found"}, []string{`"rule": "gone"`, `"policy": "shop"`, `"last_five_minutes": 1`, `"total": 1`, `"action": "fail"`, `"as": "gone"`, `"reason": "the rule says so"`, `"failure": "HTTP 404 Not Found`}},
			{"breakers", "breakers", []string{"host down.example", "open"}, []string{`"by": "host"`, `"key": "down.example"`, `"state": "open"`, `"until": "`}},
			{"budgets", "budgets", []string{"shop", "account u-"}, []string{`"by": "account"`, `"retries": `, `"most": 10`}},
			{"credentials", "credentials", []string{"refused", "shop"}, []string{`"state": "refused"`, `"failures": 1`, `"failure": "`}},
			{"pauses", "pauses", []string{"in 60 min", "the migration of u-"}, []string{`"since": "`, `"until": "`, `"reason": "the migration of u-`}},
			{"policies", "policies", []string{"shop", "differ"}, []string{`"policy": "shop"`, `"version": "`, `"rules": `, `"limits": `, `"shadowed": true`, `"compared": `, `"different": 1`}},
			{"shadow", "shadow", []string{"fail as gone (gone)", "fail as vanished (vanished)"}, []string{`"live": "fail as gone (gone)"`, `"candidate": "fail as vanished (vanished)"`, `"status": 404`}},
			{"reloads", "reloads", []string{"the policies were replaced"}, []string{`"kind": "reload"`, `"says": "the policies were replaced`}},
			{"fleet", "fleet", []string{"Processes", "Grants"}, []string{`"members": `, `"outage_seconds": 0`, `"share": 1`, `"grants": `, `"refusals": `}},
			{"events", "events", []string{"paused", "replaced"}, []string{`"kind": "paused"`, `"at": "`}},
		} {
			text := section(page, tt.section)
			for _, want := range tt.texts {
				if !strings.Contains(text, want) {
					t.Errorf("section %s lacks %q:\n%s", tt.section, want, text)
				}
			}
			answer := w.get(tt.table + ".json")
			if !json.Valid([]byte(answer)) {
				t.Errorf("%s.json is not JSON", tt.table)
			}
			for _, want := range tt.fields {
				if !strings.Contains(answer, want) {
					t.Errorf("%s.json lacks %s:\n%s", tt.table, want, answer)
				}
			}
			if tt.table != "summary" && !strings.Contains(page, `href="`+tt.table+`.json"`) {
				t.Errorf("the page has no link to %s.json", tt.table)
			}
		}
		for name := range tables {
			if !strings.Contains(page, `<section id="`+name+`"`) {
				t.Errorf("table %s has no section", name)
			}
		}
	})
}

// Nothing on the page or in its JSON names an account or shows a secret, unless accounts
// are shown.
func TestHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, show := range []bool{false, true} {
			w := busy(t, Options{ShowAccounts: show, Actions: true})
			pages := []string{"", "rule?policy=shop&rule=sending-quota", "rule?policy=shop&rule=gone", "rule.json?policy=shop&rule=gone"}
			for name := range tables {
				pages = append(pages, name+".json")
			}
			pseudonym := w.page.(*handler).names.account("ann@example.com")
			if !show {
				pages = append(pages, "?account="+pseudonym, "account.json?account="+pseudonym)
			}
			named := 0
			for _, target := range pages {
				text := w.get(target)
				if strings.Contains(text, "s3cr3t") {
					t.Errorf("%s shows a secret", target)
				}
				if strings.Contains(text, "@example.com") {
					named++
					if !show {
						at := strings.Index(text, "@example.com")
						t.Errorf("%s names an account: …%s", target, text[max(0, at-60):at+12])
					}
				}
			}
			if show && named == 0 {
				t.Error("accounts are to be shown, and are not")
			}
			w.engine.Close()
		}
	})
}

// Each rule opens the explanation of its latest decision.
func TestExplanation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := busy(t, Options{})
		defer w.engine.Close()
		page := w.get("")
		link := "rule?policy=shop&amp;rule=sending-quota"
		if !strings.Contains(page, `href="`+link+`"`) {
			t.Fatalf("the page does not link to %s", link)
		}
		text := spaces.ReplaceAllString(tags.ReplaceAllString(w.get(html.UnescapeString(link)), " "), " ")
		for _, want := range []string{"wait", "status 429", "SEND_QUOTA", "shop.yaml:", "hold sending", "max_wait: 30m", "retry_after", "10m", "If every attempt ends like this one"} {
			if !strings.Contains(html.UnescapeString(text), want) && !strings.Contains(text, strings.ReplaceAll(want, "status 429", "status")) {
				t.Errorf("the explanation lacks %q:\n%s", want, text)
			}
		}
		if strings.Contains(text, "decides otherwise") {
			t.Errorf("the explanation says that the policy decides otherwise:\n%s", text)
		}
		var x explanation
		w.json("rule.json?policy=shop&rule=gone", &x)
		if x.Explained == nil || x.Explained.Rule.Name != "gone" || x.Explained.Decision.As != "gone" || x.Explained.Rule.Text == "" || len(x.Explained.Passed) == 0 {
			t.Errorf("rule.json: %+v", x)
		}
		own := w.get("rule?policy=shop&rule=breaker&own=1")
		if !strings.Contains(own, "one of the engine") {
			t.Errorf("a rule of the engine's own: %s", own)
		}
		if rec := w.serve(request("GET", "/x/rule?policy=shop&rule=nosuch", nil)); rec.Code != 404 {
			t.Errorf("a rule that has decided nothing: status %d, want 404", rec.Code)
		}
	})
}

// Names and messages from outside are text, and nothing else, wherever they stand.
func TestHostile(t *testing.T) {
	const evil = `"><img src=x onerror=alert(1)>'</script><script>alert(2)</script>{{.}}` + "\u202e\x00\xff`${1}"
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []Options{{}, {ShowAccounts: true, Actions: true}} {
			set, found := policy.Load([]policy.File{{Name: "evil.yaml", Data: []byte(fmt.Sprintf(`version: 1
provider: evil
protocol: http
extract:
  codes: [{json: code}]
  message: [{json: message}]
backoff: {default: {initial: 1s, max: 64s, attempts: 6}}
limits:
  - {name: %[1]q, key: [account, host, app], concurrency: 1}
rules:
  - {name: %[2]q, when: status == 429, action: wait, max_wait: 1h, hold: %[1]q}
default: fail
`, `javascript:l@1`, `javascript:r$-/../x`))}}, policy.LoadOptions{})
			if set == nil {
				t.Fatal(found.Err())
			}
			w := newWorld(t, o, engine.Options{Policies: set})
			body, _ := json.Marshal(map[string]string{"code": evil, "message": evil})
			c := engine.Call{Provider: "evil", Method: evil, Keys: limiter.Keys{Account: evil, Host: evil, App: evil, Operation: evil}}
			_ = w.engine.Do(t.Context(), c, w.answer(t.Context(), 429, string(body), "Retry-After", "1800"))
			if err := w.engine.PauseAccount(evil, time.Time{}, evil); err != nil {
				t.Fatal(err)
			}
			// Names of policies, rules and limits are checked where they are read; the page does not rely on it.
			w.page.(*handler).seen.Observe(t.Context(), &engine.Notice{
				Kind: engine.NoticeGiveUp, Time: time.Now(), Provider: evil, Account: evil, Limit: evil, Err: errors.New(evil),
				Decision: &engine.Decision{As: evil, Rule: &engine.Rule{Policy: evil, Name: evil}},
			})
			w.page.(*handler).seen.Observe(t.Context(), &engine.Notice{Kind: engine.NoticeQueued, Time: time.Now(), Provider: evil, Limit: evil, Duration: time.Hour})
			pages := []string{"rule?policy=" + url.QueryEscape(evil) + "&rule=" + url.QueryEscape(evil), "", "?account=" + url.QueryEscape(evil), "rule?policy=evil&rule=" + url.QueryEscape("javascript:r$-/../x"), "?done=" + url.QueryEscape(evil)}
			for _, target := range pages {
				text := w.get(target)
				for _, no := range []string{"<img src=x", "<script>alert", "\u202e", "\x00", "l<b>"} {
					if strings.Contains(text, no) && !(no == "\u202e" && strings.Contains(target, "account=")) {
						at := strings.Index(text, no)
						t.Errorf("%s has %q: …%s", target, no, text[max(0, at-80):at+20])
					}
				}
			}
			for name := range tables {
				rec := w.serve(request("GET", "/"+name+".json", nil))
				if text := rec.Body.String(); strings.ContainsAny(text, "<>\x00") || !json.Valid([]byte(text)) || rec.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%s.json: %s", name, text)
				}
			}
			if text := w.get("account.json?account=" + url.QueryEscape(evil)); strings.ContainsAny(text, "<>") {
				t.Errorf("account.json: %s", text)
			}
			w.engine.Close()
		}
	})
}

// A page stays small, and looking at it bounded, however many keys, rules and accounts there are.
func TestBounded(t *testing.T) {
	w := manyKeys(t, 100_000)
	h := w.page.(*handler)
	for i := range 5000 {
		account := fmt.Sprintf("account-%d", i)
		for range 3 {
			h.seen.Observe(t.Context(), &engine.Notice{
				Kind: engine.NoticeDecision, Time: time.Now(), Provider: "shop", Account: account, Operation: fmt.Sprint("operation-", i),
				Decision: &engine.Decision{Action: policy.Fail, Rule: &engine.Rule{Policy: "shop", Name: fmt.Sprint("rule-", i)}},
			})
			h.seen.Observe(t.Context(), &engine.Notice{Kind: engine.NoticeQueued, Time: time.Now(), Provider: "shop", Limit: fmt.Sprint("limit-", i), Duration: time.Hour})
			h.seen.Observe(t.Context(), &engine.Notice{Kind: engine.NoticePaused, Time: time.Now(), Account: account})
		}
	}
	page := w.get("")
	if n := strings.Count(page, "<tr"); len(page) > 400<<10 || n > 14*(maxRows+2) {
		t.Errorf("the page has %d bytes and %d rows", len(page), n)
	}
	for _, want := range []string{"950 more are not shown", "1\u202f998 more are not shown"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	accounts := 0
	for i := range h.seen.accounts.shards {
		sh := &h.seen.accounts.shards[i].rings
		accounts += len(sh.young) + len(sh.old)
	}
	if accounts > 2*accountShards*shardAccounts || accounts < accountShards*shardAccounts {
		t.Errorf("%d accounts' events are remembered", accounts)
	}
	if n := len(h.seen.rules.rules); n != maxRules {
		t.Errorf("%d rules are told apart, want %d", n, maxRules)
	}
	if n := len(h.seen.waits.limits); n > maxWaitLimits+1 {
		t.Errorf("%d limits are told apart", n)
	}
	if n := len(h.seen.engine.values); n != maxEngineEvents {
		t.Errorf("%d events are remembered, want %d", n, maxEngineEvents)
	}
	var v accountView
	w.json("account.json?account=mailbox-500@example.com", &v)
	if len(v.Limits) != 1 || v.Limits[0].Limit != "sending" {
		t.Errorf("an account among 100,000: %+v", v)
	}
}

// Before anything has happened the page is there too.
func TestEmpty(t *testing.T) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, eng, Handler(eng, Options{})}
	page := w.get("")
	for _, want := range []string{"Nothing is held.", "No key is in use.", "Nothing has failed since the page was mounted.", "there is no store"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for name := range tables {
		if text := w.get(name + ".json"); strings.Contains(text, "null") {
			t.Errorf("%s.json has a null: %s", name, text)
		}
	}
	eng.Close()
	w.page.(*handler).changed()
	if page := w.get(""); !strings.Contains(page, "The engine is closed.") {
		t.Error("the page does not say that the engine is closed")
	}
}
