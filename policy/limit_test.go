package policy

import (
	"strings"
	"testing"
)

func TestLimitOverStore(t *testing.T) {
	versions := map[string]string{}
	for _, c := range []struct {
		fields  string
		process bool
		outage  string
		code    string // of the problem; "" = none
	}{
		{fields: "", outage: OutageShare},
		{fields: ", on_outage: share", outage: OutageShare},
		{fields: ", on_outage: closed", outage: OutageClosed},
		{fields: ", on_outage: open", outage: OutageOpen},
		{fields: ", scope: process", process: true, outage: OutageShare},
		{fields: ", scope: process, on_outage: open", code: "misplaced-field"},
		{fields: ", scope: account", code: "unknown-value"},
		{fields: ", on_outage: fail", code: "unknown-value"},
	} {
		yaml := "version: 1\nprovider: acme\ndefault: fail\nlimits:\n  - {name: user, key: account, rate: 5/s" + c.fields + "}\n"
		set, problems := Load([]File{{Name: "acme.yaml", Data: []byte(yaml)}}, LoadOptions{})
		if c.code != "" {
			if len(problems) != 1 || problems[0].Code != c.code {
				t.Errorf("given %q, got problems %v, want %s", c.fields, problems, c.code)
			}
			continue
		}
		if len(problems) > 0 {
			t.Errorf("given %q, got problems %v", c.fields, problems)
			continue
		}
		p, _ := set.Policy("acme")
		if l := p.Limits[0]; l.Process != c.process || l.OnOutage != c.outage {
			t.Errorf("given %q, got process %t and outage %q, want %t and %q", c.fields, l.Process, l.OnOutage, c.process, c.outage)
		}
		if other, known := versions[p.Version]; known && (other != "" || c.fields != ", on_outage: share") {
			t.Errorf("%q and %q have one version", c.fields, other)
		}
		versions[p.Version] = c.fields
	}
}

func TestLimitApplies(t *testing.T) {
	for _, c := range []struct {
		entries string // of `operations`, separated by blanks
		counted string
		not     string
	}{
		{"", "messages.get messages.send .", ""},
		{"messages.get", "messages.get", "messages.send ."},
		{"* !messages.send", "messages.get labels.list .", "messages.send"},
		{"!messages.send *", "messages.get labels.list .", "messages.send"},
		{"!messages.send", "messages.get labels.list .", "messages.send"},
		{"!messages.* !drafts.send", "labels.list drafts.get .", "messages.send messages.get drafts.send"},
		{"messages.* !messages.send", "messages.get", "messages.send labels.list ."},
		{"!messages.* messages.send", "", "messages.send messages.get labels.list ."}, // an exclusion wins
		{"messages.send !messages.send", "", "messages.send messages.get ."},
		{"!*", "", "messages.send ."},
	} {
		l := Limit{operations: strings.Fields(c.entries)}
		for _, want := range []bool{true, false} {
			list := c.counted
			if !want {
				list = c.not
			}
			for op := range strings.FieldsSeq(list) {
				op = strings.TrimSuffix(op, ".") // "." is the unnamed one
				if got := l.Applies(op); got != want {
					t.Errorf("given operations [%s], Applies(%q) is %t, want %t", c.entries, op, got, want)
				}
			}
		}
	}
}

// The default burst is at least the dearest cost of what the limit counts, and
// what it leaves out must not be dearer than its burst allows.
func TestLimitExclusionsAndCosts(t *testing.T) {
	for _, c := range []struct {
		operations string
		burst      int64
	}{
		{`[]`, 900},
		{`["!batch", "!send.*"]`, 50},
		{`["!batch"]`, 300},
		{`["*", "!batch", "!send.*", "!import.many"]`, 20},
		{`["!batch", "!s*", "!import.*"]`, 10},
		{`["send.one", "batch", "!batch"]`, 300},
		{`["get", "import.one", "!import.many"]`, 20},
	} {
		set, ds := Load([]File{{Name: "a.yaml", Data: []byte(`
version: 1
provider: acme
costs:
  units: {default: 5, batch: 900, "send.*": 300, import.many: 50, "import.*": 20}
limits:
  - {name: user, key: account, rate: 10/s, cost: units, operations: ` + c.operations + `}
default: fail
`)}}, LoadOptions{})
		if ds.Err() != nil {
			t.Fatal(ds)
		}
		p, _ := set.Policy("acme")
		if got := p.Limits[0].Burst; got != c.burst {
			t.Errorf("given operations %s, the burst is %d, want %d", c.operations, got, c.burst)
		}
	}
}
