package storecodec

import (
	"hash/fnv"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"units below 0", Units(-1), 0},
		{"units", Units(7), 7},
		{"the most units", Units(math.MaxInt64), 1 << 53},
		{"a version", Version(7), 7},
		{"the greatest version", Version(math.MaxUint64), 1 << 53},
		{"a part of a microsecond", Micros(1500, false), 1},
		{"rounded up", Micros(1500, true), 2},
		{"a whole microsecond", Micros(2000, true), 2},
		{"below 0", Micros(-1500, true), -1},
		{"the longest time", Micros(math.MaxInt64, true), Longest},
		{"the longest before", Micros(math.MinInt64, false), -Longest},
		{"no lease", Lease(0), 10_000_000},
		{"a short lease", Lease(1), 1000},
		{"a lease", Lease(30 * time.Second), 30_000_000},
		{"a long lease", Lease(math.MaxInt64), 3_600_000_000},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, c.got, c.want)
		}
	}
}

func TestDigests(t *testing.T) {
	for _, name := range []string{"", "units", "é\xff"} {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))
		if got, want := Name(name), h.Sum64(); got != want {
			t.Errorf("the digest of the name %q: got %x, want %x", name, got, want)
		}
	}
	seen := map[uint64]limiter.StoreID{}
	for half := range 2 {
		for n := range 256 { // as ids of tests are
			var id limiter.StoreID
			id[8*half] = byte(n)
			if other, found := seen[Fold(id)]; found && other != id {
				t.Errorf("ids %x and %x: got the same digest %x", other, id, Fold(id))
			}
			seen[Fold(id)] = id
		}
	}
}

func TestCause(t *testing.T) {
	long := strings.Repeat("x", 201)
	for _, c := range []struct{ given, want limiter.Cause }{
		{},
		{limiter.Cause{Status: 429, Rule: "r", Code: "c", Operation: "o"}, limiter.Cause{Status: 429, Rule: "r", Code: "c", Operation: "o"}},
		{limiter.Cause{Status: -1, At: time.Unix(1, 0)}, limiter.Cause{Status: -1}},
		{limiter.Cause{Code: long}, limiter.Cause{Code: long[:200]}},
	} {
		b := string(AppendCause(nil, &c.given))
		if got, ok := Cause(b); !ok || got != c.want {
			t.Errorf("%+v: got %+v, %v, want %+v", c.given, got, ok, c.want)
		}
		if b == "" {
			continue
		}
		for i := 1; i < len(b); i++ {
			if got, ok := Cause(b[:i]); ok || got != (limiter.Cause{}) {
				t.Errorf("%d of %d bytes: got %+v, %v, want none", i, len(b), got, ok)
			}
		}
		if got, ok := Cause(b + "x"); ok {
			t.Errorf("a byte too many: got %+v, want none", got)
		}
	}
}
