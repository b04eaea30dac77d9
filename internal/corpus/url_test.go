package corpus

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// TestCaseOfURL holds that the line of a corpus may name its request by the URL, whose
// path gives facts, and that facts which the line itself gives go before those.
func TestCaseOfURL(t *testing.T) {
	const src = `
version: 1
provider: tables
default: fail
match: [{host: api.tables.example}]
operations:
  - {path: '/v0/{base}/*', operation: records}
limits:
  - {name: base, key: [account, base]}
rules:
  - {name: frozen, when: operation == "records" and facts.base == "app/X", action: fail, as: frozen, hold: {limit: base, until: {daily: "12:00"}}}
`
	set, ds := policy.Load([]policy.File{{Name: "tables.yaml", Data: []byte(src)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(ds)
	}
	d, err := NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, want string }{
		{`{"id":"1","url":"https://api.tables.example/v0/app%2FX/t","status":403,"now":"2026-01-01T09:00:00Z"}`,
			`"provider":"tables","policy":"tables","rule":"frozen"`},
		{`{"id":"1","url":"https://api.tables.example/v0/app%2FX/t","status":403,"now":"2026-01-01T09:00:00Z"}`,
			`"hold":["base"],"hold_seconds":10950,`},
		{`{"id":"2","url":"https://api.tables.example/v0/appY/t","status":403}`, `"rule":"default"`},
		{`{"id":"3","url":"https://api.tables.example/v0/appY/t","status":403,"facts":{"base":"app/X"}}`, `"rule":"frozen"`},
		{`{"id":"4","provider":"tables","operation":"records","status":403,"facts":{"base":"app/X"}}`, `"rule":"frozen"`},
		{`{"id":"5","provider":"tables","operation":"records","url":"https://api.tables.example/v0/app%2FX/t","status":403}`, `"rule":"frozen"`},
		{`{"id":"6","provider":"tables","status":403,"facts":["base"]}`, `"error":"facts: want an object, got an array"`},
		{`{"id":"7","provider":"tables","status":403,"url":"/v0/appY/t"}`, `"error":"url: \"/v0/appY/t\" has no host"`},
	} {
		var out bytes.Buffer
		if _, err := d.Run(context.Background(), strings.NewReader(tt.line+"\n"), &out); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), tt.want) {
			t.Errorf("given %s\ngot  %swant %s", tt.line, out.String(), tt.want)
		}
	}
}
