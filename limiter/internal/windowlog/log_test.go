package windowlog

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// grants is the same as a Log, by hand: every grant for itself, none forgotten.
type grants []grant

type grant struct{ at, units int64 }

// peak is the most units of any window that at is in.
func (gs grants) peak(at, window int64) (most int64) {
	ends := []int64{at}
	for _, g := range gs {
		if g.at > at && g.at <= at+window {
			ends = append(ends, g.at)
		}
	}
	for _, end := range ends {
		n := int64(0)
		for _, g := range gs {
			if g.at >= end-window && g.at <= end {
				n += g.units
			}
		}
		most = max(most, n)
	}
	return most
}

// A log of a few grants says what a list of them says, at times in any order.
func TestExact(t *testing.T) {
	const window, quota = 100, 5
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var l Log
		var gs grants
		now := int64(0)
		for range 60 {
			now += rnd.Int64N(30)
			at := now
			if rnd.IntN(4) == 0 {
				at += rnd.Int64N(3 * window)
			}
			l.Forget(now - window)
			units := 1 + rnd.Int64N(2)
			if got, want := l.Peak(at, window), gs.peak(at, window); got != want {
				t.Fatalf("seed %d: %d units around %d, want %d: %v", seed, got, at, want, gs)
			}
			ready := at
			for gs.peak(ready, window)+units > quota {
				ready++
			}
			if got := l.Ready(units, quota, window, at); got != ready {
				t.Fatalf("seed %d: %d units are ready at %d from %d on, want %d: %v", seed, units, got, at, ready, gs)
			}
			switch rnd.IntN(4) {
			case 0:
				if len(gs) == 0 {
					break
				}
				i := rnd.IntN(len(gs))
				if g := gs[i]; l.Refund(g.units, g.at) {
					gs = append(gs[:i:i], gs[i+1:]...)
				} else if g.at >= now-window {
					t.Fatalf("seed %d: the grant at %d is not known at %d", seed, g.at, now)
				}
			case 1:
				if len(gs) == 0 {
					break
				}
				i := rnd.IntN(len(gs))
				g := gs[i]
				rest := append(gs[:i:i], gs[i+1:]...)
				fits := rest.peak(at, window)+g.units <= quota
				if l.Move(g.units, g.at, at, quota, window) {
					if !fits {
						t.Fatalf("seed %d: moved from %d to %d, where %d units are: %v", seed, g.at, at, rest.peak(at, window), gs)
					}
					gs = append(rest, grant{at, g.units})
				} else if fits {
					t.Fatalf("seed %d: not moved from %d to %d", seed, g.at, at)
				}
			default:
				if gs.peak(at, window)+units <= quota {
					l.Take(units, at, window)
					gs = append(gs, grant{at, units})
				}
			}
		}
	}
}

// A log of many grants joins them: it never counts less than there are, stays
// short, and gives nearly all of the quota.
func TestJoined(t *testing.T) {
	const window, quota = 3200, 1000
	for _, c := range []struct {
		name  string
		ahead int64 // how far times are ahead of the clock at most
		still bool  // the clock stands still
		share float64
	}{
		{"in order", 0, false, 0.96},
		{"ahead", window, false, 0},
		{"the clock stands still", 0, true, 0.96},
	} {
		t.Run(c.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(7, 7))
			var l Log
			var gs grants
			got := int64(0)
			const end = 20 * window
			for now := int64(0); now < end; now += 3 {
				at := now
				if c.ahead > 0 {
					at += rnd.Int64N(c.ahead)
				}
				if !c.still {
					l.Forget(now - window)
				}
				if l.Peak(at, window)+1 > quota {
					continue
				}
				l.Take(1, at, window)
				got++
				gs = append(gs, grant{at, 1})
				if n := len(l.spans); n > most {
					t.Fatalf("%d spans", n)
				}
			}
			slices.SortFunc(gs, func(a, b grant) int { return cmp.Compare(a.at, b.at) })
			from, n := 0, int64(0)
			for _, g := range gs {
				for n += g.units; gs[from].at < g.at-window; from++ {
					n -= gs[from].units
				}
				if n > quota {
					t.Fatalf("%d units from %d to %d, want at most %d", n, gs[from].at, g.at, quota)
				}
			}
			if share := float64(got) / (quota * end / window); share < c.share {
				t.Errorf("it gave %.3f of the quota, want %.3f", share, c.share)
			}
		})
	}
}

func TestForget(t *testing.T) {
	var l Log
	for at := range int64(10) {
		l.Take(1, at*10, 100)
	}
	l.Forget(50)
	if got := l.Since(0); got != 5 || l.Empty() {
		t.Errorf("%d units are left, want 5", got)
	}
	if l.Refund(1, 40) || !l.Refund(1, 50) || l.Refund(1, 50) {
		t.Error("a forgotten grant was given back, or a known one was not, or twice")
	}
	l.Forget(1000)
	if !l.Empty() || l.Since(0) != 0 {
		t.Error("something is left")
	}
}
