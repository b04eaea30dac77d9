package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// What show prints is a policy that stands alone and decides as the one that it shows.
func TestShownPolicyDecidesAlike(t *testing.T) {
	for _, tt := range []struct {
		dir string
		set *policy.Set
	}{{"", policy.Builtin()}, {"testdata/policies", overlay(t, "testdata/policies")}} {
		for _, p := range tt.set.Policies() {
			args := []string{"show", p.Name}
			if tt.dir != "" {
				args = append(args, "--policies", tt.dir)
			}
			got := try(t, "", args...)
			if got.code != exitOK || got.stderr != "" {
				t.Errorf("recourse %s: exit code %d, stderr %q", strings.Join(args, " "), got.code, got.stderr)
				continue
			}
			set, found := policy.Load([]policy.File{{Name: "shown.yaml", Data: []byte(got.stdout)}}, policy.LoadOptions{})
			if set == nil {
				t.Errorf("what recourse %s prints does not load: %v", strings.Join(args, " "), found.Err())
				continue
			}
			if alone, _ := set.Policy(p.Name); alone.Version != p.Version {
				t.Errorf("what recourse %s prints has version %s, want %s", strings.Join(args, " "), alone.Version, p.Version)
			}
		}
	}
}

func overlay(t *testing.T, dir string) *policy.Set {
	t.Helper()
	files, err := policy.ReadFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	set, found := policy.Load(files, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		t.Fatal(found.Err())
	}
	return set
}

// Each rule's place is the one that decisions name.
func TestShownPlaces(t *testing.T) {
	for _, p := range policy.Builtin().Policies() {
		var out shown
		if err := json.Unmarshal([]byte(try(t, "", "show", p.Name, "rules", "--format", "json").stdout), &out); err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		if len(out.Parts) != len(p.Rules)-1 {
			t.Fatalf("%s: %d rules, want %d", p.Name, len(out.Parts), len(p.Rules)-1)
		}
		for i, part := range out.Parts {
			r := &p.Rules[i]
			if part.Name != r.Name || part.File != r.Pos.File || part.Inherited != r.Inherited {
				t.Errorf("%s: rule %d is %s of %s (inherited from %q), want %s of %s (%q)", p.Name, i, part.Name, part.File, part.Inherited, r.Name, r.Pos.File, r.Inherited)
			}
			if near := part.Line - r.Pos.Line; near < -3 || near > 3 {
				t.Errorf("%s: rule %s is on line %d, want about %d", p.Name, part.Name, part.Line, r.Pos.Line)
			}
		}
	}
}

func TestShowErrors(t *testing.T) {
	for _, tt := range []struct {
		args, stderr string
		code         exitCode
	}{
		{"show", "want the NAME of a policy", exitUsage},
		{"show gmial", `no policy "gmial" (did you mean "gmail"?)`, exitUsage},
		{"show nobody_at_all", "recourse list prints the built-in ones", exitUsage},
		{"show --policies testdata/policies nobody_at_all", "recourse list prints their names", exitUsage},
		{"show gmail rulse", `gmail has no part "rulse" (did you mean "rules"?)`, exitUsage},
		{"show gmail rules zzzzzzz", `gmail has no part "zzzzzzz"`, exitUsage},
		{"show gmail --policies testdata/nowhere", "testdata/nowhere", exitFailed},
		{"show gmail --policies testdata/check", "have errors", exitFailed},
		{"list gmail", `unknown command "gmail"`, exitUsage},
		{"list --policies testdata/nowhere", "testdata/nowhere", exitFailed},
		{"list --format xml", "want one of text, json", exitUsage},
	} {
		got := try(t, "", strings.Fields(tt.args)...)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) || got.stdout != "" {
			t.Errorf("recourse %s: exit code %d, %q, %q; want %d and %q", tt.args, got.code, got.stdout, got.stderr, tt.code, tt.stderr)
		}
	}
}

// A policy of one's own takes the place of a built-in one, and says so.
func TestListOwn(t *testing.T) {
	var out struct{ Policies []listed }
	if err := json.Unmarshal([]byte(try(t, "", "list", "--policies", "testdata/policies", "--format", "json").stdout), &out); err != nil {
		t.Fatal(err)
	}
	if first := out.Policies[0]; first.Policy != "acme" || first.Builtin || first.File != "testdata/policies/acme.yaml" {
		t.Errorf("the first is %+v, want acme of testdata/policies", first)
	}
	if n := len(policy.Builtin().Names()) + 1; len(out.Policies) != n {
		t.Errorf("%d policies, want %d", len(out.Policies), n)
	}
}
