package limiter

import (
	"testing"
	"time"
)

// A key's buckets keep their levels when a reload adds more of them than the key had room for.
func TestUpdateAddsBuckets(t *testing.T) {
	bucket := func(name string) Limit { return Limit{Name: name, Key: byAccount, Rate: 1, Burst: 10} }
	for _, tt := range []struct {
		name  string
		added []Limit
	}{
		{"one more", []Limit{bucket("b")}},
		{"three more", []Limit{bucket("b"), bucket("c"), bucket("d")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := mustNew(t, bucket("a"))
			now := time.Now()
			k := Keys{Account: "ann"}
			if _, _, ok := l.TryAcquireAt(now, &Request{Keys: k, Uses: []Use{{Limit: "a", Cost: 8}}}); !ok {
				t.Fatal("a full bucket of 10 refuses 8")
			}
			if err := l.Update(append([]Limit{bucket("a")}, tt.added...)); err != nil {
				t.Fatal(err)
			}
			if got := l.PeekAt(now, "a", k).Level; got < 2 || got > 2.5 {
				t.Errorf("after 8 of 10 units and a reload: level %v, want 2", got)
			}
			for _, m := range tt.added {
				if got := l.PeekAt(now, m.Name, k).Level; got != 10 {
					t.Errorf("the new bucket %q: level %v, want 10", m.Name, got)
				}
			}
		})
	}
}
