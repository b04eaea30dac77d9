package enginetest

import (
	"testing"
	"time"
)

// A wait in any of its forms never ends before the time that it stands for.
func TestWaitForms(t *testing.T) {
	now := time.Date(2026, 9, 11, 20, 0, 0, 123_456_789, time.UTC)
	for _, d := range []time.Duration{1, time.Millisecond, 249 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2*time.Second + 1} {
		w := wait{now: now, until: now.Add(d)}
		for name, form := range map[string]func() (string, time.Time){
			"seconds": w.seconds, "decimal": w.decimal, "date": w.date, "instant": w.instant,
		} {
			text, named := form()
			if named.Before(w.until) || named.Sub(w.until) > time.Second {
				t.Errorf("%s of %v is %q, which names %v after the true time", name, d, text, named.Sub(w.until))
			}
		}
	}
}
