package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// ComparePauses makes random requests about pauses to a store and to a [Memory], at the same
// times, and fails the test if an answer differs. start returns a new store that is empty and
// reads the time from clock; it must be a [limiter.PauseStore].
func ComparePauses(t *testing.T, seed uint64, requests int, start func(t *testing.T, clock func() time.Time) limiter.Store) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	rnd := rand.New(rand.NewPCG(seed, 3))
	store := start(t, clock)
	want, got := NewMemory(clock), store.(limiter.PauseStore)
	accounts := []int{3, 30, 1000}[seed%3]
	var marks [4]limiter.PauseMark
	number := uint64(0)
	var seen []limiter.AccountPause                               // whose Account is as the Memory names it
	names, back := map[[16]byte]string{}, map[[16]byte][16]byte{} // of accounts: as they are, and as the Memory names them
	for name := range accounts {
		name := fmt.Sprint("account", name)
		back[store.Key("pause", name).Name] = want.Key("pause", name).Name
	}
	for i := range requests {
		m := rnd.IntN(len(marks))
		r := limiter.PauseRequest{Known: marks[m]}
		if rnd.IntN(50) == 0 {
			r.Known = limiter.PauseMark{Store: marks[m].Store, Change: marks[rnd.IntN(len(marks))].Change + uint64(rnd.IntN(2)), Page: uint64(rnd.IntN(2))}
		}
		n := rnd.IntN(4)
		if accounts > 100 {
			n = rnd.IntN(limiter.MaxPauseChanges + 1)
		}
		var plain []string
		for range n {
			c := limiter.PauseChange{AccountPause: limiter.AccountPause{
				Resumed: rnd.IntN(3) == 0, Ago: time.Duration(rnd.Int64N(int64(10 * time.Second))), Reason: []string{"", "why", "a\x00'\xff", string(make([]byte, 300))}[rnd.IntN(4)],
				Left: []time.Duration{0, -1, 1, time.Second, time.Minute + 1, 50 * 24 * time.Hour, 1 << 62}[rnd.IntN(7)],
			}, Late: rnd.IntN(3) == 0}
			c.By[0] = byte(rnd.IntN(3))
			if number++; rnd.IntN(3) > 0 {
				c.Number = number
			} else {
				c.Number = number - uint64(rnd.IntN(int(min(number, 20))))
			}
			name := fmt.Sprint("account", rnd.IntN(accounts))
			if len(seen) > 0 && rnd.IntN(3) == 0 {
				c.AccountPause = seen[rnd.IntN(len(seen))]
				name = names[c.Account.Name]
				if c.Version += uint64(rnd.IntN(3)); c.Late || rnd.IntN(3) == 0 {
					c.After, c.Version, c.Number = c.Version, 0, number
				}
			}
			plain = append(plain, name)
			r.Changes = append(r.Changes, c)
		}
		var a, b limiter.PauseAnswer
		var errA, errB error
		for j, name := range plain {
			r.Changes[j].Account = want.Key("pause", name)
			names[r.Changes[j].Account.Name] = name
		}
		a, errA = want.Pause(context.Background(), &r)
		for j, name := range plain {
			r.Changes[j].Account = store.Key("pause", name)
		}
		b, errB = got.Pause(context.Background(), &r)
		for j := range b.Entries {
			b.Entries[j].Account = limiter.StoreKey{Name: back[b.Entries[j].Account.Name]}
		}
		for j := range b.Changed {
			if b.Changed[j].Version != 0 {
				b.Changed[j].Account = limiter.StoreKey{Name: back[b.Changed[j].Account.Name]}
			}
		}
		if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
			what := fmt.Sprintf("seed %d, request %d at %v", seed, i, now.Sub(time.Unix(1_700_000_000, 0)))
			for j := range min(len(a.Changed), len(b.Changed)) {
				if a.Changed[j] != b.Changed[j] {
					t.Fatalf("%s: change %d, %+v:\ngot  %+v\nwant %+v", what, j, r.Changes[j], b.Changed[j], a.Changed[j])
				}
			}
			for j := range min(len(a.Entries), len(b.Entries)) {
				if a.Entries[j] != b.Entries[j] {
					t.Fatalf("%s: entry %d:\ngot  %+v\nwant %+v", what, j, b.Entries[j], a.Entries[j])
				}
			}
			t.Fatalf("%s: got %d changed, %d entries, %+v, more %v, lost %v, %v, want %d, %d, %+v, %v, %v, %v", what,
				len(b.Changed), len(b.Entries), b.Known, b.More, b.Lost, errB, len(a.Changed), len(a.Entries), a.Known, a.More, a.Lost, errA)
		}
		marks[m] = a.Known
		seen = append(seen, a.Entries...)
		seen = seen[max(0, len(seen)-500):]
		now = now.Add(time.Duration(rnd.IntN(1000)) * time.Millisecond)
		if rnd.IntN(10) == 0 {
			now = now.Add(time.Duration(rnd.IntN(100)) * time.Second)
		}
		if rnd.IntN(100) == 0 {
			now = now.Add(time.Duration(rnd.IntN(40*24)) * time.Hour)
		}
	}
}
