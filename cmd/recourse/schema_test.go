package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/demo"
)

// What each command prints as JSON is as its schema says.
func TestOutputMatchesSchema(t *testing.T) {
	tests := []struct{ name, schema, args string }{
		{"decide", "decide.json", "decide --policies testdata/policies testdata/cases.jsonl"},
		{"check without findings", "check.json", "check --format json"},
		{"check with errors", "check.json", "check --format json testdata/check/bad.yaml testdata/check/suite_test.yaml"},
		{"check with warnings", "check.json", "check --format json testdata/check/warned.yaml"},
		{"explain", "explain.json", "explain --format json provider=gmail status=403 code=rateLimitExceeded header.Retry-After=7"},
		{"explain a success", "explain.json", "explain --format json provider=nobody status=200"},
		{"explain what needs the default", "explain.json", "explain --format json provider=http status=418"},
		{"explain with the rule", "explain.json", "explain --rule --format json provider=gmail status=403 code=rateLimitExceeded"},
		{"diff", "diff.json", "diff --old testdata/policies --new testdata/diff --format json testdata/cases.jsonl testdata/diff/cases.jsonl"},
		{"diff of nothing", "diff.json", "diff --old testdata/policies --new testdata/policies --format json testdata/diff/cases.jsonl"},
		{"list", "list.json", "list --format json --policies testdata/policies"},
		{"show", "show.json", "show --format json gmail"},
		{"show no more than a rule", "show.json", "show --format json gmail history-gone"},
		{"test", "test.json", "test --format json testdata/policies"},
		{"test that fails", "test.json", "test --format json --cover-min 90 testdata/failing"},
		{"test nothing", "test.json", "test --format json --run nothing testdata/policies"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := try(t, "", strings.Fields(tt.args)...)
			if got.stdout == "" {
				t.Fatalf("recourse %s printed nothing; stderr: %s", tt.args, got.stderr)
			}
			documents := []string{got.stdout}
			if tt.schema == "decide.json" {
				documents = strings.Split(strings.TrimSpace(got.stdout), "\n")
			}
			for _, d := range documents {
				var v any
				if err := json.Unmarshal([]byte(d), &v); err != nil {
					t.Fatalf("recourse %s: %v in %s", tt.args, err, d)
				}
				if err := validate(t, tt.schema, v); err != nil {
					t.Errorf("recourse %s: not as %s says: %v\n%s", tt.args, tt.schema, err, d)
				}
			}
		})
	}
}

// The demo takes its time; its report alone is compared here.
func TestDemoReportMatchesSchema(t *testing.T) {
	report := demo.Report{Passes: []demo.Pass{
		{Name: demo.Naive, Seconds: 1.5, Providers: []demo.Provider{{Provider: "gmail", Synced: 3, UnitsLimit: 500}}},
		{Name: demo.Recourse, Providers: []demo.Provider{{Provider: "gmail"}}},
	}}
	var out bytes.Buffer
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if err := validate(t, "demo.json", v); err != nil {
		t.Errorf("not as demo.json says: %v\n%s", err, out.String())
	}
}

// The validator of this file refuses what it should.
func TestValidator(t *testing.T) {
	answer := `"provider":"","policy":"","rule":"","action":"fail","as":"","delay_seconds":0,"min_delay_seconds":0,"hint_seconds":0,"defer":false,"exhausted":false,"hold":[],"hold_seconds":0,"reason":""`
	for _, tt := range []struct {
		name, document string
		ok             bool
	}{
		{"answer", `{"id":"x",` + answer + `}`, true},
		{"failure", `{"id":null,"error":"x"}`, true},
		{"field missing", `{` + answer + `}`, false},
		{"field too many", `{"id":"x","more":1,` + answer + `}`, false},
		{"wrong type", `{"id":true,` + answer + `}`, false},
		{"not in the enumeration", strings.Replace(`{"id":"x",`+answer+`}`, "fail", "flail", 1), false},
		{"below the minimum", strings.Replace(`{"id":"x",`+answer+`}`, `"hint_seconds":0`, `"hint_seconds":-1`, 1), false},
		{"item of the wrong type", strings.Replace(`{"id":"x",`+answer+`}`, `[]`, `[1]`, 1), false},
	} {
		var v any
		if err := json.Unmarshal([]byte(tt.document), &v); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if err := validate(t, "decide.json", v); (err == nil) != tt.ok {
			t.Errorf("%s: %s: %v, want valid: %t", tt.name, tt.document, err, tt.ok)
		}
	}
}

// schema is the part of JSON Schema that the files of the folder schema use.
type schema struct {
	Title, Description string

	Type       any                // a name or a list of names
	Enum       []any              `json:"enum"`
	Minimum    *float64           `json:"minimum"`
	Maximum    *float64           `json:"maximum"`
	Items      *schema            `json:"items"`
	Required   []string           `json:"required"`
	Properties map[string]*schema `json:"properties"`
	Additional *bool              `json:"additionalProperties"`
	OneOf      []*schema          `json:"oneOf"`
	Ref        string             `json:"$ref"`
	Defs       map[string]*schema `json:"$defs"`
	Meta       string             `json:"$schema"`
	Address    string             `json:"$id"`
}

func readSchema(t *testing.T, file string) *schema {
	t.Helper()
	f, err := os.Open(filepath.Join("schema", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields() // a keyword that validate does not know
	s := new(schema)
	if err := d.Decode(s); err != nil {
		t.Fatalf("schema/%s: %v", file, err)
	}
	return s
}

func validate(t *testing.T, file string, v any) error {
	t.Helper()
	return readSchema(t, file).check(t, file, v, "$")
}

// check validates v at a path; file is where s stands.
func (s *schema) check(t *testing.T, file string, v any, path string) error {
	if s.Ref != "" {
		to, def, _ := strings.Cut(s.Ref, "#/$defs/")
		if to == "" {
			to = file
		}
		target := readSchema(t, to)
		if def != "" {
			if target = target.Defs[def]; target == nil {
				t.Fatalf("schema/%s: %s leads nowhere", file, s.Ref)
			}
		}
		return target.check(t, to, v, path)
	}
	if len(s.OneOf) > 0 {
		var errs []error
		for _, o := range s.OneOf {
			if err := o.check(t, file, v, path); err != nil {
				errs = append(errs, err)
			}
		}
		if held := len(s.OneOf) - len(errs); held != 1 {
			return fmt.Errorf("%s: %d of oneOf hold: %v", path, held, errs)
		}
	}
	if s.Type != nil {
		var names []string
		switch of := s.Type.(type) {
		case string:
			names = []string{of}
		case []any:
			for _, name := range of {
				names = append(names, name.(string))
			}
		}
		if is := typesOf(v); !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(is, n) }) {
			return fmt.Errorf("%s: is %v, want %v", path, is, names)
		}
	}
	if s.Enum != nil && !slices.Contains(s.Enum, v) {
		return fmt.Errorf("%s: %v is none of %v", path, v, s.Enum)
	}
	switch v := v.(type) {
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Errorf("%s: %v is out of range", path, v)
		}
	case []any:
		for i, item := range v {
			if s.Items != nil {
				if err := s.Items.check(t, file, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
					return err
				}
			}
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				return fmt.Errorf("%s: lacks %s", path, name)
			}
		}
		for name, member := range v {
			p, known := s.Properties[name]
			switch {
			case known:
				if err := p.check(t, file, member, path+"."+name); err != nil {
					return err
				}
			case s.Additional != nil && !*s.Additional:
				return fmt.Errorf("%s: has %s", path, name)
			}
		}
	}
	return nil
}

func typesOf(v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{"null"}
	case bool:
		return []string{"boolean"}
	case string:
		return []string{"string"}
	case float64:
		if v == math.Trunc(v) {
			return []string{"number", "integer"}
		}
		return []string{"number"}
	case []any:
		return []string{"array"}
	}
	return []string{"object"}
}
