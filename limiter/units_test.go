package limiter

import "testing"

// What a permit was charged is that of the dearest of the limits that are asked about, until it ends.
func TestUnits(t *testing.T) {
	l := mustNew(t,
		Limit{Name: "a", Key: byAccount, Rate: 100, Burst: 100},
		Limit{Name: "b", Key: byAccount, Rate: 100, Burst: 100},
		Limit{Name: "slots", Key: byAccount, Concurrency: 3},
	)
	permit, ok := l.TryAcquire(&Request{Keys: Keys{Account: "x"}, Uses: []Use{{Limit: "a", Cost: 7}, {Limit: "b", Cost: 3}, {Limit: "slots"}}})
	if !ok {
		t.Fatal("no permit")
	}
	for _, tt := range []struct {
		limits []string
		want   int64
	}{
		{nil, 0},
		{[]string{"a"}, 7},
		{[]string{"b"}, 3},
		{[]string{"b", "a"}, 7},
		{[]string{"other"}, 0},
	} {
		if got := permit.Units(tt.limits); got != tt.want {
			t.Errorf("given %q\ngot  %d units, want %d", tt.limits, got, tt.want)
		}
	}
	permit.Cancel()
	if got := permit.Units([]string{"a"}); got != 0 {
		t.Errorf("got %d units after it was cancelled, want 0", got)
	}
	if got := (Permit{}).Units([]string{"a"}); got != 0 {
		t.Errorf("got %d units of no permit, want 0", got)
	}
}
