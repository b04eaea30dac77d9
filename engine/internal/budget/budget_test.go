package budget

import (
	"strconv"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// spend takes as many retries as there are, of at most 1000.
func (s *Set) spend(now time.Time, b *policy.Budget, key string) (n int) {
	for n < 1000 && s.Spend(now, b, key) {
		n++
	}
	return n
}

func TestSet(t *testing.T) {
	for _, tt := range []struct {
		name   string
		budget policy.Budget
		earned int           // first attempts
		after  time.Duration // since the first
		want   int           // retries
	}{
		{"new", policy.Budget{Ratio: 0.5}, 0, 0, 1},
		{"new with a minimum", policy.Budget{Ratio: 0.5, Min: 10}, 0, 0, 10},
		{"earned", policy.Budget{Ratio: 0.5}, 4, 0, 3},
		{"earned less than a whole one", policy.Budget{Ratio: 0.25}, 3, 0, 1},
		{"no more than the savings", policy.Budget{Ratio: 0.2}, 1000, 0, 20},
		{"a second's worth of the minimum", policy.Budget{Min: 10}, 0, time.Hour, 10},
		{"both", policy.Budget{Ratio: 0.2, Min: 10}, 1000, time.Hour, 20},
		{"nothing by itself", policy.Budget{}, 1000, time.Hour, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s Set
			for range tt.earned {
				s.Earn(start, &tt.budget, "a")
			}
			if got := s.spend(start.Add(tt.after), &tt.budget, "a"); got != tt.want {
				t.Errorf("%d retries, want %d", got, tt.want)
			}
			if s.Spend(start.Add(tt.after), &tt.budget, "a") {
				t.Error("one more retry than there are")
			}
			if got, want := s.spend(start, &tt.budget, "b"), int(max(1, tt.budget.Min)); got != want {
				t.Errorf("another key: %d retries, want %d", got, want)
			}
		})
	}
}

// Time adds the minimum, and a clock that is set back nothing.
func TestTime(t *testing.T) {
	var s Set
	b := &policy.Budget{Min: 2}
	s.spend(start, b, "a")
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{499 * time.Millisecond, 0}, {500 * time.Millisecond, 1}, {0, 0}, {1400 * time.Millisecond, 1}, {time.Hour, 2}} {
		if got := s.spend(start.Add(tt.at), b, "a"); got != tt.want {
			t.Errorf("at %v: %d retries, want %d", tt.at, got, tt.want)
		}
	}
}

func TestRefund(t *testing.T) {
	var s Set
	b := &policy.Budget{Ratio: 0.1}
	s.Refund(start, b, "a") // nothing is known of it
	if got := s.spend(start, b, "a"); got != 1 {
		t.Errorf("%d retries, want 1", got)
	}
	s.Refund(start, b, "a")
	if got := s.spend(start, b, "a"); got != 1 {
		t.Errorf("%d retries after one was given back, want 1", got)
	}
	for range 1000 {
		s.Refund(start, b, "a")
	}
	if got := s.spend(start, b, "a"); got != 10 {
		t.Errorf("%d retries after many were given back, want the savings, 10", got)
	}
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		name   string
		budget policy.Budget
		want   time.Time
	}{
		{"never", policy.Budget{Ratio: 0.5}, time.Time{}},
		{"soon", policy.Budget{Min: 4}, start.Add(250 * time.Millisecond)},
		{"an hour", policy.Budget{Min: 1. / 3600}, start.Add(time.Hour)},
		{"bounded", policy.Budget{Min: 1e-300}, start.Add(maxWait)},
	} {
		var s Set
		s.spend(start, &tt.budget, "a")
		if got := s.Ready(start, &tt.budget, "a"); !got.Round(time.Microsecond).Equal(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if got := s.Ready(start, &tt.budget, "new"); tt.budget.Min > 0 && !got.Equal(start) {
			t.Errorf("%s, new: %v, want %v", tt.name, got, start)
		}
	}
}

// Millions of keys neither pile up nor make anybody wait for a sweep.
func TestManyKeys(t *testing.T) {
	b := &policy.Budget{Ratio: 0.1, Min: 0.001}
	var s Set
	for i := range 20 * maxKeys {
		s.Spend(start, b, strconv.Itoa(i))
	}
	if n := len(s.keys); n > 16*maxKeys {
		t.Errorf("%d keys are remembered, want at most %d", n, 16*maxKeys)
	}
}
