package main

import (
	"encoding/json"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"
)

// What the command prints, whole.
func TestGolden(t *testing.T) {
	tests := []struct {
		name  string
		stdin string
		args  string
		code  exitCode
	}{
		{"usage.txt", "", "help", exitOK},
		{"help-check.txt", "", "help check", exitOK},
		{"help-test.txt", "", "help test", exitOK},
		{"help-decide.txt", "", "help decide", exitOK},
		{"help-diff.txt", "", "help diff", exitOK},
		{"help-simulate.txt", "", "help simulate", exitOK},
		{"help-explain.txt", "", "help explain", exitOK},
		{"help-list.txt", "", "help list", exitOK},
		{"help-show.txt", "", "help show", exitOK},
		{"check-bad.txt", "", "check testdata/check/bad.yaml", exitCheck},
		{"check-bad.json", "", "check --format json testdata/check/bad.yaml", exitCheck},
		{"check-bad.github", "", "check --format=github testdata/check/bad.yaml", exitCheck},
		{"check-warned.txt", "", "check testdata/check/warned.yaml", exitOK},
		{"check-suite.txt", "", "check testdata/check/suite_test.yaml", exitCheck},
		{"decide.jsonl", "", "decide --policies testdata/policies testdata/cases.jsonl", exitFailed},
		{"explain-quota.txt", "", "explain --policies testdata/policies url=https://api.acme.example/v1/letters method=POST status=400 code=quota", exitOK},
		{"explain-quota.json", "", "explain --policies testdata/policies url=https://api.acme.example/v1/letters method=POST status=400 code=quota --format json", exitOK},
		{"explain-event.txt", `{"provider":"acme","method":"GET","status":423,"headers":{"Retry-After":"0"},"body":{"error":{"code":"closed","text":"On holiday\u0007 until the first working day of the new year, which is long enough to be cut"}}}`,
			"explain --policies testdata/policies", exitOK},
		{"explain-rule.txt", "", "explain --rule --policies testdata/policies url=https://api.acme.example/v1/letters method=POST status=400 code=quota", exitOK},
		{"show-acme.txt", "", "show --policies testdata/policies acme", exitOK},
		{"show-acme.json", "", "show --policies testdata/policies acme rules limits backoff --format json", exitOK},
		{"diff.txt", "", "diff --old testdata/policies --new testdata/diff testdata/cases.jsonl testdata/diff/cases.jsonl", exitFailed},
		{"diff.json", "", "diff --old testdata/policies --new testdata/diff --format json --fail-on repeat testdata/diff/cases.jsonl", exitDiff},
		{"diff.github", "", "diff --old testdata/policies --new testdata/diff --format github --fail-on early testdata/diff/cases.jsonl", exitDiff},
		{"simulate-list.txt", "", "simulate", exitOK},
		{"simulate.txt", "", "simulate testdata/simulate/small.yaml --policies testdata/policies", exitOK},
		{"simulate.json", "", "simulate testdata/simulate/small.yaml --policies testdata/policies --format json", exitOK},
		{"simulate-against.txt", "", "simulate testdata/simulate/small.yaml --policies testdata/simulate/hot --against testdata/policies", exitOK},
		{"test-failing.txt", "", "test testdata/failing --cover-min 90", exitTests},
		{"test-failing.json", "", "test testdata/failing --format json --cover-min 90", exitTests},
		{"test-failing.xml", "", "test testdata/failing --format junit --cover-min 90", exitTests},
		{"test-cover.txt", "", "test --cover testdata/policies/acme_test.yaml", exitOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := try(t, tt.stdin, strings.Fields(tt.args)...)
			if got.code != tt.code {
				t.Errorf("recourse %s: exit code %d, want %d; stderr: %s", tt.args, got.code, tt.code, got.stderr)
			}
			golden(t, filepath.Join("golden", tt.name), got.stdout)
			switch filepath.Ext(tt.name) {
			case ".json":
				if !json.Valid([]byte(got.stdout)) {
					t.Errorf("recourse %s: not JSON", tt.args)
				}
			case ".xml":
				if err := xml.Unmarshal([]byte(got.stdout), new(junitSuites)); err != nil {
					t.Errorf("recourse %s: not XML: %v", tt.args, err)
				}
			}
		})
	}
}

// The explanations fit into 80 columns, and are plain where no terminal is.
func TestExplainLayout(t *testing.T) {
	for _, args := range []string{
		"explain provider=gmail operation=messages.get method=GET status=403 code=rateLimitExceeded",
		"explain provider=microsoft_graph operation=messages.list method=GET status=429 header.Retry-After=40",
		"explain provider=nylas_v3 status=401 method=GET",
		"explain provider=smtp protocol=smtp operation=DATA network_error=EOF",
		"explain provider=" + strings.Repeat("long", 50) + " status=500 message=" + strings.Repeat("wide", 100),
	} {
		got := try(t, "", strings.Fields(args)...)
		if got.code != exitOK {
			t.Errorf("recourse %s: exit code %d: %s", args, got.code, got.stderr)
		}
		for line := range strings.Lines(got.stdout) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
				t.Errorf("recourse %s: %d columns: %s", args, n, line)
			}
		}
		if strings.Contains(got.stdout, "\x1b") {
			t.Errorf("recourse %s: colours where there is no terminal", args)
		}
	}
}
