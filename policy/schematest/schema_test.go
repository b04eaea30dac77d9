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
	const good = `
version: 1
provider: example
match: [{host: api.example.com, path: /v1/**}]
extract:
  type: {json: type}
  codes: [{xml: 'Value[@Name="x"]', fold: true}]
  retry_after: [{text: 'in (\d+)', as: s}]
  facts: {doc: [{header: X-Doc}]}
inspect: [{status: 200, operations: ["*"], max: 64KiB}]
operations: [{method: GET, path: /v1/*, query: {a: b}, operation: a}]
idempotent: a
attempt_timeout: 1m30s
backoff: {default: {initial: 1s, max: 1m, multiplier: 1.5, jitter: full, attempts: 3}}
costs: {units: {default: 1, a: 5}}
limits: [{name: user, key: [account, app], rate: 10/s, burst: 20, cost: units}, {name: minute, key: app, quota: 150MB/5m, cost: bytes}]
budget: {ratio: 0.2, min: 10/s, key: host}
breaker: {failures: 5, open: 30s}
rules:
  - {name: r, when: status == 503, action: wait, wait: 20s, max_wait: 1h, over: fail, hold: [user], last: true, replay: safe}
  - {name: f, when: status == 404, action: fail, as: my_label}
default: fail
`
	check := func(data string) (schema, load error) {
		v, err := decode([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		_, ds := policy.Load([]policy.File{{Name: "a.yaml", Data: []byte(data)}}, policy.LoadOptions{})
		return s.Validate(v), ds.Err()
	}
	if schema, load := check(good); schema != nil || load != nil {
		t.Fatalf("schema %v\nload %v\nwant neither", schema, load)
	}
	for _, c := range [][2]string{
		{"version: 1", "version: 2"},
		{"version: 1\n", ""},
		{"provider: example", "provider: my example"},
		{"host: api.example.com", "host: https://api.example.com"},
		{"host: api.example.com, ", ""},
		{"path: /v1/**", "path: v1/**"},
		{"{json: type}", "{json: type, header: X}"},
		{"{json: type}", "{fold: true}"},
		{"{json: type}", "{json: type, as: s}"},
		{"as: s", "as: seconds"},
		{"status: 200", "status: 404"},
		{"max: 64KiB", "max: 64K"},
		{"operation: a", "operaton: a"},
		{"idempotent: a", "idempotent: 5"},
		{"1m30s", "90"},
		{"1m30s", "90 s"},
		{"multiplier: 1.5", "multiplier: 0.5"},
		{"jitter: full", "jitter: some"},
		{"attempts: 3", "attempts: three"},
		{"units: {default: 1", "units: {default: one"},
		{"units: {default: 1", "bytes: {default: 1"},
		{"key: [account, app]", "key: [account, 5]"},
		{"key: [account, app], ", ""},
		{"rate: 10/s", "rate: 10"},
		{"rate: 10/s", "rate: 10/s, concurrency: 4"},
		{"quota: 150MB/5m", "quota: 150MB"},
		{"ratio: 0.2", "ratio: 2"},
		{"ratio: 0.2, ", ""},
		{"wait: 20s, max", "wait: 20s, backoff: default, max"},
		{"action: wait", "action: sleep"},
		{"over: fail", "over: give_up"},
		{"last: true", "last: yes"},
		{"replay: safe", "replay: always"},
		{"when: status == 404", "when: true"},
		{"when: status == 404, ", ""},
		{"as: my_label", "as: my label"},
		{"default: fail", "default: ignore"},
		{"default: fail", ""},
		{"rules:", "rule:"},
	} {
		bad := strings.Replace(good, c[0], c[1], 1)
		if bad == good {
			t.Errorf("%q is not in the file", c[0])
			continue
		}
		schema, load := check(bad)
		if schema == nil || load == nil {
			t.Errorf("%q for %q: schema says %v, Load says %v; want both to refuse it", c[1], c[0], schema, load)
		}
	}
}
