//go:build unix

package pglimit

import (
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/limiter"
)

// Processes whose schema or secret differs are told so, unless they say that they are apart.
func TestFleets(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	member := byte(0)
	renew := func(s *Store) []string {
		t.Helper()
		s.fleets.asked = time.Time{}
		member++
		a, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: limiter.StoreID{member}, Expiry: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return a.Warnings
	}
	first := open(t, pool, Options{Secret: "s"})
	if got := renew(first); len(got) != 0 {
		t.Fatalf("the only process: got warnings %q, want none", got)
	}
	for _, c := range []struct {
		name    string
		options Options
		want    []string // in the warnings, in their order
	}{
		{"the same", Options{Secret: "s"}, nil},
		{"another fleet", Options{Secret: "t", Schema: "apart", Fleet: "apart"}, nil},
		{"another secret", Options{Secret: "t"}, []string{"Options.Secret"}},
		{"another schema as well", Options{Secret: "s", Schema: "other"}, []string{`Options.Schema ("other")`, "Options.Secret"}},
	} {
		renew(open(t, pool, c.options))
		got := renew(first)
		if len(got) != len(c.want) {
			t.Errorf("%s: got warnings %q, want %q in them", c.name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: got warning %q, want %q in it", c.name, got[i], c.want[i])
			}
		}
	}
}
