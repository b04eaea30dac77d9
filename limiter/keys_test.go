package limiter

import (
	"testing"
	"time"
)

// TestFactKeys holds that each fact is read back as it was written, whatever is in it.
func TestFactKeys(t *testing.T) {
	for _, facts := range []map[string]string{
		nil, {"a": "b"}, {"a": "", "b": "c"}, {"base": "x\x00y", "table": "a=b&c", "ä": "ö"}, {"a": string(make([]byte, 300)), "b": "c"},
	} {
		k := Keys{Facts: FactKeys(facts)}
		for name, want := range facts {
			if got := k.Fact(name); got != want {
				t.Errorf("given %q: %s is %q, want %q", facts, name, got, want)
			}
		}
		if got := k.Fact("other"); got != "" {
			t.Errorf("given %q: a fact that is not there is %q", facts, got)
		}
	}
	for _, broken := range []string{"\x05", "\xff\xff\xff\xff\xff\xff", "\x01", "\x01a", "\x01a\x09b"} {
		if got := (&Keys{Facts: broken}).Fact("a"); got != "" {
			t.Errorf("given %q: got %q", broken, got)
		}
	}
}

// TestLimitByFact holds that a limit by a fact keeps each value apart, tells them in its
// state, and survives a reload.
func TestLimitByFact(t *testing.T) {
	base, err := FactDimension("base")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := FactDimension("base"); again != base || base.String() != "base" {
		t.Errorf("the dimension %v, then %v", base, again)
	}
	l, err := New([]Limit{{Name: "base", Key: []Dimension{Account, base}, Rate: 1, Burst: 1}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	keys := func(value string) Keys {
		return Keys{Account: "a", Facts: FactKeys(map[string]string{"base": value, "table": "t" + value})}
	}
	for i, tt := range []struct {
		value string
		want  bool
	}{{"x", true}, {"y", true}, {"x", false}, {"", true}, {"z", true}} {
		_, _, ok := l.TryAcquireAt(now, &Request{Keys: keys(tt.value), Uses: []Use{{Limit: "base", Cost: 1}}})
		if ok != tt.want {
			t.Errorf("call %d of %q: granted %t, want %t", i, tt.value, ok, tt.want)
		}
	}
	st := l.PeekAt(now, "base", keys("x"))
	if st.Keys.Account != "a" || st.Keys.Fact("base") != "x" || st.Keys.Fact("table") != "" || st.Level != 0 {
		t.Errorf("got %+v", st)
	}
	l.HoldAt(now, "base", keys("y"), now.Add(time.Hour))
	for value, held := range map[string]bool{"x": false, "y": true} {
		if st := l.PeekAt(now, "base", keys(value)); st.Held.IsZero() == held {
			t.Errorf("%s is held until %v, want %t", value, st.Held, held)
		}
	}
	if _, err := New([]Limit{{Name: "base", Key: []Dimension{250}, Rate: 1, Burst: 1}}, Options{}); err == nil {
		t.Error("a key of no dimension is taken")
	}
}
