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
	for i := range calls {
		what, answers, errs := c.call()
		for j := range answers {
			if errs[j] != nil {
				t.Fatalf("seed %d, call %d at %v: %s: %v", seed, i, now.Sub(time.Unix(1_700_000_000, 0)), what, errs[j])
			}
			answers[j] = zoneless(answers[j])
		}
		if !reflect.DeepEqual(answers[0], answers[1]) {
			t.Fatalf("seed %d, call %d at %v:\n%s\ngot  %+v\nwant %+v", seed, i, now.Sub(time.Unix(1_700_000_000, 0)), what, answers[1], answers[0])
		}
		switch c.rnd.IntN(100) {
		case 0:
			now = now.Add(time.Duration(c.rnd.Int64N(int64(2 * time.Hour))))
		case 1, 2:
			now = now.Add(time.Duration(c.rnd.Int64N(int64(2 * time.Minute))))
		case 3, 4, 5, 6:
			now = now.Add(time.Duration(c.rnd.Int64N(int64(5 * time.Second))))
		default:
			now = now.Add(time.Duration(c.rnd.Int64N(int64(30 * ms))))
		}
	}
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

// call makes one random call to both stores. what describes it.
func (c *comparison) call() (what string, answers [2]any, errs [2]error) {
	ctx := context.Background()
	place := pick(c, "a", "a", "a", "b")
	name := pick(c, "1", "2")
	kind := c.rnd.IntN(10)
	if c.calm && kind == 8 {
		kind = 0
	}
	switch kind {
	case 0, 1, 2, 3, 4:
		t := takeOf{place: place}
		if n := len(c.permits); n > 0 && c.rnd.IntN(10) == 0 {
			t = c.permits[n-1-c.rnd.IntN(min(n, 5))].take // once more
		} else {
			t.StoreTake = limiter.StoreTake{ID: c.id(), Member: pick(c, c.members...), Priority: limiter.Priority(c.rnd.IntN(2)),
				Share: pick(c, 0.1, 0.25, 0.5), MaxWait: pick(c, 0, time.Second, c.duration()), Lease: pick(c, 3*time.Second, 10*time.Second, 0)}
			t.names = pick(c, []string{"1"}, []string{"2"}, []string{"1", "2"}, []string{"2", "1"})
			for range t.names {
				p := part(limiter.StoreKey{}, c.limits()...)
				if c.rnd.IntN(20) == 0 {
					p.Version = c.rnd.Uint64N(500)
				}
				t.Parts = append(t.Parts, p)
			}
		}
		var a [2]limiter.StoreAnswer
		for i, st := range c.stores {
			t.Parts = slices.Clone(t.Parts)
			for j := range t.Parts {
				t.Parts[j].Key = st.Key(t.place, t.names[j])
			}
			a[i], errs[i] = st.Take(ctx, &t.StoreTake)
			a[i].Counts = learnable(a[i].Counts, t.Parts)
			answers[i] = a[i]
		}
		if a[0].Granted {
			c.permits = append(c.permits, granted{t, a[0].Versions, a[0].Counts, a[0].Now.Add(a[0].Wait)})
		}
		return fmt.Sprintf("Take %+v", t), answers, errs
	case 5, 6, 7:
		var ends []granted
		for range 1 { // of several, each could make the value as good as new for the next, or only all of them
			if n := len(c.permits); n > 0 {
				ends = append(ends, c.permits[n-1-c.rnd.IntN(min(n, 20))])
			}
		}
		if c.rnd.IntN(10) == 0 && len(ends) > 0 { // the end comes before its take
			ends[0].take.ID = c.id()
			c.permits = append(c.permits, ends[0])
		}
		if len(ends) > 0 {
			place = ends[0].take.place
		}
		ending := limiter.StoreEnding(c.rnd.IntN(5))
		ago := pick(c, -time.Second, 0, c.duration(), 3*time.Second)
		var first limiter.StoreEnd
		for i, st := range c.stores {
			var batch []limiter.StoreEnd
			for _, g := range ends {
				parts := slices.Clone(g.take.Parts)
				for j := range parts {
					parts[j].Key = st.Key(g.take.place, g.take.names[j])
				}
				batch = append(batch, limiter.StoreEnd{ID: g.take.ID, Member: g.take.Member, Ending: ending, Parts: parts, Ago: ago, Lease: g.take.Lease})
				first = batch[0]
			}
			if errs[i] = st.End(ctx, batch); errs[i] != nil {
				continue
			}
			// End returns no answer, so compare the versions after it, by a take that is refused.
			never := limiter.StoreTake{ID: limiter.StoreID{1}}
			for _, name := range []string{"1", "2"} {
				p := part(st.Key(place, name), named("never", bucketOf(1, time.Second, 2)))
				never.Parts = append(never.Parts, p)
			}
			var a limiter.StoreAnswer
			a, errs[i] = st.Take(ctx, &never)
			answers[i] = a
		}
		return fmt.Sprintf("End of %d: %+v", len(ends), first), answers, errs
	case 8:
		ch := limiter.StoreChange{Kind: limiter.StoreChangeKind(c.rnd.IntN(4)), Member: pick(c, c.members...), Limit: c.limit().Limit, Cause: c.cause(),
			Sent: pick(c, -1, 0, c.duration()), Steps: pick(c, nil, []time.Duration{time.Second}, []time.Duration{0, c.duration(), time.Minute}),
			Hold: c.duration(), Remaining: c.rnd.Int64N(20) - 1, Reset: pick(c, 0, c.duration(), time.Hour), Quota: pick(c, int64(0), 0, 7),
			Count: c.rnd.Int64N(50)}
		if !ch.Limit.Learn && ch.Kind == limiter.StoreLearned { // of it a store need not count what passes
			ch.Kind = limiter.StoreHeld
		}
		if n := len(c.permits); n > 0 && len(c.permits[n-1].counts) > 0 {
			ch.Count = c.permits[n-1].counts[0]
		}
		for i, st := range c.stores {
			ch.Key = st.Key(place, name)
			c.last[i], errs[i] = st.Change(ctx, &ch)
			answers[i] = c.last[i]
		}
		return fmt.Sprintf("Change %+v", ch), answers, errs
	}
	r := limiter.StoreRenewal{Member: pick(c, c.members...), Numbers: [8]byte{byte(c.rnd.IntN(3))}, Apart: c.rnd.IntN(2) == 0, Lease: pick(c, 3*time.Second, 10*time.Second),
		Expiry: c.duration(), Leave: c.rnd.IntN(8) == 0}
	r.Table = bytes.Repeat(r.Numbers[:1], 1+int(r.Numbers[0]))
	var leases []granted
	for range c.rnd.IntN(4) {
		if n := len(c.permits); n > 0 {
			leases = append(leases, c.permits[n-1-c.rnd.IntN(min(n, 20))])
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
		r.Leases, r.Debts = nil, nil
		for _, g := range leases {
			u := g.take.Parts[0].Uses[len(g.take.Parts[0].Uses)-1]
			l := limiter.StoreLease{Key: st.Key(g.take.place, g.take.names[0]), Limit: u.Limit, ID: g.take.ID, Slots: u.Cost,
				Version: g.versions[0] + forgot, State: state}
			if u.Limit.Kind != limiter.StoreSlots {
				l.ID, l.Slots = limiter.StoreID{}, 0
			}
			r.Leases = append(r.Leases, l)
		}
		for range debts {
			debt.Key = st.Key(place, name)
			r.Debts = append(r.Debts, debt)
		}
		answers[i], errs[i] = st.Renew(ctx, &r)
	}
	return fmt.Sprintf("Renew %+v", r), answers, errs
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

// CompareCredentials makes random steps of refreshes in a store and in [Credentials], at the
// same times, and fails the test if an answer differs. volatile says that the store loses all
// data when its server restarts; such a store begins as if it had just done so.
func CompareCredentials(t *testing.T, seed uint64, steps int, volatile bool, start func(t *testing.T, clock func() time.Time) limiter.Store) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	rnd := rand.New(rand.NewPCG(seed, 2))
	want := NewCredentials(clock)
	if volatile {
		want.Forget()
	}
	store := start(t, clock)
	got := store.(limiter.CredentialStore)
	type member struct {
		id           limiter.StoreID
		known, fence uint64
	}
	members := make([]member, 4)
	for i := range members {
		members[i].id[0] = byte(i + 1)
	}
	const lease = 15 * time.Second
	for i := range steps {
		m, name := &members[rnd.IntN(len(members))], fmt.Sprint("credential", rnd.IntN(2))
		r := limiter.CredentialRequest{
			Step: limiter.CredentialStep(rnd.IntN(8)), Member: m.id, Lease: lease, Known: m.known, Fence: m.fence,
			Spent: rnd.IntN(2) == 0, Reusable: rnd.IntN(2) == 0, Retry: time.Duration(rnd.IntN(30)) * time.Second, As: []string{"", "needs_user"}[rnd.IntN(2)],
		}
		if rnd.IntN(3) == 0 {
			r.Step = limiter.CredentialBegin
		}
		if r.Step == limiter.CredentialRenewed && rnd.IntN(5) > 0 {
			continue
		}
		if r.Fence > 0 && rnd.IntN(10) == 0 {
			r.Fence--
		}
		r.Key = want.Key(name)
		a, errA := want.Credential(context.Background(), &r)
		r.Key = store.Key(name, name)
		b, errB := got.Credential(context.Background(), &r)
		if errA != nil || errB != nil || a != b {
			t.Fatalf("seed %d, step %d at %v: %+v:\ngot  %+v, %v\nwant %+v, %v", seed, i, now.Sub(time.Unix(1_700_000_000, 0)), r, b, errB, a, errA)
		}
		if rnd.IntN(3) > 0 {
			m.known, m.fence = a.Generation, a.Fence
		}
		now = now.Add(time.Duration(rnd.IntN(1000)) * time.Millisecond)
		if rnd.IntN(10) == 0 {
			now = now.Add(time.Duration(rnd.IntN(30)) * time.Second)
		}
	}
}
