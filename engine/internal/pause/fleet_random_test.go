package pause

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter/storetest"
)

var randomSeeds = flag.Uint64("pauses.seeds", 150, "seeds of TestRandom")

// However pauses, resumptions, outages, lost answers and events, restarts without data and
// new processes meet: in the end all processes agree, and what was asked for last holds.
func TestRandom(t *testing.T) {
	if testing.Short() {
		*randomSeeds = min(*randomSeeds, 20)
	}
	for seed := range *randomSeeds {
		synctest.Test(t, func(t *testing.T) { random(t, seed) })
		if t.Failed() {
			return
		}
	}
}

func random(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	store := storetest.NewMemory(nil)
	var ps []*process
	for range 3 {
		ps = append(ps, join(t, store, rnd.IntN(2) == 0))
	}
	begun(ps...)
	alone := seed%3 == 2 // one alone asks for changes, and its requests may come much later
	late := seed%3 == 1  // requests of all come late, or twice
	type by struct {
		process int
		at      time.Time
	}
	changed, unsure := map[string]by{}, map[string]bool{} // unsure = two have changed it at about the same time
	asks := func(i int, account string) {
		unsure[account] = late && changed[account].process != i && time.Since(changed[account].at) < 10*time.Second
		changed[account] = by{i, time.Now()}
	}
	stuck := func() func() storetest.Fault {
		rnd := rand.New(rand.NewPCG(rnd.Uint64(), 2))
		return func() (f storetest.Fault) {
			if rnd.IntN(4) == 0 {
				f.Delay = time.Duration(rnd.Int64N(int64(30 * time.Second)))
			}
			if rnd.IntN(6) == 0 {
				f.Again = time.Duration(rnd.Int64N(int64(30 * time.Second)))
			}
			return f
		}
	}
	want, ends := map[string]bool{}, map[string]time.Time{}
	var history []string
	log := func(format string, args ...any) {
		history = append(history, fmt.Sprint(time.Since(start), " ", fmt.Sprintf(format, args...)))
	}
	settle := func() {
		for _, p := range ps {
			p.link.set(nil)
		}
		time.Sleep(5 * time.Second)
		for account, paused := range want {
			if unsure[account] {
				_, paused = ps[0].Of(account)
			} else if end := ends[account]; !end.IsZero() && time.Since(end).Abs() < 10*time.Second { // a request that is under way for long makes it end later
				continue
			} else if !end.IsZero() && time.Now().After(end) {
				paused = false
			}
			for i, p := range ps {
				if _, got := p.Of(account); got != paused {
					t.Fatalf("seed %d: process %d: %s is paused %v, want %v\n%s", seed, i, account, got, paused, strings.Join(history, "\n"))
				}
			}
		}
		log("settled")
	}
	for range 60 {
		i := rnd.IntN(len(ps))
		switch k := rnd.IntN(20); {
		case k < 6:
			if alone {
				i = 0
			}
			account := fmt.Sprint("account", rnd.IntN(3))
			p := Pause{Account: account, Since: time.Now(), Reason: fmt.Sprint(rnd.IntN(2))}
			if rnd.IntN(3) == 0 {
				p.Until = time.Now().Add(time.Duration(rnd.IntN(120)) * time.Second)
			}
			asks(i, account)
			want[account], ends[account] = true, p.Until
			log("%d pauses %s until %v: %v", i, account, p.Until.Sub(start), ps[i].Pause(p))
		case k < 12:
			if alone {
				i = 0
			}
			account := fmt.Sprint("account", rnd.IntN(3))
			asks(i, account)
			want[account], ends[account] = false, time.Time{}
			log("%d resumes %s: %v", i, account, ps[i].Resume(account))
		case k < 14:
			log("%d is cut off", i)
			ps[i].link.set(down)
		case k < 15:
			lost := seed % 5
			log("%d loses answers", i)
			ps[i].link.set(func() storetest.Fault {
				if lost++; lost%3 != 0 {
					return storetest.Fault{After: errDown}
				}
				return storetest.Fault{}
			})
		case k < 16 && alone:
			d := time.Duration(rnd.Int64N(int64(8 * time.Second)))
			log("requests of 0 take %v", d)
			ps[0].link.set(func() storetest.Fault { return storetest.Fault{Delay: d} })
		case k < 16 && late:
			log("requests of %d come late", i)
			ps[i].link.set(stuck())
		case k < 18:
			log("%d is back", i)
			ps[i].link.set(nil)
		case k < 19:
			log("the store forgets")
			store.Forget()
		case len(ps) < 6:
			log("%d joins", len(ps))
			ps = append(ps, join(t, store, rnd.IntN(2) == 0))
			begun(ps[len(ps)-1])
		}
		time.Sleep(10*time.Millisecond + time.Duration(rnd.Int64N(int64(2*time.Second))))
		if rnd.IntN(15) == 0 {
			settle()
		}
	}
	settle()
	time.Sleep(10 * time.Second) // what comes late
	settle()
}
