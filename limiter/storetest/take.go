package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// How a store decides over a call. Each step is a method of decision.

// Take implements [limiter.Store].
func (m *Memory) Take(ctx context.Context, t *limiter.StoreTake) (limiter.StoreAnswer, error) {
	t = cloneTake(t)
	if err := checkParts(t.Parts); err != nil {
		return limiter.StoreAnswer{}, err
	}
	return do(ctx, m, "take", func() limiter.StoreAnswer { return m.take(t) })
}

func (m *Memory) take(t *limiter.StoreTake) limiter.StoreAnswer {
	d := m.decision(t)
	if d.repeated() {
		return d.answer
	}
	d.lookAtAll()
	if d.mayReserve() {
		d.refusal.any = false // it is granted as of a time to come
	}
	if d.refusal.any {
		d.noteRefused()
	} else {
		d.claimSlots()
	}
	if d.refusal.any {
		return d.refused()
	}
	return d.granted()
}

// decision is what a store decides over one call.
type decision struct {
	*limiter.StoreTake
	m      *Memory
	values []*value // of the parts
	uses   []usage
	now    int64
	lease  int64

	at      int64    // when all that the call takes fits
	ahead   int64    // how far ahead it may reserve; 0 = not at all
	slots   bool     // it takes slots
	spare   bool     // it is backfill that is owed nothing
	lacking bool     // nothing but units refuses it, if anything does
	short   []*usage // what it lacks units of
	refusal refusal
	answer  limiter.StoreAnswer
}

// usage is what the call takes of one limit.
type usage struct {
	*limiter.StoreUse
	part, use int // where it stands in the take
	value     *value
	state     *state
}

// refusal says which use refuses a call.
type refusal struct {
	any       bool
	part, use int
	wait      int64
	held      bool
	cause     limiter.Cause
}

// decision reads the values of a call's keys. A process that has seen a newer version of one than
// the store has tells that the store has forgotten it.
func (m *Memory) decision(t *limiter.StoreTake) *decision {
	d := &decision{StoreTake: t, m: m, values: make([]*value, len(t.Parts)), now: m.now(), lease: leaseOf(t.Lease)}
	for i := range t.Parts {
		d.values[i], d.now = m.value(t.Parts[i].Key, d.now)
	}
	d.at, d.ahead, d.lacking = d.now, max(0, span(t.MaxWait, false)), true
	d.answer = limiter.StoreAnswer{Now: time.UnixMicro(d.now), Versions: make([]uint64, len(d.values))}
	for i, v := range d.values {
		v.advance(d.now)
		if version := t.Parts[i].Version; version > uint64(v.version) {
			v.forgotten(version, d.lease, d.now)
			d.answer.Forgot = true
		}
		d.answer.Versions[i] = uint64(v.version)
	}
	return d
}

// repeated answers a take that is void, since its permit has ended or its units were given back,
// and one that is asked again.
func (d *decision) repeated() bool {
	for _, v := range d.values {
		if void, ended := v.isVoid(d.ID); void {
			d.answer.Granted = !ended
			return true
		}
	}
	for _, v := range d.values {
		if at, known := v.grantOf(d.ID, d.now); known {
			d.answer.Granted, d.answer.Wait = true, duration(max(0, at-d.now))
			return true
		}
	}
	return false
}

// lookAtAll looks at all that the call takes, except whether slots are free: those are claimed only by
// a call that nothing else refuses.
func (d *decision) lookAtAll() {
	for i := range d.Parts {
		for j := range d.Parts[i].Uses {
			use := &d.Parts[i].Uses[j]
			d.uses = append(d.uses, usage{use, i, j, d.values[i], d.values[i].state(&use.Limit, d.now)})
		}
	}
	for i := range d.uses {
		u := &d.uses[i]
		switch s := u.state; {
		case s.hold != 0:
			d.refuse(u, refusal{wait: s.hold - d.now, held: true, cause: s.cause})
		case s.allowed > 0 && int64(len(s.probes)) >= s.allowed:
			d.refuse(u, refusal{cause: s.cause})
		case s.kind == limiter.StoreSlots && u.Cost > 0:
			d.lookAtSlots(u)
		default:
			d.lookAtUnits(u)
		}
	}
}

// lookAtSlots refuses a call while processes may put back slots that the store has forgotten, and
// where there are none at all.
func (d *decision) lookAtSlots(u *usage) {
	d.slots, d.ahead = true, 0
	epoch := d.m.epochs[d.Parts[u.part].Key.Place[0]]
	if fresh := max(u.value.restore, epoch+d.lease/restorePart); fresh > d.now {
		d.refuse(u, refusal{wait: fresh - d.now})
	} else if units(u.Limit.Units) == 0 {
		d.refuse(u, refusal{wait: second})
	}
}

// lookAtUnits looks at whether a bucket, a log or a window has the units.
func (d *decision) lookAtUnits(u *usage) {
	s, headroom := u.state, u.Headroom
	spare := d.Priority == limiter.Backfill && !s.owes(u.Cost)
	if !spare {
		headroom = 0
	}
	before := s.claimedBefore(d.Member, d.Priority, spare, &u.Limit, d.now)
	when, fits := s.ready(u.Cost, headroom, before, &u.Limit, d.now)
	if spare && u.Cost > 0 {
		d.spare = true
		if s.kind == limiter.StoreBucket {
			d.ahead = min(d.ahead, s.aheadIn(headroom, d.MaxWait, &u.Limit))
		}
	}
	if when <= d.now && fits {
		return
	}
	if !fits || spare && s.kind != limiter.StoreBucket { // no later time can be promised
		d.refuse(u, refusal{wait: when - d.now})
	} else {
		d.refusal.add(u, refusal{wait: when - d.now})
	}
	d.at = max(d.at, when)
	d.short = append(d.short, u)
}

// refuse notes that a use refuses the call, and that it helps nothing to wait for units.
func (d *decision) refuse(u *usage, r refusal) {
	d.ahead, d.lacking = 0, false
	d.refusal.add(u, r)
}

// add keeps the refusal with the longest wait; a hold counts more than other reasons.
func (r *refusal) add(u *usage, o refusal) {
	if !r.any || o.held && !r.held || o.held == r.held && o.wait > r.wait {
		*r = o
		r.any, r.part, r.use = true, u.part, u.use
	}
}

// mayReserve reports whether the call is granted as of the time at, which is yet to come. A window
// that ends before is another one then.
func (d *decision) mayReserve() bool {
	ends := func(u usage) bool { return u.state.reset != 0 && d.at >= u.state.reset }
	return d.ahead > 0 && d.at-d.now <= d.ahead && !slices.ContainsFunc(d.uses, ends)
}

// noteRefused notes what the call lacks: units that backfill is owed for then, and those that the
// call claims since it cannot reserve them.
func (d *decision) noteRefused() {
	if d.Priority == limiter.Backfill {
		for _, u := range d.short {
			u.state.wanted = d.now
		}
	}
	if !d.lacking || !d.slots && !(d.spare && d.MaxWait > 0) {
		return
	}
	late := claimLate
	if d.slots && d.spare { // meanwhile interactive calls take units
		late += min(d.at-d.now, second)
	}
	d.at, d.refusal.wait = d.at+late, d.refusal.wait+late
	for _, u := range d.short {
		if u.state.kind == limiter.StoreBucket {
			u.state.claimUnits(d.Member, d.Priority, d.spare, u.Cost, d.at+keptFor, d.now)
		}
	}
	for _, u := range d.uses {
		if u.state.kind != limiter.StoreSlots || u.Cost == 0 {
			continue
		}
		if d.spare { // it keeps no slots from others
			u.state.losePlace(d.Member, d.Priority)
		} else {
			all := u.state.lowered(units(u.Limit.Units))
			u.state.keepFrom(d.at, d.Member, d.Priority, min(u.Cost, all), d.now)
		}
	}
}

// claimSlots claims the slots that the call takes, until one limit has none for it.
func (d *decision) claimSlots() {
	for i := range d.uses {
		u := &d.uses[i]
		s := u.state
		if s.kind != limiter.StoreSlots || u.Cost == 0 {
			continue
		}
		got, all := false, s.lowered(units(u.Limit.Units))
		if len(s.leases) < leaseMost {
			var told []limiter.StoreID
			got, told = s.claim(d.Member, d.Priority, min(u.Cost, all), all, d.now)
			d.m.freed(d.Parts[u.part].Key, told)
		}
		if !got {
			d.refusal.add(u, refusal{})
			if d.Priority == limiter.Backfill {
				s.wanted = d.now
			}
			return
		}
	}
}

func (d *decision) refused() limiter.StoreAnswer {
	a, r := d.answer, &d.refusal
	a.Part, a.Use, a.Wait, a.Held, a.Cause = r.part, r.use, duration(r.wait), r.held, r.cause
	return a
}

// granted takes all of it.
func (d *decision) granted() limiter.StoreAnswer {
	a := d.answer
	a.Granted, a.NoEnd, a.Wait = true, true, duration(d.at-d.now)
	learns := false
	for i := range d.uses {
		u := &d.uses[i]
		tellEnd := d.use(u)
		a.NoEnd = a.NoEnd && !tellEnd
		learns = learns || u.Limit.Learn
	}
	for i, v := range d.values {
		v.remember(d.ID, d.at)
		a.Versions[i] = v.changed(d.now)
	}
	if learns {
		for _, u := range d.uses {
			a.Counts = append(a.Counts, u.state.granted)
		}
	}
	return a
}

// use takes what the call wants of one limit, and reports whether the store has to hear how the
// permit ends.
func (d *decision) use(u *usage) (tellEnd bool) {
	s, cost := u.state, u.Cost
	if s.kind == limiter.StoreSlots && cost > 0 {
		cost = min(cost, s.lowered(units(u.Limit.Units)))
		s.leases = append(s.leases, slotLease{d.ID, d.Member, cost, d.now, d.now + d.lease})
		s.losePlace(d.Member, d.Priority)
		tellEnd = true
	}
	s.claims = slices.DeleteFunc(s.claims, func(c claim) bool { return c.member == d.Member && c.priority == d.Priority })
	s.take(cost, &u.Limit, d.at)
	if s.kind == limiter.StoreBucket && cost > 0 && d.at > d.now {
		s.reserved = max(s.reserved, d.at) + s.step(cost, &u.Limit)
	}
	if s.kind != limiter.StoreGate {
		share := min(max(int64(d.Share*whole), 0), whole/2)
		s.served(d.Priority, cost, share, &u.Limit, d.now)
	}
	if s.allowed > 0 {
		s.probes = append(s.probes, probe{d.ID, d.now + max(d.lease, probeLapse)})
		tellEnd = true
	}
	return tellEnd || s.refusals > 0
}
