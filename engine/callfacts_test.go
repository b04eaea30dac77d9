package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

const tablesYAML = `
version: 1
provider: tables
default: fail
match: [{host: api.test}]
extract: {facts: {folder: []}}
operations:
  - {path: '/v0/meta/bases', operation: bases.list}
  - {path: '/v0/{base}/{table}', operation: records.list}
backoff: {default: {initial: 1s, max: 64s, jitter: none, attempts: 6}}
limits:
  - {name: base, key: [account, base], rate: 1/s, burst: 1}
  - {name: table, key: [base, table]}
  - {name: folder, key: [account, folder], rate: 1/s, burst: 1}
rules:
  - {name: frozen, when: status == 403 and facts.base == "appX", action: fail, as: frozen, hold: {limit: base, for: 1h}}
  - {name: table-gone, when: status == 404 and facts.table != "", action: fail, as: gone}
  - {name: accepted, when: status == 202 and facts.base == "appX", action: fail, as: not_ready}
  - {name: inbox, when: status == 550 and facts.folder == "INBOX", action: fail, as: inbox}
`

// TestFactKeys holds that limits count by the facts that a path names: each value apart,
// and a request that lacks one not at all.
func TestFactKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, tablesYAML)
		tr := e.Transport(newServer())
		for _, tt := range []struct {
			path string
			want time.Duration // since the beginning
		}{
			{"/v0/appX/a", 0},
			{"/v0/appY/a", 0},
			{"/v0/app%2FX/a", 0},
			{"/v0/meta/bases", 0},
			{"/v0/meta/bases", 0},
			{"/v0/appX/b", time.Second},
			{"/v0/APPX/b", time.Second},
			{"/v0/appX/a", 2 * time.Second},
			{"/other", 2 * time.Second},
		} {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", tt.path, ""))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := time.Since(synctestEpoch); got != tt.want {
				t.Errorf("%s went out after %v, want %v", tt.path, got, tt.want)
			}
		}
	})
}

var synctestEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestCallFacts holds that facts of the call are facts of the event, and that Do counts by
// those that its caller gives.
func TestCallFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, tablesYAML)
		for _, tt := range []struct {
			path   string
			status int
			as     string
		}{
			{"/v0/appY/a", 403, AsPermanent},
			{"/v0/appX/a", 404, "gone"},
			{"/v0/appX/a", 202, "not_ready"},
			{"/v0/appX/a", 403, "frozen"},
			{"/v0/meta/bases", 404, AsPermanent},
		} {
			resp, err := e.Transport(newServer(reply{status: tt.status}, reply{status: tt.status})).RoundTrip(request(t, t.Context(), "GET", tt.path, ""))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if out, _ := Outcome(resp); out.Decision.As != tt.as {
				t.Errorf("given %d of %s: got %q by %v, want %q", tt.status, tt.path, out.Decision.As, out.Decision.Rule, tt.as)
			}
		}
		p, err := e.Provider("tables")
		if err != nil {
			t.Fatal(err)
		}
		for base, held := range map[string]bool{"appX": true, "appY": false} {
			keys := limiter.Keys{Account: "a", Facts: limiter.FactKeys(map[string]string{"base": base})}
			if st := p.Limiter().Peek("base", keys); st.Held.IsZero() == held {
				t.Errorf("%s: held until %v, want %t", base, st.Held, held)
			}
		}

		start := time.Now()
		for i, folder := range []string{"INBOX", "Sent", "INBOX", ""} {
			err := e.Do(t.Context(), Call{Provider: "tables", Keys: limiter.Keys{Account: "a"}, Facts: map[string]string{"folder": folder}}, func(context.Context) error {
				if folder == "INBOX" && i > 0 {
					return &ResponseError{Status: 550}
				}
				return nil
			})
			if gave, ok := errors.AsType[*GiveUpError](err); i == 2 && (!ok || gave.Decision.As != "inbox") {
				t.Errorf("given a failure in the inbox: %v", err)
			}
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s: each folder is counted apart", took)
		}

		// CheckResponse finds those that the path names.
		for _, tt := range []struct {
			path   string
			status int
			as     string
		}{{"/v0/appX/a", 404, "gone"}, {"/v0/appX/a", 202, "not_ready"}, {"/v0/meta/bases", 404, AsPermanent}} {
			err := e.Do(t.Context(), Call{Provider: "tables", Keys: limiter.Keys{Account: "b"}}, func(ctx context.Context) error {
				resp, err := newServer(reply{status: tt.status}).RoundTrip(request(t, ctx, "GET", tt.path, ""))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return e.CheckResponse(ctx, resp)
			})
			if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != tt.as {
				t.Errorf("CheckResponse of %d to %s: %v, want %s", tt.status, tt.path, err, tt.as)
			}
		}

		// The items of a batch have the facts of their call.
		items := []classify.BatchItem{{Event: rules.Event{Protocol: "http", Status: 550, Sent: true}}}
		b := p.DecideBatch(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, Facts: map[string]string{"folder": "INBOX"}}, time.Time{}, items, nil)
		if b.Items[0].As != "inbox" {
			t.Errorf("given a batch: %q, want inbox", b.Items[0].As)
		}
	})
}

// TestManyFacts holds that an account has a bounded number of values with keys of their
// own, and that the observer is told once.
func TestManyFacts(t *testing.T) {
	told := 0
	e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
		if n.Kind == NoticeManyFacts {
			told++
			if n.Account != "a" || n.Provider != "tables" {
				t.Errorf("told of %q of %q", n.Account, n.Provider)
			}
		}
	})}, tablesYAML)
	p, err := e.Provider("tables")
	if err != nil {
		t.Fatal(err)
	}
	keysOf := func(account, folder string) string {
		call := Call{Keys: limiter.Keys{Account: account}, Facts: map[string]string{"folder": folder}}
		return p.factKeys(t.Context(), p.current(), &call)
	}
	seen := map[string]bool{}
	for i := range 12_000 {
		seen[keysOf("a", fmt.Sprint(i))] = true
	}
	if len(seen) != 10_001 {
		t.Errorf("12000 values have %d keys, want 10000 and one for all others", len(seen))
	}
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
	if !seen[keysOf("a", "7")] || keysOf("a", "11999") != keysOf("a", "11998") {
		t.Error("a value's key has changed")
	}
	if keysOf("b", "1") == keysOf("b", "2") {
		t.Error("another account has too few keys")
	}
	if long := keysOf("b", strings.Repeat("x", 5000)); len(long) > 300 {
		t.Errorf("a key of %d bytes", len(long))
	}
}
