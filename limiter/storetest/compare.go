package storetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Compare makes random calls to a store and to a [Memory], at the same times, and fails the test
// if an answer differs. start returns a new store that is empty and reads the time from clock.
func Compare(t *testing.T, seed uint64, calls int, start func(t *testing.T, clock func() time.Time) limiter.Store) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	c := &comparison{
		T: t, rnd: rand.New(rand.NewPCG(seed, 1)),
		stores: [2]limiter.Store{NewMemory(clock), start(t, clock)},
		calm:   seed%2 == 1,
	}
	for range 4 {
		c.members = append(c.members, c.id())
	}
	began := now
	for i := range calls {
		r := c.call()
		for j := range r.answers {
			if r.errs[j] != nil {
				t.Fatalf("seed %d, call %d at %v: %s: %v", seed, i, now.Sub(began), r.what, r.errs[j])
			}
			r.answers[j] = zoneless(r.answers[j])
		}
		if !reflect.DeepEqual(r.answers[0], r.answers[1]) {
			t.Fatalf("seed %d, call %d at %v:\n%s\ngot  %+v\nwant %+v", seed, i, now.Sub(began), r.what, r.answers[1], r.answers[0])
		}
		now = now.Add(c.pause())
	}
}

// pause returns how long after a call the next one comes.
func (c *comparison) pause() time.Duration {
	most := 30 * ms
	switch n := c.rnd.IntN(100); {
	case n == 0:
		most = 2 * time.Hour
	case n < 3:
		most = 2 * time.Minute
	case n < 7:
		most = 5 * time.Second
	}
	return time.Duration(c.rnd.Int64N(int64(most)))
}

type comparison struct {
	*testing.T
	rnd     *rand.Rand
	stores  [2]limiter.Store
	members []limiter.StoreID
	calm    bool                  // the provider refuses nothing, and many calls wait for the same limits
	permits []granted             // newest last
	last    [2]limiter.StoreState // the last answers to Change
}

// granted is a take that was granted.
type granted struct {
	take     takeOf
	versions []uint64
	counts   []int64
	at       time.Time
}

// takeOf is a take without keys, since each store makes its own: Parts[i] has the key of
// names[i].
type takeOf struct {
	limiter.StoreTake
	place string
	names []string
}

func (c *comparison) id() (id limiter.StoreID) {
	for i := range id {
		id[i] = byte(c.rnd.Uint32())
	}
	return id
}

func pick[T any](c *comparison, from ...T) T { return from[c.rnd.IntN(len(from))] }

// limit returns a use of a random limit. Sometimes its numbers are not the usual ones, as
// after a change of the policy.
func (c *comparison) limit() limiter.StoreUse {
	u := pick(c,
		gate("gate"),
		bucketOf(10, 3*time.Second, pick(c, int64(0), 1, 2, 7, 10, 11)),
		bucketOf(10, 3*time.Second, 1),
		named("slow", bucketOf(1000, 7*time.Minute+time.Microsecond, pick(c, int64(1), 100, 333, 1000))),
		logOf(5, 2*time.Second, pick(c, int64(1), 2, 5, 6)),
		named("large", logOf(100, 10*time.Second, pick(c, int64(1), 20, 100))),
		fixedOf(20, 4*time.Second, pick(c, int64(1), 3, 20, 21)),
		slotsOf(3, pick(c, int64(1), 1, 1, 2, 3, 5)),
	)
	if u.Cost > 0 && c.rnd.IntN(2) == 0 {
		u.Headroom = u.Limit.Units / 4
	}
	u.Limit.Adapt, u.Limit.Learn = u.Limit.Name != "slow", u.Limit.Name != "large" && !c.calm
	switch c.rnd.IntN(40) {
	case 0:
		u.Limit.Units = u.Limit.Units*3/2 + 1
	case 1:
		u.Limit.Time /= 3
	}
	return u
}

// limits returns uses of a few different limits.
func (c *comparison) limits() (uses []limiter.StoreUse) {
	if c.calm && c.rnd.IntN(3) > 0 {
		return []limiter.StoreUse{bucketOf(10, 3*time.Second, pick(c, int64(1), 2, 7, 10)), slotsOf(3, 1)}
	}
	for range 1 + c.rnd.IntN(3) {
		u := c.limit()
		if !slices.ContainsFunc(uses, func(v limiter.StoreUse) bool { return v.Limit.Name == u.Limit.Name }) {
			uses = append(uses, u)
		}
	}
	return uses
}

func (c *comparison) duration() time.Duration {
	return time.Duration(pick(c, int64(ms), int64(time.Second), int64(time.Minute))) * time.Duration(c.rnd.Int64N(100)) / 30
}

// cause returns a random cause.
func (c *comparison) cause() limiter.Cause {
	return pick(c, limiter.Cause{}, cause, limiter.Cause{Rule: "other", Status: 503})
}

// compared is what both stores answered to a call.
type compared struct {
	what    string // describes the call
	answers [2]any
	errs    [2]error
}

// call makes one random call to both stores.
func (c *comparison) call() compared {
	place, name := pick(c, "a", "a", "a", "b"), pick(c, "1", "2")
	switch kind := c.rnd.IntN(10); {
	case kind < 5 || kind == 8 && c.calm:
		return c.take(place)
	case kind < 8:
		return c.end(place)
	case kind == 8:
		return c.change(place, name)
	}
	return c.renew(place, name)
}

// earlier returns one of the last permits that were granted; ok is false if there is none.
func (c *comparison) earlier(of int) (g granted, ok bool) {
	n := len(c.permits)
	if n == 0 {
		return g, false
	}
	return c.permits[n-1-c.rnd.IntN(min(n, of))], true
}

// takeAt returns a random take of keys of a place.
func (c *comparison) takeAt(place string) takeOf {
	t := takeOf{place: place, names: pick(c, []string{"1"}, []string{"2"}, []string{"1", "2"}, []string{"2", "1"})}
	t.StoreTake = limiter.StoreTake{ID: c.id(), Member: pick(c, c.members...), Priority: limiter.Priority(c.rnd.IntN(2)),
		Share: pick(c, 0.1, 0.25, 0.5), MaxWait: pick(c, 0, time.Second, c.duration()), Lease: pick(c, 3*time.Second, 10*time.Second, 0)}
	for range t.names {
		p := part(limiter.StoreKey{}, c.limits()...)
		if c.rnd.IntN(20) == 0 {
			p.Version = c.rnd.Uint64N(500)
		}
		t.Parts = append(t.Parts, p)
	}
	return t
}

// partsIn returns the take's parts with a store's keys.
func (t *takeOf) partsIn(st limiter.Store) []limiter.StorePart {
	parts := slices.Clone(t.Parts)
	for i := range parts {
		parts[i].Key = st.Key(t.place, t.names[i])
	}
	return parts
}

func (c *comparison) take(place string) (r compared) {
	t := c.takeAt(place)
	if g, ok := c.earlier(5); ok && c.rnd.IntN(10) == 0 {
		t = g.take // once more
	}
	r.what = fmt.Sprintf("Take %+v", t)
	var a [2]limiter.StoreAnswer
	for i, st := range c.stores {
		t.Parts = t.partsIn(st)
		a[i], r.errs[i] = st.Take(context.Background(), &t.StoreTake)
		a[i].Counts = learnable(a[i].Counts, t.Parts)
		r.answers[i] = a[i]
	}
	if a[0].Granted {
		c.permits = append(c.permits, granted{t, a[0].Versions, a[0].Counts, a[0].Now.Add(a[0].Wait)})
	}
	return r
}

// end ends one permit: of several, each could make the value as good as new for the next, or only all
// of them.
func (c *comparison) end(place string) (r compared) {
	g, ok := c.earlier(20)
	if ok && c.rnd.IntN(10) == 0 { // the end comes before its take
		g.take.ID = c.id()
		c.permits = append(c.permits, g)
	}
	e := limiter.StoreEnd{ID: g.take.ID, Member: g.take.Member, Ending: limiter.StoreEnding(c.rnd.IntN(5)),
		Ago: pick(c, -time.Second, 0, c.duration(), 3*time.Second), Lease: g.take.Lease}
	r.what = fmt.Sprintf("End %+v of %+v", e, g.take)
	for i, st := range c.stores {
		var ends []limiter.StoreEnd
		if ok {
			place = g.take.place
			e.Parts = g.take.partsIn(st)
			ends = append(ends, e)
		}
		if r.errs[i] = st.End(context.Background(), ends); r.errs[i] == nil {
			r.answers[i], r.errs[i] = versionsOf(st, place)
		}
	}
	return r
}

// versionsOf asks for the versions of the keys of a place, by a take that is refused: End returns
// no answer that could be compared.
func versionsOf(st limiter.Store, place string) (limiter.StoreAnswer, error) {
	never := limiter.StoreTake{ID: limiter.StoreID{1}}
	for _, name := range []string{"1", "2"} {
		never.Parts = append(never.Parts, part(st.Key(place, name), named("never", bucketOf(1, time.Second, 2))))
	}
	return st.Take(context.Background(), &never)
}

func (c *comparison) change(place, name string) (r compared) {
	ch := limiter.StoreChange{Kind: limiter.StoreChangeKind(c.rnd.IntN(4)), Member: pick(c, c.members...), Limit: c.limit().Limit, Cause: c.cause(),
		Sent: pick(c, -1, 0, c.duration()), Steps: pick(c, nil, []time.Duration{time.Second}, []time.Duration{0, c.duration(), time.Minute}),
		Hold: c.duration(), Remaining: c.rnd.Int64N(20) - 1, Reset: pick(c, 0, c.duration(), time.Hour), Quota: pick(c, int64(0), 0, 7),
		Count: c.rnd.Int64N(50)}
	if !ch.Limit.Learn && ch.Kind == limiter.StoreLearned { // of it a store need not count what passes
		ch.Kind = limiter.StoreHeld
	}
	if g, ok := c.earlier(1); ok && len(g.counts) > 0 {
		ch.Count = g.counts[0]
	}
	r.what = fmt.Sprintf("Change %+v", ch)
	for i, st := range c.stores {
		ch.Key = st.Key(place, name)
		c.last[i], r.errs[i] = st.Change(context.Background(), &ch)
		r.answers[i] = c.last[i]
	}
	return r
}

func (c *comparison) renew(place, name string) (r compared) {
	renewal := limiter.StoreRenewal{Member: pick(c, c.members...), Numbers: [8]byte{byte(c.rnd.IntN(3))}, Apart: c.rnd.IntN(2) == 0,
		Lease: pick(c, 3*time.Second, 10*time.Second), Expiry: c.duration(), Leave: c.rnd.IntN(8) == 0}
	renewal.Table = bytes.Repeat(renewal.Numbers[:1], 1+int(renewal.Numbers[0]))
	var leases []granted
	for range c.rnd.IntN(4) {
		if g, ok := c.earlier(20); ok {
			leases = append(leases, g)
		}
	}
	debt := limiter.StoreDebt{Limit: c.limit().Limit, Units: c.rnd.Int64N(30), ID: c.id()}
	debts := c.rnd.IntN(3)
	state := c.last[0]
	state.Age = pick(c, 0, 0, c.duration())
	forgot := uint64(0)
	if c.rnd.IntN(20) == 0 {
		forgot = 1000
	}
	for i, st := range c.stores {
		renewal.Leases, renewal.Debts = nil, nil
		for _, g := range leases {
			renewal.Leases = append(renewal.Leases, g.lease(st, forgot, state))
		}
		for range debts {
			debt.Key = st.Key(place, name)
			renewal.Debts = append(renewal.Debts, debt)
		}
		r.answers[i], r.errs[i] = st.Renew(context.Background(), &renewal)
	}
	r.what = fmt.Sprintf("Renew %+v", renewal)
	return r
}

// lease returns what a process says of the permit's first key: that it has slots of it, or only what
// it knows.
func (g *granted) lease(st limiter.Store, forgot uint64, state limiter.StoreState) limiter.StoreLease {
	uses := g.take.Parts[0].Uses
	u := uses[len(uses)-1]
	l := limiter.StoreLease{Key: st.Key(g.take.place, g.take.names[0]), Limit: u.Limit, Version: g.versions[0] + forgot, State: state}
	if u.Limit.Kind == limiter.StoreSlots {
		l.ID, l.Slots = g.take.ID, u.Cost
	}
	return l
}

// learnable returns the counts of limits with Learn, and 0 for other limits, whose counts a
// store need not know.
func learnable(counts []int64, parts []limiter.StorePart) []int64 {
	i := 0
	for _, p := range parts {
		for _, u := range p.Uses {
			if i < len(counts) && !u.Limit.Learn {
				counts[i] = 0
			}
			i++
		}
	}
	return counts
}

// zoneless returns an answer in a form that can be compared: with times in UTC, empty lists
// as nil, and without what a store is free to answer.
func zoneless(answer any) any {
	switch a := answer.(type) {
	case limiter.StoreAnswer:
		a.Now, a.Cause.At = a.Now.UTC(), a.Cause.At.UTC()
		if !a.Held { // a store need not remember what closed a limit that is open
			a.Cause = limiter.Cause{}
		}
		return a
	case limiter.StoreState:
		a.Cause.At = a.Cause.At.UTC()
		return a
	case limiter.StoreRenewed:
		slices.SortFunc(a.Lost, func(a, b limiter.StoreID) int { return bytes.Compare(a[:], b[:]) }) // in no order
		if len(a.Lost) == 0 {
			a.Lost = nil
		}
		if len(a.Members) == 0 {
			a.Members = nil
		}
		slices.SortFunc(a.Tables, bytes.Compare) // in no order
		a.Warnings = nil
		return a
	}
	return answer
}
