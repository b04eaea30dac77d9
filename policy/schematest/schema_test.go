package schematest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler() // compiling checks the schema against that of draft 2020-12
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decode reads YAML as an editor does.
func decode(data []byte) (any, error) {
	var v any
	err := yaml.Unmarshal(data, &v)
	return v, err
}

func TestBuiltinPolicies(t *testing.T) {
	s := compile(t)
	files := policy.BuiltinFiles()
	if len(files) == 0 {
		t.Fatal("no built-in policies")
	}
	for _, f := range files {
		v, err := decode(f.Data)
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestGoodFiles(t *testing.T) {
	s := compile(t)
	paths, _ := filepath.Glob("../testdata/*.good.yaml")
	if len(paths) == 0 {
		t.Fatal("no fixtures")
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := decode(data)
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// structural are the codes of mistakes that a schema can see.
var structural = map[string]bool{
	"unknown-field": true, "missing-field": true, "empty-value": true, "wrong-type": true, "unknown-value": true,
	"out-of-range": true, "conflict": true, "bad-name": true, "reserved-name": true, "bad-duration": true, "bad-rate": true, "bad-quota": true,
	"bad-size": true, "bad-glob": true, "bad-host": true, "unsupported-version": true, "missing-default": true, "constant-when": true, "empty-when": true,
}

// What the schema refuses, Load refuses; and what Load refuses because of its
// shape, the schema refuses.
func TestBadFiles(t *testing.T) {
	s := compile(t)
	paths, _ := filepath.Glob("../testdata/*.bad.yaml")
	if len(paths) == 0 {
		t.Fatal("no fixtures")
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code := strings.TrimSuffix(filepath.Base(path), ".bad.yaml")
		v, err := decode(data)
		if err != nil {
			continue // not YAML
		}
		invalid := s.Validate(v)
		if invalid == nil && structural[code] {
			t.Errorf("%s: the schema accepts it, want a refusal", path)
		}
		set, _ := policy.Load([]policy.File{{Name: path, Data: data}}, policy.LoadOptions{})
		if invalid != nil && set != nil {
			t.Errorf("%s: Load accepts it, and the schema says %v", path, invalid)
		}
	}
}

// Each mistake alone, so that none hides another.
func TestOneMistake(t *testing.T) {
	s := compile(t)
	check := func(data string) (schema, load error) {
		v, err := decode([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		_, ds := policy.Load([]policy.File{{Name: "a.yaml", Data: []byte(data)}}, policy.LoadOptions{})
		return s.Validate(v), ds.Err()
	}
	const head = "version: 1\nprovider: example\n"
	rule := func(fields string) string { return head + "default: fail\nrules: [{" + fields + "}]\n" }
	with := func(section string) string { return head + "default: fail\n" + section + "\n" }
	for _, tt := range []struct{ name, good, bad string }{
		{"version", with(""), "version: 2\nprovider: example\ndefault: fail\n"},
		{"no version", with(""), "provider: example\ndefault: fail\n"},
		{"provider", with(""), "version: 1\nprovider: my example\ndefault: fail\n"},
		{"no default", head + "default: fail\n", head},
		{"default", head + "default: fail\n", head + "default: ignore\n"},
		{"host", with("match: [{host: api.example.com, path: /v1/**}]"), with("match: [{host: https://api.example.com, path: /v1/**}]")},
		{"no host", with("match: [{host: api.example.com, path: /v1/**}]"), with("match: [{path: /v1/**}]")},
		{"path", with("match: [{host: api.example.com, path: /v1/**}]"), with("match: [{host: api.example.com, path: v1/**}]")},
		{"two sources", with("extract: {type: {json: type}}"), with("extract: {type: {json: type, header: X}}")},
		{"no source", with("extract: {codes: [{xml: 'Value[@Name=\"x\"]', fold: true}]}"), with("extract: {codes: {fold: true}}")},
		{"a unit of what is no time", with("extract: {type: {json: type}}"), with("extract: {type: {json: type, as: s}}")},
		{"a unit", with(`extract: {retry_after: [{text: 'in (\d+)', as: s}]}`), with(`extract: {retry_after: [{text: 'in (\d+)', as: seconds}]}`)},
		{"the status of a success", with(`inspect: [{status: 200, operations: ["*"], max: 64KiB}]`), with(`inspect: [{status: 404, operations: ["*"], max: 64KiB}]`)},
		{"a size", with(`inspect: [{status: 200, operations: ["*"], max: 64KiB}]`), with(`inspect: [{status: 200, operations: ["*"], max: 64K}]`)},
		{"a field", with("operations: [{method: GET, path: /v1/*, query: {a: b}, operation: a}]"), with("operations: [{method: GET, path: /v1/*, query: {a: b}, operaton: a}]")},
		{"idempotent", with("idempotent: a"), with("idempotent: 5")},
		{"a duration without a unit", with("attempt_timeout: 1m30s"), with("attempt_timeout: 90")},
		{"a duration with a space", with("attempt_timeout: 1m30s"), with("attempt_timeout: 90 s")},
		{"multiplier", with("backoff: {default: {initial: 1s, max: 1m, multiplier: 1.5, attempts: 3}}"), with("backoff: {default: {initial: 1s, max: 1m, multiplier: 0.5, attempts: 3}}")},
		{"jitter", with("backoff: {default: {jitter: full, attempts: 3}}"), with("backoff: {default: {jitter: some, attempts: 3}}")},
		{"attempts", with("backoff: {default: {attempts: 3}}"), with("backoff: {default: {attempts: three}}")},
		{"a cost", with("costs: {units: {default: 1, a: 5}}"), with("costs: {units: {default: one, a: 5}}")},
		{"a reserved cost", with("costs: {units: {default: 1, a: 5}}"), with("costs: {bytes: {default: 1, a: 5}}")},
		{"a key", with("limits: [{name: user, key: [account, app], rate: 10/s, burst: 20}]"), with("limits: [{name: user, key: [account, 5], rate: 10/s, burst: 20}]")},
		{"no key", with("limits: [{name: user, key: [account, app], rate: 10/s, burst: 20}]"), with("limits: [{name: user, rate: 10/s, burst: 20}]")},
		{"a rate", with("limits: [{name: user, key: account, rate: 10/s}]"), with("limits: [{name: user, key: account, rate: 10}]")},
		{"two kinds of limit", with("limits: [{name: user, key: account, rate: 10/s}]"), with("limits: [{name: user, key: account, rate: 10/s, concurrency: 4}]")},
		{"a quota", with("limits: [{name: minute, key: app, quota: 150MB/5m, cost: bytes}]"), with("limits: [{name: minute, key: app, quota: 150MB, cost: bytes}]")},
		{"a ratio", with("budget: {ratio: 0.2, min: 10/s, key: host}"), with("budget: {ratio: 2, min: 10/s, key: host}")},
		{"no ratio", with("budget: {ratio: 0.2, min: 10/s, key: host}"), with("budget: {min: 10/s, key: host}")},
		{"a wait and a backoff", with("rules: [{name: r, when: status == 503, action: wait, wait: 20s, max_wait: 1h}]\nbackoff: {default: {attempts: 3}}"), with("rules: [{name: r, when: status == 503, action: wait, wait: 20s, backoff: default, max_wait: 1h}]\nbackoff: {default: {attempts: 3}}")},
		{"an action", rule("name: r, when: status == 503, action: wait, wait: 20s"), rule("name: r, when: status == 503, action: sleep, wait: 20s")},
		{"over", rule("name: r, when: status == 503, action: wait, wait: 20s, max_wait: 1h, over: fail"), rule("name: r, when: status == 503, action: wait, wait: 20s, max_wait: 1h, over: give_up")},
		{"last", rule("name: r, when: status == 503, action: wait, wait: 20s, last: true"), rule("name: r, when: status == 503, action: wait, wait: 20s, last: yes")},
		{"replay", rule("name: r, when: status == 503, action: wait, wait: 20s, replay: safe"), rule("name: r, when: status == 503, action: wait, wait: 20s, replay: always")},
		{"a constant condition", rule("name: f, when: status == 404, action: fail"), rule("name: f, when: true, action: fail")},
		{"no condition", rule("name: f, when: status == 404, action: fail"), rule("name: f, action: fail")},
		{"a label", rule("name: f, when: status == 404, action: fail, as: my_label"), rule("name: f, when: status == 404, action: fail, as: my label")},
		{"a section", with("rules: [{name: f, when: status == 404, action: fail}]"), with("rule: [{name: f, when: status == 404, action: fail}]")},
	} {
		if schema, load := check(tt.good); schema != nil || load != nil {
			t.Errorf("%s: given %s\nschema %v\nload   %v\nwant neither to refuse it", tt.name, tt.good, schema, load)
		}
		if schema, load := check(tt.bad); schema == nil || load == nil {
			t.Errorf("%s: given %s\nschema %v\nload   %v\nwant both to refuse it", tt.name, tt.bad, schema, load)
		}
	}
}
