package corpus

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// verdict is what a case of policy/provider/testdata expects.
type verdict struct {
	ID       string   `json:"id"`
	Provider string   `json:"provider"`
	Action   string   `json:"want_action"`
	AlsoOK   []string `json:"also_ok"`           // other answers that are acceptable
	Wait     float64  `json:"want_wait_seconds"` // what the server asked for
	MinWait  float64  `json:"want_min_wait_seconds"`
}

// named is an answer by the name that the cases give it.
func named(a *Answer) string {
	switch {
	case a.Action == "retry":
		return "retry-backoff"
	case a.Action == "wait":
		return "wait-retry-after"
	case a.Action == "reauth":
		return "reauthenticate"
	case a.Action == "accept":
		return "success"
	case a.As == "needs_user":
		return "fail-needs-user"
	case a.As == "resync":
		return "resync"
	}
	return "fail-permanent"
}

// wrong says what is wrong with an answer, "" if nothing.
func (v *verdict) wrong(a *Answer) string {
	got := named(a)
	if got != v.Action && !slices.Contains(v.AlsoOK, got) {
		return fmt.Sprintf("%s by rule %s, want %s or one of %v", got, a.Rule, v.Action, v.AlsoOK)
	}
	if got != "retry-backoff" && got != "wait-retry-after" {
		return ""
	}
	if got == "wait-retry-after" && v.Wait > 0 && math.Abs(a.HintSeconds-v.Wait) > 0.02*v.Wait {
		return fmt.Sprintf("a hint of %g s by rule %s, want %g s", a.HintSeconds, a.Rule, v.Wait)
	}
	if least := max(v.Wait, v.MinWait); a.MinDelaySeconds < least-1e-6 {
		return fmt.Sprintf("as early as %g s by rule %s, want %g s", a.MinDelaySeconds, a.Rule, least)
	}
	return ""
}

// TestPacks decides every case beside the built-in policies: errors that were
// reported (reported.jsonl), and those that the providers document or that
// cover a variation. None may be answered wrongly.
func TestPacks(t *testing.T) {
	files, err := filepath.Glob("../../policy/provider/testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	d, err := NewDecider(policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	right, all := map[string]int{}, map[string]int{}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			var v verdict
			if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
			c, err := ParseCase(lines.Bytes())
			if err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
			a, err := d.Decide(&c)
			if err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
			all[v.Provider]++
			if w := v.wrong(&a); w != "" {
				t.Errorf("%s:%d: %s: got %s", filepath.Base(name), n, v.ID, w)
				continue
			}
			right[v.Provider]++
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	providers := make([]string, 0, len(all))
	for p := range all {
		providers = append(providers, p)
	}
	sort.Strings(providers)
	var table strings.Builder
	for _, p := range providers {
		fmt.Fprintf(&table, "\n%-16s %4d of %4d right", p, right[p], all[p])
	}
	t.Log(table.String())
}
