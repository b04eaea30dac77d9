package suite

import (
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// TestLearned holds how a suite states what a response says of limits.
func TestLearned(t *testing.T) {
	set, ds := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(`
version: 1
provider: shop
match: [{host: shop.example}]
operations: [{path: '/{base}/items', operation: items}]
limits:
  - {name: core, key: account, quota: 100/1h, learn: {remaining: {header: X-Left}, reset: {header: X-Reset, as: s}, limit: {header: X-Limit}}}
  - {name: base, key: [account, base], rate: 5/s, learn: {remaining: {header: X-Base-Left}}}
default: fail
`)}}, policy.LoadOptions{})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ given, want, failures string }{
		{`headers: {X-Left: "3", X-Reset: "600"}`, `{core: {remaining: 3, reset: 10m}}`, ""},
		{`headers: {X-Left: "3", X-Reset: "600"}`, `{core: {remaining: 3, reset: 9m..11m, limit: 0}}`, ""},
		{`headers: {X-Left: "3", X-Reset: "600", X-Limit: "50"}`, `{core: {limit: 50}}`, ""},
		{`headers: {X-Left: "3", X-Reset: "600"}`, `{core: {remaining: 4, reset: 5m, limit: 1}}`,
			"core: remaining 4, got core: remaining 3; core: limit 1, got core: limit 0; core: reset 5m, got core: reset 10m"},
		{`headers: {X-Left: "3"}`, `{}`, ""},
		{`headers: {X-Left: "3"}`, `{core: {remaining: 3}}`, "core, got nothing"},
		{`headers: {X-Left: "3", X-Reset: "600"}`, `{}`, "nothing, got core: 3 left, anew in 10m"},
		{`headers: {X-Base-Left: "2"}`, `{}`, ""},
		{`url: "https://shop.example/b/items", headers: {X-Base-Left: "2"}`, `{base: {remaining: 2, reset: 0s}}`, ""},
		{`headers: {X-Left: "3"}`, `{coer: {remaining: 3}}`, `coer, got nothing (the policy shop has no limit "coer" with ` + "`learn`)"},
	} {
		s, ds := Parse(policy.File{Name: "shop_test.yaml", Data: []byte("version: 1\nprovider: shop\ncases:\n  - name: it\n    given: {status: 200, " + tt.given + "}\n    want: {learned: " + tt.want + "}\n")})
		if err := ds.Err(); err != nil {
			t.Fatal(err)
		}
		report, err := Run(set, []*Suite{s}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range report.Tests[0].Failures {
			text := f.Want + ", got " + f.Got
			if f.Hint != "" {
				text += " (" + f.Hint + ")"
			}
			got = append(got, text)
		}
		if all := strings.Join(got, "; "); all != tt.failures {
			t.Errorf("given %s, want %s\ngot  %s\nwant %s", tt.given, tt.want, all, tt.failures)
		}
	}
}
