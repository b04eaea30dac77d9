package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/rules"
)

const parent = `
version: 1
provider: parent
source: https://parent.example
match: [{host: parent.example}]
extract:
  type: [{json: type}]
  codes: [{json: code}]
  facts: {doc: [{json: doc}], kind: [{json: kind}]}
inspect: [{status: 200, max: 1KiB}]
operations:
  - {method: GET, path: /a, operation: a}
  - {method: GET, path: /a2, operation: a}
  - {method: GET, path: /b, operation: b}
idempotent: [a, x]
attempt_timeout: 10s
backoff:
  default: {initial: 1s, max: 10s, attempts: 3}
  slow: {initial: 1m, attempts: 2}
costs:
  units: {default: 1, a: 2, b: 3}
limits:
  - {name: user, key: account, rate: 10/s, cost: units}
  - {name: gate, key: app}
budget: {ratio: 0.1, min: 5/s}
rules:
  - {name: one, when: status == 401, action: fail}
  - {name: two, when: status == 402, action: retry, backoff: slow, hold: gate}
  - {name: three, when: status == 403, action: fail}
  - {name: rest, when: status >= 500, action: retry, last: true}
default: fail
`

func names(p *Policy) (out []string) {
	for _, r := range p.Rules {
		out = append(out, r.Name)
	}
	return out
}

func TestInheritEverything(t *testing.T) {
	s := mustLoad(t, nil, parent, "version: 1\nprovider: child\nextends: [parent]\n")
	p, _ := s.Policy("parent")
	c, ok := s.Policy("child")
	if !ok {
		t.Fatal("no child")
	}
	if c.Match != nil || c.Source != "" {
		t.Errorf("child has match %v and source %q, want neither", c.Match, c.Source)
	}
	for i := range c.Rules {
		if c.Rules[i].Inherited != "parent" {
			t.Errorf("rule %q is inherited from %q, want parent", c.Rules[i].Name, c.Rules[i].Inherited)
		}
		c.Rules[i].Inherited = ""
	}
	got, want := *c, *p
	for _, x := range []*Policy{&got, &want} {
		x.Name, x.Version, x.File, x.Source, x.Extends, x.Match, x.Matcher, x.operations = "", "", "", "", nil, nil, nil, nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if c.Version == p.Version {
		t.Error("child and parent have one version, and differ by name")
	}
}

func TestInheritance(t *testing.T) {
	s := mustLoad(t, nil, parent, `
version: 1
provider: child
extends: parent
match: [{host: child.example}]
extract:
  codes: [{json: error.code}]
  facts: {kind: [{json: error.kind}], more: [{json: more}]}
inspect: [{status: 202}]
operations:
  - {method: POST, path: /new, operation: new}
  - {method: GET, path: /a3, operation: a}
idempotent: [x, new]
backoff:
  default: {initial: 2s, attempts: 9}
costs:
  units: {b: 7}
limits:
  - {name: added, key: account, concurrency: 4}
  - {name: user, key: [account, app], rate: 20/s, cost: units}
budget: {ratio: 0.3}
remove: [three]
rules:
  - {name: last-of-all, when: status >= 400, action: fail, last: true}
  - {name: new, when: status == 409, action: fail, hold: added}
  - {name: two, when: status == 422, action: retry, override: true}
default: retry
`)
	p, _ := s.Policy("child")
	if got, want := names(p), []string{"new", "one", "two", "rest", "last-of-all", "default"}; !reflect.DeepEqual(got, want) {
		t.Errorf("rules %v, want %v", got, want)
	}
	if i := p.Matcher.Match(&rules.Event{Status: 422}); i != 2 || p.Rules[2].Backoff != 0 {
		t.Errorf("422 is decided by rule %d with backoff %d, want 2 with 0", i, p.Rules[2].Backoff)
	}
	if got := p.Match; !reflect.DeepEqual(got, []Match{{Host: "child.example"}}) {
		t.Errorf("match %v", got)
	}
	if p.Extract.Type[0].String() != "json type" || len(p.Extract.Codes) != 1 || p.Extract.Codes[0].String() != "json error.code" {
		t.Errorf("extract %+v", p.Extract)
	}
	facts := map[string]string{}
	for _, f := range p.Extract.Facts {
		facts[f.Name] = f.From[0].String()
	}
	if want := map[string]string{"doc": "json doc", "kind": "json error.kind", "more": "json more"}; !reflect.DeepEqual(facts, want) {
		t.Errorf("facts %v, want %v", facts, want)
	}
	if len(p.Inspect) != 2 || p.Inspect[0].Status != 202 || p.Inspect[1].Status != 200 {
		t.Errorf("inspect %+v", p.Inspect)
	}
	var ops []string
	for _, o := range p.Operations {
		ops = append(ops, o.Operation+o.path)
	}
	if want := []string{"new/new", "a/a3", "b/b"}; !reflect.DeepEqual(ops, want) {
		t.Errorf("operations %v, want %v", ops, want)
	}
	if want := []string{"a", "x", "new"}; !reflect.DeepEqual(p.Idempotent, want) {
		t.Errorf("idempotent %v, want %v", p.Idempotent, want)
	}
	if want := (Backoff{Name: "default", Initial: 2 * time.Second, Max: 64 * time.Second, Multiplier: 2, Jitter: jitter.Equal, Attempts: 9}); p.Backoffs[0] != want {
		t.Errorf("backoff %+v, want %+v", p.Backoffs[0], want)
	}
	if p.Backoffs[1].Name != "slow" || p.AttemptTimeout != 10*time.Second {
		t.Errorf("backoffs %+v, attempt_timeout %v", p.Backoffs, p.AttemptTimeout)
	}
	if c := &p.costs[0]; c.of("a") != 2 || c.of("b") != 7 || c.others != 1 {
		t.Errorf("costs %+v", c)
	}
	if len(p.Limits) != 3 || p.Limits[0].Rate != 20 || len(p.Limits[0].Key) != 2 || p.Limits[1].Name != "gate" || p.Limits[2].Name != "added" {
		t.Errorf("limits %+v", p.Limits)
	}
	if want := (Budget{Ratio: 0.3, Min: 5, Key: "provider"}); *p.Budget != want {
		t.Errorf("budget %+v, want %+v", *p.Budget, want)
	}
	if d := p.Rules[len(p.Rules)-1]; d.Action != Retry || d.Backoff != 0 {
		t.Errorf("default %+v, want retry by the default backoff", d)
	}
}

func TestSeveralParents(t *testing.T) {
	var files []File
	for i, data := range []string{`
version: 1
provider: base
rules:
  - {name: common, when: status == 400, action: fail}
  - {name: shared, when: status == 401, action: fail}
default: fail
`, `
version: 1
provider: left
extends: [base]
rules:
  - {name: l, when: status == 402, action: fail}
  - {name: both, when: status == 403, action: fail}
`, `
version: 1
provider: right
extends: [base]
rules:
  - {name: r, when: status == 404, action: fail}
  - {name: both, when: status == 405, action: fail}
  - {name: shared, when: status == 406, action: fail, override: true}
`, `
version: 1
provider: child
extends: [left, right]
rules:
  - {name: own, when: status == 407, action: fail}
`,
	} {
		files = append(files, File{Name: string(rune('a'+i)) + ".yaml", Data: []byte(data)})
	}
	s, ds := Load(files, LoadOptions{})
	if len(ds) != 1 || ds[0].Code != "covers-less" { // both
		t.Fatalf("diagnostics %v", ds)
	}
	p, _ := s.Policy("child")
	// base, then left, then right, then the child on top.
	if got, want := strings.Join(names(p), " "), "own r l both common shared default"; got != want {
		t.Errorf("rules %q, want %q", got, want)
	}
	for status, want := range map[int]string{403: "default", 405: "both", 401: "default", 406: "shared"} {
		got := "default"
		if i := p.Matcher.Match(&rules.Event{Status: status}); i >= 0 {
			got = p.Rules[i].Name
		}
		if got != want {
			t.Errorf("status %d is decided by %q, want %q", status, got, want)
		}
	}
}

func TestOverlay(t *testing.T) {
	below := mustLoad(t, nil, parent,
		"version: 1\nprovider: child\nextends: [parent]\nmatch: [{host: child.example}]\n",
		"version: 1\nprovider: other\ndefault: fail\n")
	above := mustLoad(t, below,
		"version: 1\nprovider: parent\nextends: [parent]\nattempt_timeout: 99s\nrules: [{name: added, when: status == 418, action: accept}]\n",
		"version: 1\nprovider: grandchild\nextends: [child]\n")
	var got []string
	for _, p := range above.Policies() {
		got = append(got, p.Name)
		if p.Name != "other" && (p.AttemptTimeout != 99*time.Second || p.Rules[0].Name != "added") {
			t.Errorf("%s does not inherit the parent that was laid on top: %v, %v", p.Name, p.AttemptTimeout, names(p))
		}
	}
	if want := "child grandchild other parent"; strings.Join(got, " ") != want {
		t.Errorf("policies %v, want %s", got, want)
	}
	if p := above.Lookup("parent.example", "/"); p == nil || p.Name != "parent" || p.File != "a.yaml" || p.Rules[0].Name != "added" {
		t.Errorf("parent.example is claimed by %+v, want the parent on top", p)
	}
	a, _ := above.Policy("other")
	b, _ := below.Policy("other")
	if a != b {
		t.Error("a policy that nothing changed was compiled again")
	}
	if p, _ := below.Policy("parent"); p.AttemptTimeout != 10*time.Second {
		t.Error("the set below has changed")
	}
	if above.Version() == below.Version() {
		t.Error("both sets have one version")
	}
	// A replacement that extends nothing has none of the old.
	alone := mustLoad(t, below, "version: 1\nprovider: other\ndefault: retry\nbackoff: {default: {attempts: 2}}\n")
	if p, _ := alone.Policy("other"); p.Rules[0].Action != Retry {
		t.Errorf("other is %+v, want the replacement", p)
	}
}

// A child may break what it inherits: the error says where, and for whom.
func TestInheritedErrors(t *testing.T) {
	_, ds := Load([]File{
		{Name: "parent.yaml", Data: []byte(parent)},
		{Name: "child.yaml", Data: []byte("version: 1\nprovider: child\nextends: [parent]\nremove: [slow, gate]\n")},
	}, LoadOptions{})
	var got []string
	for _, d := range ds {
		got = append(got, d.Pos.File+" "+d.Code+" "+d.Message)
	}
	want := []string{
		`parent.yaml unknown-backoff no backoff "slow" (in child, which extends this)`,
		`parent.yaml unknown-limit no limit "gate" to hold (in child, which extends this)`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestVersionFollowsDecisions(t *testing.T) {
	below := mustLoad(t, nil, parent)
	version := func(sections string) string {
		p, _ := mustLoad(t, below, "version: 1\nprovider: parent\nextends: [parent]\n"+sections).Policy("parent")
		return p.Version
	}
	first := version("")
	for _, same := range []string{"", "# a comment\n", "source: elsewhere\n", "attempt_timeout: 10000ms\n", "idempotent: [x]\n"} {
		if again := version(same); again != first {
			t.Errorf("%q changed the version from %q to %q", same, first, again)
		}
	}
	for _, change := range []string{
		"rules: [{name: one, when: status == 407, action: fail, override: true}]",
		"backoff: {slow: {initial: 2m, attempts: 2}}",
		"extract: {facts: {doc: [{json: docs}]}}",
		"attempt_timeout: 11s",
		"budget: {ratio: 0.2}",
		"limits: [{name: user, key: account, rate: 11/s, cost: units}]",
		"costs: {units: {a: 4}}",
		"rules: [{name: two, when: status == 402, action: retry, backoff: slow, hold: user}]",
		"remove: [x]",
	} {
		if version(change+"\n") == first {
			t.Errorf("given %s\ngot the version as it was: %s", change, first)
		}
	}
}

// A new rule that leaves nothing to inherited ones is reported where it stands, once.
func TestHiddenInheritedRule(t *testing.T) {
	_, ds := Load([]File{
		{Name: "parent.yaml", Data: []byte(parent)},
		{Name: "child.yaml", Data: []byte("version: 1\nprovider: child\nextends: [parent]\nrules:\n  - {name: broad, when: status >= 400 and status < 404, action: fail}\n")},
	}, LoadOptions{})
	var got []string
	for _, d := range ds {
		got = append(got, d.Pos.File+" "+d.Code+" "+d.Message)
		if d.Severity != Warning {
			t.Errorf("%s\nwant warnings only", d)
		}
	}
	want := []string{
		`child.yaml shadowed rule "broad" hides 3 inherited rules: one, two, three`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
