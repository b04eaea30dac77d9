package diff

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/suite"
	"github.com/recourse-go/recourse/policy"
)

// lineOf is a case as a line, without some of its fields.
func lineOf(t *testing.T, provider string, c *corpus.Case, without ...string) (string, corpus.Case) {
	t.Helper()
	fields := map[string]any{
		"provider": provider, "operation": c.Operation, "method": c.Method, "status": c.Status, "body_base64": c.Body, "now": "2026-11-30T12:00:00Z",
		"headers": c.Headers,
	}
	if c.Headers == nil {
		fields["headers"] = map[string]string{}
	}
	if c.Protocol != "" {
		fields["protocol"] = c.Protocol
	}
	if c.IMAPStatus != "" {
		fields["imap_status"] = c.IMAPStatus
	}
	if c.NetworkError != "" {
		fields["network_error"] = c.NetworkError
	}
	if c.URL != "" {
		fields["url"] = c.URL
	}
	for _, name := range without {
		delete(fields, name)
	}
	line, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	k, err := corpus.ParseCase(line)
	if err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return string(line), k
}

// mutant is a policy that extends another one and differs in a few rules.
func mutant(random *rand.Rand, p *policy.Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nprovider: %s\nextends: [%[1]s]\nbackoff:\n  default: {initial: 3s, min: 2s, attempts: 3}\nrules:\n", p.Name)
	whens := []string{
		`body contains "e"`, `message != ""`, `len(codes) > 1`, `status >= 500`, `header("X-A") == ""`, `operation != ""`, `type == ""`,
		`message contains "limit" or status == 401`, `not (body contains "rate")`, `status == 403 and not ("x" in codes)`, `retry_after > duration("5s")`,
	}
	actions := []string{
		"action: fail", "action: fail\n    as: needs_user", "action: retry", "action: retry\n    replay: safe", "action: wait", "action: wait\n    hint: ignore",
		"action: wait\n    max_wait: 10s\n    over: fail", "action: accept",
	}
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	for i := range 1 + random.IntN(3) {
		if old := p.Rules[random.IntN(len(p.Rules)-1)]; random.IntN(2) == 0 && !strings.Contains(b.String(), "name: "+old.Name+"\n") {
			fmt.Fprintf(&b, "  - name: %s\n    override: true\n    when: %q\n    %s\n", old.Name, old.When, pick(actions))
			continue
		}
		fmt.Fprintf(&b, "  - name: own-%d\n    when: %q\n    %s\n", i, pick(whens)+" and "+pick(whens), pick(actions))
	}
	return b.String()
}

// What diff says of a case that lacks something is so whatever is missing: it is never a guess.
func TestNeverAGuess(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	sure, unknown := 0, 0
	for _, f := range suite.Builtin() {
		s, found := suite.Parse(f)
		if s == nil {
			t.Fatal(found)
		}
		p, _ := policy.Builtin().Policy(s.Provider)
		text := mutant(random, p)
		set, found := policy.Load([]policy.File{{Name: "mutant.yaml", Data: []byte(text)}}, policy.LoadOptions{Over: policy.Builtin()})
		if set == nil {
			t.Fatalf("%v\nin\n%s", found.Err(), text)
		}
		sets := []*policy.Set{policy.Builtin(), set}
		if random.IntN(2) == 0 {
			slices.Reverse(sets)
		}
		c, err := New(sets[0], sets[1])
		if err != nil {
			t.Fatal(err)
		}
		for i := range s.Cases {
			given := &s.Cases[i].Given
			if given.Status == 0 && given.IMAPStatus == "" {
				continue
			}
			whole, k := lineOf(t, s.Provider, given)
			want, changed, err := c.Compare([]byte(whole), &k)
			if err != nil {
				t.Fatal(err)
			}
			for _, without := range [][]string{{"body_base64"}, {"headers"}, {"body_base64", "headers"}, {"operation", "url"}, {"body_base64", "method", "url"}} {
				if slices.Contains(without, "url") && given.URL != "" && given.Operation == "" || slices.Contains(without, "method") {
					without = slices.DeleteFunc(slices.Clone(without), func(name string) bool { return name == "method" || name == "url" || name == "operation" })
				}
				line, k := lineOf(t, s.Provider, given, without...)
				got, differs, err := c.Compare([]byte(line), &k)
				if err != nil {
					t.Fatal(err)
				}
				if differs && got.Class == Uncertain {
					unknown++
					continue
				}
				sure++
				if differs != changed || differs && got.Class != want.Class {
					t.Errorf("given %s\nwithout %v: %t %v (%+v → %+v)\nwith it:   %t %v (%+v → %+v)\npolicy\n%s", whole, without, differs, got.Class, got.Old, got.New, changed, want.Class, want.Old, want.New, text)
					if t.Failed() {
						return
					}
				}
			}
		}
	}
	if sure < 1500 || unknown < 150 {
		t.Errorf("%d answers were sure and %d unknown: too few to mean something", sure, unknown)
	}
}
