package limiter

import (
	"math"
	"time"
)

// What replies of the provider tell about a limit.
//
// Many providers tell on each reply what is left of a limit, and when it begins anew.
// They count all who use the key, also other programs. So a reply may lower what passes
// until then: it is a second bound beside the limit's own count, and never lets more
// through.

// Learned is what a reply says of a limit.
type Learned struct {
	// Remaining is how many units are left, as the provider counts. Less than 0 is
	// ignored.
	Remaining int64

	// Reset is when the limit begins anew; the zero time = the reply does not say. One
	// that is past, or more than 7 days ahead, is ignored with all the rest.
	Reset time.Time

	// Limit is the provider's number for a quota, in units: it lowers the quota of
	// the key, and takes back an earlier lowering. One that is higher than the limit's
	// own number counts as that. 0 = the reply does not say.
	Limit int64

	// Cause says which reply it was, to those who wait because of it: see [Cause].
	Cause Cause
}

const (
	maxLearned  = int64(7 * 24 * time.Hour) // no reset is believed that is further ahead
	learnedSlop = int64(2 * time.Second)    // resets so close together are one: they are rounded to seconds, on both sides
	learnedKept = int64(time.Hour)          // how long a key that is not used keeps what a reply has lowered
)

// learned is what replies have told about a limit of a key, and what was granted of it
// since. The window of a fixedKind is kept here too.
type learned struct {
	granted int64 // units, since the key is known
	left    int64 // units that may pass until reset
	reset   int64 // 0 = nothing is known
	first   int64 // what reset was said to be first
	slop    int64 // a reset up to first ± slop is the same
	since   int64 // when left was learned, or the window began
	last    int64 // the latest reset that a reply told and that has passed; 0 = none
	heard   int64 // when a reply was last believed
	sent    int64 // when its request got its permit
	guessed bool  // reset is the end of a window that began with its first unit

	told     Cause // of the latest reply that was believed
	lastLeft int64 // what was left at last

	quota int64 // the provider's number, below the limit's; 0 = none
	base  *spec // from Options.LimitFor; coldLimit.own is that with quota
}

// growLearned gives e what it must count of the limits that replies tell about.
func (e *entry) growLearned(g *group) {
	for _, m := range g.limits {
		if m.Learn || m.Fixed {
			if x := e.makeCold(g, m); x.learned == nil {
				x.learned = &learned{base: x.own}
			}
		}
	}
}

// The methods below do nothing for a limit that nothing is learned about, of which
// d is nil.

// allows reports whether so many units may pass.
func (d *learned) allows(units int64) bool {
	return d == nil || d.reset == 0 || units <= max(d.left, 0)
}

// take notes that units were granted; give that they were not, at the same instant.
func (d *learned) take(units int64) {
	if d != nil {
		d.granted += units
		d.left -= units
	}
}

func (d *learned) give(units int64) { d.take(-units) }

// refund gives units back that were granted at the time at and not used. It reports
// whether they were missing still.
func (d *learned) refund(units, at int64) bool {
	if d == nil || d.reset == 0 || at < d.since {
		return false
	}
	d.left += units
	return units > 0
}

// ready is when so many units may pass that otherwise could at the time at.
func (d *learned) ready(units, at int64) int64 {
	if d.allows(units) {
		return at
	}
	return max(at, d.reset)
}

// expire forgets what has ended by the time now.
func (d *learned) expire(now int64) {
	if d == nil || d.reset == 0 || now < d.reset {
		return
	}
	if !d.guessed {
		d.last, d.lastLeft = d.reset, d.left
	}
	d.reset, d.left, d.guessed = 0, 0, false
}

// forget ends what a reply has told, and a window that began by itself.
func (d *learned) forget() {
	if d != nil {
		d.reset, d.left, d.quota, d.guessed = 0, 0, 0, false
	}
}

// idle reports whether d can be dropped at the time now.
func (d *learned) idle(now int64) bool {
	return d == nil || d.reset == 0 && (d.quota == 0 || now-d.heard >= learnedKept)
}

// begin begins a window of so many units at the time now, which ends by itself.
func (d *learned) begin(units, now, window int64) {
	d.left, d.since, d.guessed = units, now, true
	d.reset = now + min(window, math.MaxInt64-1-max(now, 0))
}

// believe takes note that so many units are left until reset. That says the reply to a
// request which got its permit at the time sent. believe reports whether it is news: a
// later reset, or fewer units until the same one. For a limit without another count of
// its own, most is what a window of it lets through; 0 = it has another.
func (d *learned) believe(left, reset, sent, most, window, now int64) bool {
	slop := min(learnedSlop, (reset-now)/4)
	if most > 0 {
		// Of a fixed window nothing else bounds what passes: it is as long as it is.
		if d.last != 0 {
			reset = max(reset, d.last+window-slop)
		}
	}
	switch {
	case d.reset == 0 || d.guessed && most == 0:
	case d.guessed:
		left = min(left, d.left)
	case reset < d.first-d.slop:
		return false // of an earlier window
	case reset <= d.first+d.slop:
		if left > d.left {
			d.reset = max(d.reset, reset)
			return false
		}
		d.left, d.reset, d.since, d.heard, d.sent = left, max(d.reset, reset), now, now, sent
		return true
	case most > 0 && now < d.reset-d.slop:
		left = min(left, d.left)
	}
	if most > 0 {
		left = min(left, most)
	}
	d.left, d.reset, d.first, d.slop, d.since = left, reset, reset, slop, now
	d.heard, d.sent, d.guessed = now, sent, false
	return true
}

// lowered returns own (if that is nil, m's numbers) with the quota that the provider has
// told. If the provider has told none that is lower, it returns own itself.
func (d *learned) lowered(m *limit, own *spec) *spec {
	w := own
	if w == nil {
		w = &m.spec
	}
	if d == nil || d.quota == 0 || d.quota >= w.quota {
		return own
	}
	low := m.Limit
	// The dearest request passes whatever a reply says: else it would be given up.
	low.Quota, low.Window = max(d.quota, min(m.MaxCost, w.quota)), time.Duration(w.window)
	low.Burst = w.burst
	s := low.as(spec{adapt: w.adapt}, m.kind)
	return &s
}

// grants is how much each limit of a permit had granted in all, with this permit, by the
// record's refs. It stays with the record, whose later permits use it again.
type grants struct {
	gen uint32 // of the permit
	of  []int64
}

// noteGrantsLocked remembers what the limits of rec have granted, which replies tell about.
func (rec *record) noteGrantsLocked() {
	g := rec.grants
	if g == nil {
		g = new(grants)
		rec.grants = g
	}
	g.gen, g.of = rec.gen, g.of[:0]
	for i := range rec.refs {
		granted := int64(0)
		if x := rec.refs[i].e.coldOf(rec.refs[i].lim); x != nil && x.learned != nil {
			granted = x.learned.granted
		}
		g.of = append(g.of, granted)
	}
}

// Learn takes note of what the reply to the permit's call says of one of its limits,
// which must be of those with [Limit.Learn]: until the reset no more passes than is
// left, less what was granted after this permit. It only lowers what the limit lets
// through. A reply that tells of an earlier reset than one before it, or of more
// that is left until the same reset, changes nothing.
//
// Without a reset a bucket has as much left as the reply says and fills from there; of
// another quota it is then the end of a whole window from now on.
//
// It reports whether the reply was believed, and must come before Release.
func (p Permit) Learn(limit string, v Learned) bool {
	l := p.l
	if l == nil || v.Remaining < 0 {
		return false
	}
	r, granted, found := p.learnsOf(limit)
	if !found || !r.lim.metered() {
		return false
	}
	now, reset := l.now(), int64(0)
	if !v.Reset.IsZero() {
		if reset = l.ns(v.Reset); reset <= now || reset-now > maxLearned {
			return false
		}
	}
	keys := l.config.Load().groups[r.lim.group].keys(r.e.key())
	c, e, m := l.lockLimit(now, false, limit, &keys, true)
	if e == nil {
		return false
	}
	if !m.metered() || m.group != r.lim.group {
		l.unlock(c.locks)
		return false
	}
	x := e.coldOf(m)
	if x == nil || x.learned == nil {
		l.unlock(c.locks)
		return false
	}
	if e != r.e || x.learned.granted < granted {
		granted = 0 // the key was dropped meanwhile: all is later that it has granted since
	}
	believed := l.learnLocked(c, e, m, x, p.at, granted, reset, &v)
	var late []*waiter
	var why Cause
	until := x.learned.reset
	if believed && x.q != nil {
		if until != 0 && x.learned.left <= 0 {
			late, why = x.q.late(until), x.causeOf(1, c.now)
		}
		l.armLocked(e, c.now)
	}
	l.unlock(c.locks)
	for _, w := range late {
		l.expire(w, m.Name, until, why)
	}
	if believed && l.member != nil {
		p.tellLearned(limit, &v)
	}
	return believed
}

// learnsOf returns what the permit has of a limit that replies tell about, and how much of the
// limit was granted with it.
func (p Permit) learnsOf(limit string) (r taken, granted int64, found bool) {
	home := &p.l.shards[p.rec.home]
	home.mu.Lock()
	defer home.mu.Unlock()
	rec := p.recordLocked()
	if rec == nil || rec.grants == nil || rec.grants.gen != rec.gen {
		return taken{}, 0, false
	}
	for i := range rec.refs {
		if rec.refs[i].lim.Name == limit {
			return rec.refs[i], rec.grants.of[i], true
		}
	}
	return taken{}, 0, false
}

// learnLocked is Learn for a key that is locked. granted is what the limit had granted
// with the permit.
func (l *Limiter) learnLocked(c *call, e *entry, m *limit, x *coldLimit, sent, granted, reset int64, v *Learned) bool {
	d, now := x.learned, c.now
	e.advance(m, x, now)
	if reset != 0 && reset <= now {
		return false
	}
	left := min(v.Remaining, maxUnits) - (d.granted - granted)
	most, window := int64(0), x.specOf(m).window
	if m.Fixed {
		most = x.specOf(m).quota
	}
	switch {
	case reset != 0:
		if !d.believe(left, reset, sent, most, window, now) {
			return false
		}
	case sent < d.sent:
		return false // it began before one that was believed
	case algorithms[m.kind].lower(e, m, max(left, 0), now):
		d.heard, d.sent = now, sent
	case most > 0 && d.reset != 0: // its window goes on
		d.left, d.since, d.heard, d.sent = min(d.left, left), now, now, sent
	default:
		d.begin(left, now, window)
		d.heard, d.sent = now, sent
	}
	d.told = v.Cause
	if v.Limit > 0 && window > 0 {
		d.quota = min(v.Limit, maxUnits)
		e.setOwn(c.cfg.groups[m.group], m, d.base, false, now)
	}
	return true
}
