package limiter

import (
	"context"
	"sync"
	"time"
)

// Timer is what Options.AfterFunc returns; a *time.Timer is one.
type Timer interface {
	Stop() bool
	Reset(d time.Duration) bool
}

func afterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// AcquireFunc is Acquire for callers that have no goroutine to wait in, such as a
// simulation: it calls f once, with what Acquire would return. Where that is known at
// once, f is called before AcquireFunc returns; else by Options.AfterFunc, so without
// one in a goroutine of its own. There is no context that ends the wait. It asks no
// store (see Options.Member), and must not be used where there is one.
func (l *Limiter) AcquireFunc(r *Request, f func(Permit, error)) {
	p, w, _, err := l.enter(context.Background(), l.now(), false, r, true)
	if w == nil {
		f(p, err)
		return
	}
	v := &asyncWait{l: l, w: w, f: f}
	v.mu.Lock()
	defer v.mu.Unlock()
	if r.MaxWait > 0 {
		v.expiry = l.afterFunc(r.MaxWait, v.expire)
	}
	v.watchLocked()
}

// asyncWait is a call of AcquireFunc that waits.
type asyncWait struct {
	l *Limiter
	f func(Permit, error)

	mu     sync.Mutex
	w      *waiter
	expiry Timer // nil = it waits for as long as it takes
	over   bool  // f has been told
}

// watchLocked has look called as soon as w is decided.
func (v *asyncWait) watchLocked() {
	l, calls := v.l, v.w.calls
	if calls == nil { // decided as it came
		l.afterFunc(0, v.look)
		return
	}
	l.lock(calls.locks)
	defer l.unlock(calls.locks)
	v.w.live.Store(true)
	if v.w.state != waiting {
		l.afterFunc(0, v.look)
		return
	}
	v.w.told = func() { l.afterFunc(0, v.look) }
}

// look does what wait does when the waiter's channel is closed.
func (v *asyncWait) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return
	}
	w, decided := v.l.latest(v.w)
	v.w = w
	if !decided {
		v.watchLocked()
		return
	}
	permit, ok := w.permit.restamp(v.l.now())
	if !ok && len(w.refs) > 0 {
		w.permit.Cancel()
		v.w = v.l.again(w)
		v.watchLocked()
		return
	}
	v.endLocked(permit, w.err)
}

// expire does what wait does when MaxWait is over.
func (v *asyncWait) expire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.over {
		return
	}
	w, decided := v.l.latest(v.w)
	if v.w = w; decided {
		return // look is about to be called
	}
	if err := v.l.abandon(w, nil); err != nil {
		v.endLocked(Permit{}, err)
	}
}

// endLocked tells f how the wait ended, without the lock.
func (v *asyncWait) endLocked(p Permit, err error) {
	v.over = true
	if v.expiry != nil {
		v.expiry.Stop()
	}
	v.mu.Unlock()
	defer v.mu.Lock()
	v.f(p, err)
}
