package limiter

import (
	"testing"
	"time"
)

// A closure makes calls wait until one may ask the store, and then all but that one.
func TestClosureReady(t *testing.T) {
	const now, later = int64(10 * time.Second), int64(20 * time.Second)
	for _, tt := range []struct {
		name string
		s    *closure
		prio Priority
		at   int64 // when the call could pass without the closure
		want int64
	}{
		{"none", nil, Interactive, now, now},
		{"closed for longer", &closure{ask: later}, Interactive, now, later},
		{"closed for less than the call waits anyway", &closure{ask: now + 1}, Interactive, later, later},
		{"time to ask", &closure{ask: now}, Interactive, later, later},
		{"time to ask, by nobody yet", &closure{ask: now}, Interactive, now, now},
		{"an event is waited for", &closure{ask: later, event: true}, Interactive, now, onEvent},
		{"another call asks", &closure{ask: later, asking: true}, Interactive, now, onEvent},
		{"the call waits for an event anyway", &closure{ask: later}, Interactive, onEvent, onEvent},
		{"backfill alone is closed", &closure{ask: later, backfill: true}, Interactive, now, now},
		{"backfill alone is closed, to backfill", &closure{ask: later, backfill: true}, Backfill, now, later},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.ready(tt.prio, tt.at, now); got != tt.want {
				t.Errorf("at %v, now %v: ready at %v, want %v", tt.at, now, got, tt.want)
			}
		})
	}
}
