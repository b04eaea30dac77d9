package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
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
	c := &pauseComparison{T: t, rnd: rand.New(rand.NewPCG(seed, 3)), want: NewMemory(clock), got: start(t, clock), accounts: []int{3, 30, 1000}[seed%3],
		names: map[[16]byte]string{}, keys: map[[16]byte]limiter.StoreKey{}}
	for i := range c.accounts {
		name := fmt.Sprint("account", i)
		key := c.want.Key("pause", name)
		c.names[key.Name], c.keys[c.got.Key("pause", name).Name] = name, key
	}
	began := now
	for i := range requests {
		c.request(fmt.Sprintf("seed %d, request %d at %v", seed, i, now.Sub(began)))
		now = now.Add(c.pause())
	}
}

type pauseComparison struct {
	*testing.T
	rnd      *rand.Rand
	want     *Memory
	got      limiter.Store
	accounts int                           // how many there are
	names    map[[16]byte]string           // of accounts, by their keys in want
	keys     map[[16]byte]limiter.StoreKey // in want, by those in got
	marks    [4]limiter.PauseMark          // what each of some processes has heard of
	number   uint64                        // of the last change
	seen     []limiter.AccountPause        // told of lately, as want names them
}

// request makes one random request to both stores.
func (c *pauseComparison) request(what string) {
	process := c.rnd.IntN(len(c.marks))
	r := limiter.PauseRequest{Known: c.marks[process]}
	if c.rnd.IntN(50) == 0 {
		r.Known.Change = c.marks[c.rnd.IntN(len(c.marks))].Change + uint64(c.rnd.IntN(2))
		r.Known.Page = uint64(c.rnd.IntN(2))
	}
	changes := c.rnd.IntN(4)
	if c.accounts > 100 {
		changes = c.rnd.IntN(limiter.MaxPauseChanges + 1)
	}
	for range changes {
		r.Changes = append(r.Changes, c.change())
	}
	want, wantErr := c.want.Pause(context.Background(), &r)
	changed := slices.Clone(r.Changes)
	for i := range r.Changes {
		r.Changes[i].Account = c.got.Key("pause", c.names[r.Changes[i].Account.Name])
	}
	got, gotErr := c.got.(limiter.PauseStore).Pause(context.Background(), &r)
	for i := range got.Entries {
		got.Entries[i].Account = c.keyOf(got.Entries[i].Account)
	}
	for i := range got.Changed {
		if got.Changed[i].Version != 0 {
			got.Changed[i].Account = c.keyOf(got.Changed[i].Account)
		}
	}
	if wantErr != nil || gotErr != nil || !reflect.DeepEqual(want, got) {
		c.differ(what, changed, got, want, gotErr, wantErr)
	}
	c.marks[process] = want.Known
	c.seen = append(c.seen, want.Entries...)
	c.seen = c.seen[max(0, len(c.seen)-500):]
}

// keyOf returns the key in want of an account, which has another one in got. Only its name is sure.
func (c *pauseComparison) keyOf(k limiter.StoreKey) limiter.StoreKey {
	return limiter.StoreKey{Name: c.keys[k.Name].Name}
}

// change returns a random change: of any account, or of one that a store has told of.
func (c *pauseComparison) change() limiter.PauseChange {
	ch := limiter.PauseChange{AccountPause: limiter.AccountPause{
		Account: c.want.Key("pause", fmt.Sprint("account", c.rnd.IntN(c.accounts))),
		Resumed: c.rnd.IntN(3) == 0, Ago: time.Duration(c.rnd.Int64N(int64(10 * time.Second))),
		Reason: []string{"", "why", "a\x00'\xff", string(make([]byte, 300))}[c.rnd.IntN(4)],
		Left:   []time.Duration{0, -1, 1, time.Second, time.Minute + 1, 50 * 24 * time.Hour, 1 << 62}[c.rnd.IntN(7)],
	}, Late: c.rnd.IntN(3) == 0}
	ch.By[0] = byte(c.rnd.IntN(3))
	c.number++
	ch.Number = c.number
	if c.rnd.IntN(3) == 0 { // one from before
		ch.Number -= uint64(c.rnd.IntN(int(min(c.number, 20))))
	}
	if len(c.seen) > 0 && c.rnd.IntN(3) == 0 {
		ch.AccountPause = c.seen[c.rnd.IntN(len(c.seen))]
		ch.Account = c.want.Key("pause", c.names[ch.Account.Name])
		if ch.Version += uint64(c.rnd.IntN(3)); ch.Late || c.rnd.IntN(3) == 0 {
			ch.After, ch.Version, ch.Number = ch.Version, 0, c.number
		}
	}
	return ch
}

// pause returns how long after a request the next one comes.
func (c *pauseComparison) pause() time.Duration {
	d := time.Duration(c.rnd.IntN(1000)) * time.Millisecond
	if c.rnd.IntN(10) == 0 {
		d += time.Duration(c.rnd.IntN(100)) * time.Second
	}
	if c.rnd.IntN(100) == 0 {
		d += time.Duration(c.rnd.IntN(40*24)) * time.Hour
	}
	return d
}

// differ fails the test, and says in what the answers differ first.
func (c *pauseComparison) differ(what string, changes []limiter.PauseChange, got, want limiter.PauseAnswer, gotErr, wantErr error) {
	c.Helper()
	for i := range min(len(want.Changed), len(got.Changed)) {
		if want.Changed[i] != got.Changed[i] {
			c.Fatalf("%s: change %d, %+v:\ngot  %+v\nwant %+v", what, i, changes[i], got.Changed[i], want.Changed[i])
		}
	}
	for i := range min(len(want.Entries), len(got.Entries)) {
		if want.Entries[i] != got.Entries[i] {
			c.Fatalf("%s: entry %d:\ngot  %+v\nwant %+v", what, i, got.Entries[i], want.Entries[i])
		}
	}
	c.Fatalf("%s: got %d changed, %d entries, %+v, more %v, lost %v, %v, want %d, %d, %+v, %v, %v, %v", what,
		len(got.Changed), len(got.Entries), got.Known, got.More, got.Lost, gotErr, len(want.Changed), len(want.Entries), want.Known, want.More, want.Lost, wantErr)
}
