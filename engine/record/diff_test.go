package record_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/record"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/diff"
	"github.com/recourse-go/recourse/policy"
)

// changes are what somebody may add to a policy.
var changes = []string{
	`when: message contains "e", action: fail, as: needs_user`,
	`when: body contains "e", action: fail`,
	`when: 'len(codes) > 0 and not (message contains "limit")', action: retry, replay: safe`,
	`when: 'status == 403 and header("X-Other") == ""', action: wait, hint: ignore`,
	`when: 'status >= 500 and message == ""', action: accept`,
	`when: 'message contains "example" or message matches "[0-9a-f]{12}"', action: fail, as: own`,
}

// What diff says of recorded failures is what it says of the responses themselves, or that
// it is not known.
func TestDiffOfRecords(t *testing.T) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	sure, unknown := 0, 0
	bySuite := suites(t)
	for i, provider := range slices.Sorted(maps.Keys(bySuite)) {
		cases := bySuite[provider]
		pol, _ := policy.Builtin().Policy(provider)
		p, err := eng.Provider(provider)
		if err != nil {
			t.Fatal(err)
		}
		// The responses as lines, and what is recorded of them.
		path := filepath.Join(t.TempDir(), "errors.jsonl")
		rec, err := record.New(record.Options{File: path, PerMinute: 1 << 30, Queue: 1 << 15})
		if err != nil {
			t.Fatal(err)
		}
		var whole []string
		for _, c := range cases {
			if c.Status == 0 && c.IMAPStatus == "" || c.Facts.Codes != nil || c.Facts.Message != nil || c.Facts.Type != nil || c.Facts.RetryAfter != nil || c.Facts.Named != nil {
				continue
			}
			fields := map[string]any{
				"provider": provider, "operation": c.Operation, "method": c.Method, "status": c.Status, "body_base64": c.Body, "now": "2026-11-30T12:00:00Z",
				"headers": c.Headers, "imap_status": c.IMAPStatus,
			}
			if c.Headers == nil {
				fields["headers"] = map[string]string{}
			}
			line, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			k, err := corpus.ParseCase(line)
			if err != nil {
				t.Fatal(err)
			}
			s, err := k.Subject(pol)
			if err != nil {
				t.Fatal(err)
			}
			d := p.Decide(engine.State{}, &s.Event, corpus.Chance)
			if d.Rule.Policy == "" {
				continue
			}
			whole = append(whole, string(line))
			rec.Observe(t.Context(), &engine.Notice{
				Kind: engine.NoticeDecision, Time: time.Now(), Provider: provider, Account: "anna@example.com",
				Event: &s.Event, Decision: &d, Before: new(engine.State), Policy: pol,
			})
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		recorded := lines(t, path)
		if len(recorded) != len(whole) {
			t.Fatalf("%s: %d lines of %d", provider, len(recorded), len(whole))
		}
		for _, change := range []string{changes[i%len(changes)], changes[(i+1)%len(changes)]} {
			text := fmt.Sprintf("version: 1\nprovider: %s\nextends: [%[1]s]\nbackoff: {default: {initial: 3s, attempts: 3}}\nrules:\n  - {name: own, %s}\n", provider, change)
			set, found := policy.Load([]policy.File{{Name: "x.yaml", Data: []byte(text)}}, policy.LoadOptions{Over: policy.Builtin()})
			if set == nil {
				t.Fatalf("%v\nin\n%s", found.Err(), text)
			}
			c, err := diff.New(policy.Builtin(), set)
			if err != nil {
				t.Fatal(err)
			}
			compare := func(line string) (diff.Change, bool) {
				k, err := corpus.ParseCase([]byte(line))
				if err != nil {
					t.Fatal(err)
				}
				ch, changed, err := c.Compare([]byte(line), &k)
				if err != nil {
					t.Fatal(err)
				}
				return ch, changed
			}
			for i := range whole {
				want, changes := compare(whole[i])
				got, changed := compare(recorded[i])
				if changed && got.Class == diff.Uncertain {
					unknown++
					continue
				}
				if sure++; changed != changes || changed && got.Class != want.Class {
					t.Fatalf("given %s\nrecorded %s\ngot  %t %v (%+v → %+v)\nwant %t %v (%+v → %+v)\npolicy\n%s", whole[i], recorded[i], changed, got.Class, got.Old, got.New, changes, want.Class, want.Old, want.New, text)
				}
			}
		}
	}
	if sure < 1000 || unknown < 100 {
		t.Errorf("%d answers were sure and %d unknown: too few to mean something", sure, unknown)
	}
}
