package policy

import (
	"fmt"
	"strings"
	"testing"
)

// TestLearnProblems holds what is said of a `learn` that is wrong, and where.
func TestLearnProblems(t *testing.T) {
	for _, tt := range []struct{ name, limit, want string }{
		{"right", "{name: a, key: account, quota: 5000/1h, window: fixed, learn: {remaining: {header: X-Left}, reset: {header: X-Reset, as: s}, limit: [{header: X-Limit, match: '(\\d+)'}], when: status < 500, unit: 2}}", ""},
		{"of a rate", "{name: a, key: account, rate: 5/s, learn: {remaining: {header: X-Left}}}", ""},
		{"nothing to read", "{name: a, key: account, rate: 5/s, learn: {reset: {header: X-Reset}}}", `3:45: missing-field: learn needs "remaining"`},
		{"the body", "{name: a, key: account, rate: 5/s, learn: {remaining: {json: left}}}", "unknown-field"},
		{"of a gate", "{name: a, key: account, learn: {remaining: {header: X-Left}}}", `3:34: misplaced-field: "learn" has no meaning without rate or quota`},
		{"of concurrency", "{name: a, key: account, concurrency: 5, learn: {remaining: {header: X-Left}}}", `"learn" has no meaning without rate or quota`},
		{"the limit of a rate", "{name: a, key: account, rate: 5/s, learn: {remaining: {header: X-Left}, limit: {header: X-Limit}}}", `"limit" has no meaning without quota`},
		{"a fact that is not known yet", "{name: a, key: account, rate: 5/s, learn: {remaining: {header: X-Left}, when: code == \"x\"}}", "unknown-fact"},
		{"as of a number", "{name: a, key: account, rate: 5/s, learn: {remaining: {header: X-Left, as: s}}}", "unknown-field"},
		{"no unit", "{name: a, key: account, rate: 5/s, learn: {remaining: {header: X-Left}, unit: 0}}", "out-of-range"},
		{"a fixed rate", "{name: a, key: account, rate: 5/s, window: fixed}", `"window" has no meaning without quota`},
		{"a fixed window with a burst", "{name: a, key: account, quota: 5000/1h, window: fixed, burst: 5}", `"burst" has no meaning with window: fixed`},
		{"another window", "{name: a, key: account, quota: 5000/1h, window: 1h}", "unknown-value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, ds := Load([]File{{Name: "it.yaml", Data: []byte("version: 1\nprovider: it\nlimits: [" + tt.limit + "]\ndefault: fail\n")}}, LoadOptions{})
			var got []string
			for _, d := range ds {
				got = append(got, fmt.Sprintf("%d:%d: %s: %s", d.Pos.Line, d.Pos.Column, d.Code, d.Message))
			}
			all := strings.Join(got, "\n")
			if tt.want == "" && all != "" || tt.want != "" && !strings.Contains(all, tt.want) {
				t.Errorf("given %s\ngot  %s\nwant %q", tt.limit, all, tt.want)
			}
		})
	}
	_, ds := Load([]File{{Name: "it.yaml", Data: []byte("version: 1\nprovider: it\nprotocol: smtp\nlimits: [{name: a, key: account, rate: 5/s, learn: {remaining: {header: X-Left}}}]\ndefault: fail\n")}}, LoadOptions{})
	if got := ds.Err(); got == nil || !strings.Contains(got.Error(), "smtp has none") {
		t.Errorf("given learn over smtp\ngot  %v\nwant an error", got)
	}
}

// TestLearnVersion holds that what is learned is part of a policy's version, and that
// the same policy has the same version each time.
func TestLearnVersion(t *testing.T) {
	version := func(learn string) string {
		set, ds := Load([]File{{Name: "it.yaml", Data: []byte("version: 1\nprovider: it\nlimits: [{name: a, key: account, rate: 5/s" + learn + "}]\ndefault: fail\n")}}, LoadOptions{})
		if err := ds.Err(); err != nil {
			t.Fatal(err)
		}
		p, _ := set.Policy("it")
		return p.Version
	}
	seen := map[string]string{}
	for _, learn := range []string{"", ", learn: {remaining: {header: X-Left}}", ", learn: {remaining: {header: X-Other}}", ", learn: {remaining: {header: X-Left}, unit: 2}", ", learn: {remaining: {header: X-Left}, when: status == 200}"} {
		v := version(learn)
		if v != version(learn) {
			t.Errorf("given %q twice\ngot  two versions\nwant one", learn)
		}
		if other, ok := seen[v]; ok {
			t.Errorf("given %q and %q\ngot  one version\nwant two", learn, other)
		}
		seen[v] = learn
	}
}
