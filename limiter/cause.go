package limiter

import (
	"fmt"
	"strings"
	"time"
)

// Cause says what closed a limit for a key: who holds it and why. The zero
// Cause says that nobody told, as of a hold that was set by hand, or that the
// limit is not closed. It carries no account and no text of the provider's but
// its code.
type Cause struct {
	Rule      string    // the policy's rule that closed the limit; "learn" = a reply told that too little is left
	Code      string    // the provider's error code; "" = it gave none
	Status    int       // the status of the reply, HTTP or SMTP; 0 = none
	Operation string    // the operation that was refused
	At        time.Time // when
}

// String describes the cause in one phrase; "" for the zero Cause.
func (c Cause) String() string {
	if c == (Cause{}) {
		return ""
	}
	var parts []string
	if c.Status != 0 {
		parts = append(parts, fmt.Sprintf("status %d", c.Status))
	}
	if c.Code != "" {
		parts = append(parts, fmt.Sprintf("code %q", c.Code))
	}
	if c.Operation != "" {
		parts = append(parts, "operation "+c.Operation)
	}
	if !c.At.IsZero() {
		parts = append(parts, "at "+c.At.UTC().Format(time.RFC3339))
	}
	s := "closed"
	if c.Rule != "" {
		s = fmt.Sprintf("closed by rule %q", c.Rule)
	}
	if len(parts) > 0 {
		s += " (" + strings.Join(parts, ", ") + ")"
	}
	return s
}

// noteCause remembers what closed the limit until the given time.
func (x *coldLimit) noteCause(cause Cause, until int64) {
	x.cause, x.closed = nil, until
	if cause != (Cause{}) {
		c := cause
		x.cause = &c
	}
}

// causeSince returns what has closed the limit at any time since at. While the limit lets
// probes through, that is the cause of the hold before. x may be nil.
func (x *coldLimit) causeSince(at int64) Cause {
	if x != nil && x.store != nil && x.store.until > at && x.store.cause != (Cause{}) {
		return x.store.cause
	}
	if x == nil || x.cause == nil || x.closed <= at && x.allowed == 0 {
		return Cause{}
	}
	return *x.cause
}

// causeOf returns what keeps a call of so many units waiting, or has kept it waiting at any
// time since at: the cause of a hold, or of what a reply told. x may be nil.
func (x *coldLimit) causeOf(units, at int64) Cause {
	if x == nil {
		return Cause{}
	}
	if c := x.causeSince(at); c != (Cause{}) {
		return c
	}
	if d := x.learned; d != nil && (d.reset > at && !d.guessed && units > d.left || d.last > at && units > d.lastLeft) {
		return d.told
	}
	return Cause{}
}

// waited is what a call waited for that got its permit later than it came.
type waited struct {
	limit string
	cause Cause
}

// Waited returns the limit that the permit's call had to wait for, and what had closed that
// limit, if anything had. The name is "" if the permit was granted at once, and after its
// release. Of several limits it is the one that kept the call waiting for longest, as far as
// that is known.
func (p Permit) Waited() (limit string, cause Cause) {
	if p.l == nil {
		return "", Cause{}
	}
	sh := &p.l.shards[p.rec.home]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if rec := p.recordLocked(); rec != nil && rec.waited != nil {
		return rec.waited.limit, rec.waited.cause
	}
	return "", Cause{}
}

// noteWaitedLocked tells w's permit, which was granted at the time now, what it waited
// for. All of the calls' shards are locked.
func (l *Limiter) noteWaitedLocked(w *waiter, now int64) {
	r := &w.refs[w.expected]
	if calls := w.calls; now-max(calls.since, w.came) >= (now-w.came)/2 {
		r = &w.refs[calls.use] // most of the time it stood there
	}
	p := &w.permit
	if rec := p.recordLocked(); rec != nil {
		rec.waited = &waited{r.lim.Name, r.e.coldOf(r.lim).causeOf(r.cost, w.came)}
	}
}

// waitErrorLocked returns the error of a call that r keeps waiting, or has kept waiting. r's
// shard is locked.
func (r *ref) waitErrorLocked(now int64, until time.Time, err error) *WaitError {
	return &WaitError{Limit: r.lim.Name, Until: until, Cause: r.e.coldOf(r.lim).causeOf(r.cost, now), Err: err}
}
