package suite

import (
	"context"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// What extends an IMAP policy is IMAP to everything: a FETCH that was lost is
// repeated, and a reply is read as one.
func TestHeirOfIMAP(t *testing.T) {
	set, ds := policy.Load([]policy.File{{Name: "mail.yaml", Data: []byte("version: 1\nprovider: mail\nextends: gmail_imap\n")}}, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		t.Fatal(ds.Err())
	}
	const lost = `{"provider": "mail", "operation": "UID FETCH", "network_error": "unexpected EOF"}`
	const full = `{"provider": "mail", "operation": "FETCH", "body": "a NO [OVERQUOTA] Account exceeded command or bandwidth limits."}`

	t.Run("Do", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			e, err := engine.New(engine.Options{Policies: set})
			if err != nil {
				t.Fatal(err)
			}
			p, err := e.Provider("mail")
			if err != nil {
				t.Fatal(err)
			}
			tries := 0
			err = p.Do(t.Context(), engine.Call{Keys: limiter.Keys{Account: "a", Operation: "UID FETCH"}}, func(context.Context) error {
				if tries++; tries == 1 {
					return io.ErrUnexpectedEOF
				}
				return nil
			})
			if tries != 2 || err != nil {
				t.Errorf("given a lost FETCH: tried %d times, %v; want 2, nil", tries, err)
			}
		})
	})
	t.Run("Decide", func(t *testing.T) {
		e, err := engine.New(engine.Options{Policies: set})
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Provider("mail")
		if err != nil {
			t.Fatal(err)
		}
		ev := rules.Event{Operation: "UID FETCH"}
		classify.Error(p.Policy(), &classify.Failure{Err: io.ErrUnexpectedEOF}, &ev)
		ev.Idempotent = classify.Idempotent(p.Policy(), ev.Protocol, ev.Method, ev.Operation, nil)
		if d := p.Decide(engine.State{}, &ev, 0); ev.Protocol != "imap" || d.Action != policy.Retry {
			t.Errorf("given a lost FETCH: %s of %s, want retry of imap", d.Action, ev.Protocol)
		}
	})
	d, err := corpus.NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ given, rule, action string }{{lost, "network", "retry"}, {full, "bandwidth", "retry"}} {
		t.Run("decide", func(t *testing.T) {
			c, err := corpus.ParseCase([]byte(tt.given))
			if err != nil {
				t.Fatal(err)
			}
			if a, err := d.Decide(&c); err != nil || a.Rule != tt.rule || a.Action != tt.action {
				t.Errorf("given %s: got %s by %s, %v; want %s by %s", tt.given, a.Action, a.Rule, err, tt.action, tt.rule)
			}
		})
		t.Run("explain", func(t *testing.T) {
			c, err := corpus.ParseEvent([]byte(tt.given))
			if err != nil {
				t.Fatal(err)
			}
			x, err := explain.Explain(d, &c)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(x.Facts, func(f explain.Fact) bool { return f.Name == "protocol" && f.Value == "imap" }) || x.Rule.Name != tt.rule {
				t.Errorf("given %s: got rule %s and facts %v, want rule %s and protocol imap", tt.given, x.Rule.Name, x.Facts, tt.rule)
			}
		})
	}
	t.Run("suite", func(t *testing.T) {
		s, ds := Parse(policy.File{Name: "mail_test.yaml", Data: []byte(`version: 1
provider: mail
cases:
  - {name: lost, given: {operation: UID FETCH, network_error: unexpected EOF}, want: {rule: network, action: retry, idempotent: true}}
  - {name: full, given: {operation: FETCH, body: 'a NO [OVERQUOTA] Account exceeded command or bandwidth limits.'}, want: {rule: bandwidth}}
`)})
		if s == nil {
			t.Fatal(ds.Err())
		}
		r, err := Run(set, []*Suite{s}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Tests {
			if len(c.Failures) > 0 {
				t.Errorf("%s: %+v", c.Name, c.Failures)
			}
		}
	})
}
