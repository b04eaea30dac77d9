package breaker

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// clock drives one breaker of a Set by explicit times.
type clock struct {
	t   *testing.T
	s   Set
	key Key
	now time.Time
}

func newClock(t *testing.T, b policy.Breaker) *clock {
	return &clock{t: t, key: Key{b, "h"}, now: start}
}

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func (c *clock) take() *Ticket {
	t, _ := c.s.Take(c.now, c.key)
	return t
}

// must takes a ticket that there must be.
func (c *clock) must() *Ticket {
	c.t.Helper()
	t, until := c.s.Take(c.now, c.key)
	if t == nil {
		c.t.Fatalf("after %v: refused until %v", c.now.Sub(start), until.Sub(start))
	}
	return t
}

// refused holds that there is no ticket until a time.
func (c *clock) refused(want time.Duration) {
	c.t.Helper()
	if t, until := c.s.Take(c.now, c.key); t != nil || until.Sub(start) != want {
		c.t.Errorf("after %v: ticket %v, until %v; want none until %v", c.now.Sub(start), t != nil, until.Sub(start), want)
	}
}

func (c *clock) is(want State) {
	c.t.Helper()
	if got := c.s.find(c.key).current(); got != want {
		c.t.Errorf("after %v: %v, want %v", c.now.Sub(start), got, want)
	}
}

// Failures in a row open a breaker however far apart they are; a reply between
// them ends the row, what says nothing does not.
func TestFailuresInARow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		told  []Evidence
		want  State
		ratio float64
	}{
		{"three", []Evidence{Down, Down, Down}, Open, 0},
		{"three beside a ratio", []Evidence{Down, Down, Down}, Open, 0.9},
		{"two", []Evidence{Down, Down}, Closed, 0},
		{"a reply between", []Evidence{Down, Down, Up, Down}, Closed, 0},
		{"nothing learned between", []Evidence{Down, Down, None, Down}, Open, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock(t, policy.Breaker{Failures: 3, Ratio: tt.ratio, Min: 20, Window: 10 * time.Second, Open: time.Hour, Probes: 1})
			for _, e := range tt.told {
				c.must().Return(c.now, e)
				c.pass(time.Minute)
			}
			c.is(tt.want)
		})
	}
}

// The ratio is of what is known within the window: attempts under way and those
// that say nothing do not hide an outage, and old ones are forgotten.
func TestRatio(t *testing.T) {
	ratio := policy.Breaker{Ratio: 0.5, Min: 4, Window: time.Minute, Open: 30 * time.Second, Probes: 1}
	for _, tt := range []struct {
		name string
		told []Evidence
		gap  time.Duration
		want State
	}{
		{"half", []Evidence{Up, Up, Down, Down}, time.Second, Open},
		{"too few", []Evidence{Down, Down, Down}, time.Second, Closed},
		{"less than half", []Evidence{Up, Up, Up, Down, Down}, time.Second, Closed},
		{"nothing learned", []Evidence{None, None, None, None, Up, Down, Down}, time.Second, Closed},
		{"beside what says nothing", []Evidence{Up, None, None, None, None, Up, Down, Down}, time.Second, Open},
		{"replies long ago", []Evidence{Up, Up, Up, Up, Up, Down, Down, Down}, 13 * time.Second, Open},
		{"failures long ago", []Evidence{Down, Down, Down, Down}, 50 * time.Second, Closed},
		{"once a window", []Evidence{Down, Down, Down, Down, Down}, 61 * time.Second, Closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock(t, ratio)
			for range 10 {
				c.must() // under way
			}
			for _, e := range tt.told {
				c.must().Return(c.now, e)
				c.pass(tt.gap)
			}
			c.is(tt.want)
		})
	}
}

// An open breaker refuses until its time is over, at which it lets a probe pass.
func TestOpen(t *testing.T) {
	c := newClock(t, policy.Breaker{Failures: 1, Open: 30 * time.Second, Probes: 2})
	before := c.must()
	c.must().Return(c.now, Down)
	c.refused(30 * time.Second)
	before.Return(c.now, Up) // an answer to what was sent before says nothing now
	c.pass(30*time.Second - 1)
	c.refused(30 * time.Second)
	c.pass(1)
	first := c.must()
	c.pass(time.Second)
	second := c.must()
	c.refused(60 * time.Second)
	first.Return(c.now, Up)
	c.is(HalfOpen)
	c.refused(61 * time.Second)
	second.Return(c.now, Up)
	c.is(Closed)
	c.must().Return(c.now, Down)
	c.is(Open)
	c.pass(30 * time.Second)
	c.must().Return(c.now, Down)
	c.is(Open)
	c.refused(91 * time.Second)
}

// A ticket counts once, and a probe that says nothing makes room.
func TestReturn(t *testing.T) {
	c := newClock(t, policy.Breaker{Failures: 2, Open: 30 * time.Second, Probes: 1})
	ticket := c.must()
	ticket.Return(c.now, Down)
	ticket.Return(c.now, Down)
	c.is(Closed)
	c.must().Return(c.now, Down)
	c.pass(30 * time.Second)
	c.must().Return(c.now, None)
	probe := c.must()
	probe.Return(c.now, None)
	probe.Return(c.now, Up)
	c.is(HalfOpen)
	c.must().Return(c.now, Up)
	c.is(Closed)
}

// A probe that hangs makes room for another after as long as the breaker was Open,
// and what it finds out in the end still counts.
func TestLateProbe(t *testing.T) {
	for _, tt := range []struct {
		name string
		late Evidence
		want State
	}{{"up", Up, Closed}, {"down", Down, Open}, {"nothing", None, HalfOpen}} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClock(t, policy.Breaker{Failures: 1, Open: 30 * time.Second, Probes: 1})
			c.must().Return(c.now, Down)
			c.pass(30 * time.Second)
			late := c.must()
			c.pass(29 * time.Second)
			c.refused(60 * time.Second)
			c.pass(time.Second)
			c.must()
			c.refused(90 * time.Second)
			late.Return(c.now, tt.late)
			c.is(tt.want)
		})
	}
}

// A probe that is left of an earlier round neither counts nor stands for one of
// this.
func TestRounds(t *testing.T) {
	c := newClock(t, policy.Breaker{Failures: 1, Open: 10 * time.Second, Probes: 2})
	c.must().Return(c.now, Down)
	c.pass(10 * time.Second)
	hangs := c.must()
	c.must().Return(c.now, Down)
	c.pass(10 * time.Second)
	c.must()
	c.must()
	hangs.Return(c.now, Down)
	c.is(HalfOpen)
	c.pass(10 * time.Second)
	c.must()
	c.must()
	c.refused(40 * time.Second)
}

// Whatever becomes of the probes, a breaker is closed again soon after the host is
// back.
func TestNeverStuck(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		c := newClock(t, policy.Breaker{Failures: 3, Ratio: 0.5, Min: 5, Window: time.Minute, Open: 30 * time.Second, Probes: 1 + rnd.IntN(3)})
		var held []*Ticket
		for range 300 {
			if ticket := c.take(); ticket != nil {
				held = append(held, ticket)
			}
			if len(held) > 0 && rnd.IntN(2) == 0 {
				i := rnd.IntN(len(held))
				held[i].Return(c.now, Evidence(rnd.IntN(3)))
			}
			c.pass(time.Duration(rnd.IntN(3000)) * time.Millisecond)
		}
		c.pass(30 * time.Second) // those that are held still never come back
		for range 5 {            // as many as there are probes, and some
			if ticket := c.take(); ticket != nil {
				ticket.Return(c.now, Up)
			}
		}
		if c.is(Closed); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Millions of keys neither pile up nor make anybody wait for a sweep; open ones are
// kept while others can go.
func TestManyKeys(t *testing.T) {
	var s Set
	b := policy.Breaker{Failures: 1, Open: time.Hour, Probes: 1}
	down, _ := s.Take(start, Key{b, "down"})
	down.Return(start, Down)
	for i := range 5 * maxKeys {
		s.Take(start, Key{b, strconv.Itoa(i)})
	}
	if n := len(s.keys); n > maxKeys {
		t.Errorf("%d closed breakers are remembered, want at most %d", n, maxKeys)
	}
	if ticket, _ := s.Take(start, Key{b, "down"}); ticket != nil {
		t.Error("the open breaker is forgotten")
	}
	for i := range 5 * maxKeys {
		ticket, _ := s.Take(start, Key{b, "x" + strconv.Itoa(i)})
		ticket.Return(start, Down)
	}
	if n := len(s.keys); n > 2*maxKeys {
		t.Errorf("%d open breakers are remembered, want at most %d", n, 2*maxKeys)
	}
}

// Keys and sections are apart.
func TestKeys(t *testing.T) {
	var s Set
	b := policy.Breaker{Failures: 1, Open: time.Hour, Probes: 1}
	ticket, _ := s.Take(start, Key{b, "a"})
	ticket.Return(start, Down)
	other := b
	other.Open = time.Minute
	for _, tt := range []struct {
		key  Key
		want bool
	}{{Key{b, "a"}, false}, {Key{b, "b"}, true}, {Key{other, "a"}, true}} {
		if ticket, _ := s.Take(start, tt.key); (ticket != nil) != tt.want {
			t.Errorf("%+v: ticket %v, want %v", tt.key, ticket != nil, tt.want)
		}
	}
}

// A call inside an attempt returns the tickets around it that are of its own
// breaker, and of no other.
func TestReturnOuter(t *testing.T) {
	c := newClock(t, policy.Breaker{Failures: 1, Open: 30 * time.Second, Probes: 1})
	c.must().Return(c.now, Down)
	c.pass(30 * time.Second)
	other := Key{c.key.Section, "other"}
	foreign, _ := c.s.Take(c.now, other)
	outer := c.must()
	ctx := With(With(t.Context(), outer), foreign)
	c.refused(60 * time.Second)
	c.s.ReturnOuter(t.Context(), c.now, c.key)
	c.refused(60 * time.Second)
	c.s.ReturnOuter(ctx, c.now, c.key)
	inner := c.must()
	outer.Return(c.now, Down) // it counts no more
	c.is(HalfOpen)
	foreign.Return(c.now, Down)
	if got := c.s.find(other).current(); got != Open {
		t.Errorf("the other breaker's ticket was returned: %v", got)
	}
	inner.Return(c.now, Up)
	c.is(Closed)
}
