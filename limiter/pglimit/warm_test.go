//go:build unix

package pglimit

import (
	"slices"
	"sync"
	"testing"

	"github.com/recourse-go/recourse/internal/pgtest"
)

// Each connection is used for something else before it is used for a call, and that leaves nothing.
func TestWarm(t *testing.T) {
	pool := connect(t, pgtest.Start(t)+"&pool_max_conns=5")
	s := open(t, pool, Options{})
	k := s.Key("place", "name")
	var wg sync.WaitGroup
	for i := range uint64(40) {
		wg.Go(func() {
			if _, err := s.Take(t.Context(), taking(i, k)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cold := 0
	for range 5 { // all of them, one of which makes all others wait if it is not given back
		c, err := s.conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Release()
		if !isWarm(c) {
			cold++
		}
	}
	if cold > 0 {
		t.Errorf("got %d connections that were not used before, want none", cold)
	}
	one := connect(t, pool.Config().ConnString())
	var names [][16]byte
	if err := one.QueryRow(t.Context(), "select array_agg(key) from recourse.keys").Scan(&names); err != nil {
		t.Fatal(err)
	}
	if want := [][16]byte{k.Name}; !slices.Equal(names, want) {
		t.Errorf("got keys %v, want %v", names, want)
	}
}
