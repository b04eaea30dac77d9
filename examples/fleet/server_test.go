package main

import (
	"math"
	"testing"
	"time"
)

// What the provider counts, counted by hand. Times are in milliseconds.
func TestCount(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	send := func(ms int) arrival { return arrival{at(ms), at(ms), at(ms), at(ms), 10} }
	late := func(ms, asOf int) arrival { return arrival{at(ms), at(asOf), at(asOf), at(asOf), 10} }
	share := func(ms int) arrival { return arrival{at(ms), at(ms), at(ms), time.Time{}, 10} }
	refusal := []span{{at(1000), at(2000)}}
	for _, c := range []struct {
		name        string
		m           mailbox
		lower       []span
		slowest     time.Duration
		over, early int
	}{
		{"nothing", mailbox{}, nil, 0, 0, 0},
		{"a burst", mailbox{arrivals: []arrival{send(0), send(0)}}, nil, 0, 0, 0},
		{"one too many", mailbox{arrivals: []arrival{send(0), send(0), send(0)}}, nil, 0, 1, 0},
		{"as its units come back", mailbox{arrivals: []arrival{send(0), send(0), send(167), send(334)}}, nil, 0, 0, 0},
		{"before its units come back", mailbox{arrivals: []arrival{send(0), send(0), send(160)}}, nil, 0, 1, 0},
		{"at the lower rate", mailbox{arrivals: []arrival{send(0), send(0), send(167)}}, []span{{at(0), at(1000)}}, 0, 1, 0},
		{"as the lower rate allows", mailbox{arrivals: []arrival{send(0), send(0), send(250)}}, []span{{at(0), at(1000)}}, 0, 0, 0},
		{"lower in between", mailbox{arrivals: []arrival{send(0), send(0), send(210)}}, []span{{at(50), at(150)}}, 0, 0, 0},
		{"under way for a while", mailbox{arrivals: []arrival{late(170, 0), late(170, 0), late(170, 170)}}, nil, 170 * time.Millisecond, 0, 0},
		{"the store granted too many", mailbox{arrivals: []arrival{late(500, 0), late(500, 0), late(500, 0)}}, nil, time.Second, 1, 0},
		{"shares", mailbox{arrivals: []arrival{send(0), send(0), share(0)}}, nil, time.Second, 0, 0},
		{"asked after a refusal was told", mailbox{holds: refusal, told: []time.Time{at(1010)}, arrivals: []arrival{send(1011)}}, nil, 0, 0, 1},
		{"under way when it was told", mailbox{holds: refusal, told: []time.Time{at(1010)}, arrivals: []arrival{late(1020, 1009)}}, nil, 0, 0, 0},
		{"reserved before, and long after", mailbox{holds: refusal, told: []time.Time{at(1010)}, arrivals: []arrival{{at(1900), at(1000), at(1900), at(1900), 10}}}, nil, 0, 0, 1},
		{"nobody was told", mailbox{holds: refusal, arrivals: []arrival{send(1500)}}, nil, 0, 0, 0},
		{"after the refusal's time", mailbox{holds: refusal, told: []time.Time{at(1010)}, arrivals: []arrival{send(2000)}}, nil, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			granted, arrived, _ := c.m.over(c.slowest, c.lower)
			if over, early := max(granted, arrived), c.m.early(c.slowest); over != c.over || early != c.early {
				t.Errorf("got %d over the limit and %d early, want %d and %d", over, early, c.over, c.early)
			}
		})
	}
}

// Utilisation is 1 at most, however short the time is that counts.
func TestUtilisation(t *testing.T) {
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name     string
		to       int // counted from 1000 on
		without  []span
		want     float64
		measured time.Duration
	}{
		{"a part", 1500, nil, 20.0 / 30, 500 * time.Millisecond},
		{"a burst in a short time", 1010, nil, 1, 10 * time.Millisecond},
		{"a time to leave out", 1500, []span{{at(1250), at(1500)}}, 1, 250 * time.Millisecond},
		{"nothing but that", 1500, []span{{at(0), at(1500)}}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &mailbox{arrivals: []arrival{{at: at(1000), cost: 10}, {at: at(1000), cost: 10}}}
			p := &provider{mailboxes: map[string]*mailbox{"mail": m}}
			got := p.count(at(1000), at(c.to), c.without)
			if math.Abs(got.utilisation-c.want) > 1e-9 || got.measured != c.measured {
				t.Errorf("got %v of %v, want %v of %v", got.utilisation, got.measured, c.want, c.measured)
			}
		})
	}
}
