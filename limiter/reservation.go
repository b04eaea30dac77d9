package limiter

import (
	"context"
	"errors"
	"time"
)

// Reserve takes a place in the queue for r without waiting there: see [Reservation].
// It fails as Acquire does.
func (l *Limiter) Reserve(r *Request) (Reservation, error) { return l.reserve(l.now(), false, r) }

// ReserveAt is Reserve at the time now.
func (l *Limiter) ReserveAt(now time.Time, r *Request) (Reservation, error) {
	return l.reserve(l.ns(now), true, r)
}

func (l *Limiter) reserve(now int64, given bool, r *Request) (Reservation, error) {
	p, w, _, err := l.enter(context.Background(), now, given, r, true)
	if err != nil {
		return Reservation{}, err
	}
	v := Reservation{l: l, w: w, permit: p, until: now}
	if w != nil {
		v.until = w.until
	}
	if l.member != nil && !given {
		req := *r
		v.call = &req
	}
	return v, nil
}

// Reservation is a place in the queue. It must end by Wait, by Cancel, or by a
// Permit that is released. The zero Reservation is a cancelled one.
type Reservation struct {
	l      *Limiter
	w      *waiter  // nil = granted at once
	call   *Request // that a store is to be asked about; nil = none
	permit Permit
	until  int64
}

// Until is when the call was expected to pass when the reservation was made:
// not later than asked, if it could pass at once. What others do meanwhile
// (holds, releases, cancelled calls) can make that sooner or later.
func (v Reservation) Until() time.Time {
	if v.l == nil {
		return time.Time{}
	}
	return v.l.time(v.until)
}

// Wait waits until the call may pass, or the context ends. The permit must be released.
func (v Reservation) Wait(ctx context.Context) (Permit, error) {
	switch {
	case v.l == nil:
		return Permit{}, errors.New("limiter: wait for a reservation that does not exist")
	case v.w == nil && ctx.Err() != nil:
		v.permit.Cancel()
		return Permit{}, ctx.Err()
	case v.call != nil:
		return v.waitShared(ctx)
	case v.w == nil:
		return v.permit, nil
	}
	return v.l.wait(ctx, v.w, 0)
}

// waitShared is Wait where a store keeps the limits.
func (v Reservation) waitShared(ctx context.Context) (Permit, error) {
	l, r := v.l, v.call
	if v.w == nil {
		r.again = &waiter{seq: l.seq.Add(1), came: v.until}
	} else {
		r.again = &waiter{seq: v.w.seq, came: v.w.came}
	}
	r.again.deadline, r.again.byContext = l.deadline(ctx, r, l.now())
	p, err := v.permit, error(nil)
	if v.w != nil {
		p, err = l.wait(ctx, v.w, 0)
	}
	if err == nil {
		p, err = l.confirm(ctx, p, r, true)
	}
	if err == errRefused {
		return l.acquireConfirmed(ctx, r)
	}
	return p, err
}

// PermitAt returns the permit if the call may pass by the time now. The permit
// must be released.
func (v Reservation) PermitAt(now time.Time) (Permit, bool) {
	switch {
	case v.l == nil:
		return Permit{}, false
	case v.w == nil:
		return v.permit, true
	}
	w, decided := v.l.latest(v.w)
	if !decided {
		for _, r := range w.calls.refs {
			v.l.drain(r.e, v.l.ns(now))
		}
		w, decided = v.l.latest(w)
	}
	if !decided {
		return Permit{}, false
	}
	return w.permit, w.err == nil
}

// Cancel gives up the place, and gives back what was taken if the call might pass already.
func (v Reservation) Cancel() {
	switch {
	case v.l == nil:
	case v.w == nil:
		v.permit.Cancel()
	default:
		for {
			w, decided := v.l.latest(v.w)
			if decided {
				w.permit.Cancel()
			} else if v.l.abandon(w, nil) == nil {
				<-w.done
				continue
			}
			return
		}
	}
}
