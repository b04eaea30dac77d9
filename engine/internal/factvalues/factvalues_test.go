package factvalues

import (
	"fmt"
	"testing"
	"time"
)

// TestForgotten holds that values which are no longer seen make room.
func TestForgotten(t *testing.T) {
	var v Values
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	admit := func(i int) bool {
		own, _ := v.Admit("a", "base", fmt.Sprint(i), now)
		return own
	}
	for i := range Max {
		if !admit(i) {
			t.Fatalf("value %d has no key", i)
		}
	}
	now = now.Add(For)
	if !admit(0) || admit(Max) {
		t.Error("after a day the old values still count")
	}
	now = now.Add(For)
	if !admit(0) || !admit(Max) {
		t.Error("after two days only what was seen since counts")
	}
	now = now.Add(10 * For)
	if !admit(1) || len(v.older) != 0 {
		t.Error("after a long time all is forgotten")
	}
}
