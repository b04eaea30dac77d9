package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// The kill switch of one account.

// Pause says that nothing is sent for an account: see Engine.PauseAccount.
type Pause struct {
	Account string
	Since   time.Time // when it was paused
	Until   time.Time // when that ends; zero = when ResumeAccount ends it
	Reason  string    // as it was given
}

// PausedError is the error of a call that was handed back because its account is paused.
// Its text shows the reason of the pause.
type PausedError struct{ Pause }

func (e *PausedError) Error() string {
	s := "engine: the account is paused"
	if !e.Until.IsZero() {
		s += " until " + e.Until.UTC().Format(time.RFC3339)
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// pausedRule is the rule of calls that are handed back before any has decided.
var pausedRule = decision.OwnRule(policy.Rule{Name: "paused", Action: policy.Fail})

// pauseLook is when a call comes back whose account is paused until it is resumed.
const pauseLook = 10 * time.Minute

// PauseAccount stops sending for an account, at every provider of the engine, until the
// given time (zero = until ResumeAccount). Calls that begin, and those that wait, for a
// limit, for credentials or between two attempts, are handed back at once as a *DeferError
// whose cause is a *PausedError, with their State and the end of the pause, or ten
// minutes from now where none is known. Nor are the account's credentials refreshed
// any more for a call that was refused. An attempt or a refresh that is under way is not cut.
//
// reason is for people, and is shown in error texts. A pause replaces an earlier one; one until a time that is
// past ends it. An account must be named. The pause is the process's own.
func (e *Engine) PauseAccount(account string, until time.Time, reason string) error {
	if account == "" {
		return errors.New("engine: pause of an account without a name")
	}
	now := time.Now()
	if !until.IsZero() && !until.After(now) {
		return e.ResumeAccount(account)
	}
	p := Pause{Account: account, Since: now, Until: until, Reason: reason}
	e.pauses.set(p)
	e.toldOfPause(NoticePaused, p)
	e.mu.Lock()
	limiters := slices.Clone(e.limiters)
	e.mu.Unlock()
	for _, l := range limiters {
		l.EndWaits(account)
	}
	return nil
}

// ResumeAccount ends a pause at once. An account that is not paused stays as it is.
func (e *Engine) ResumeAccount(account string) error {
	if p, was := e.pauses.end(account); was {
		e.toldOfPause(NoticeResumed, p)
	}
	return nil
}

// Paused are the accounts that are paused, in no order.
func (e *Engine) Paused() []Pause { return e.pauses.all() }

func (e *Engine) toldOfPause(kind NoticeKind, p Pause) {
	if e.observed() {
		e.tell(context.Background(), &Notice{
			Kind: kind, Time: time.Now(), Account: p.Account, Until: p.Until, Cause: p.cause(), Err: &PausedError{p},
		})
	}
}

// cause is what a pause says to those who wait.
func (p *Pause) cause() limiter.Cause { return limiter.Cause{Rule: "paused", At: p.Since} }

// pauses are the accounts of which nothing is sent. The zero value is ready to use. All that
// is known of pauses is here, and calls ask only of.
type pauses struct {
	any atomic.Bool // false = no account is paused

	mu    sync.RWMutex
	known map[string]Pause
	last  time.Time     // when the last of them ends; zero = not known
	wake  chan struct{} // closed when an account is paused; nil = nobody asks
}

// set begins a pause, and wakes those who sleep.
func (s *pauses) set(p Pause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]Pause{}
	}
	s.known[p.Account] = p
	s.dropLocked()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

// end ends a pause, and returns it.
func (s *pauses) end(account string) (p Pause, was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, was = s.known[account]
	was = was && !p.over(time.Now())
	delete(s.known, account)
	s.dropLocked()
	return p, was
}

// dropLocked forgets what is over.
func (s *pauses) dropLocked() {
	now := time.Now()
	endless := false
	s.last = time.Time{}
	for account, p := range s.known {
		if p.over(now) {
			delete(s.known, account)
			continue
		}
		endless = endless || p.Until.IsZero()
		s.last = later(s.last, p.Until)
	}
	if endless {
		s.last = time.Time{}
	}
	s.any.Store(len(s.known) > 0)
}

func (p *Pause) over(now time.Time) bool { return !p.Until.IsZero() && !now.Before(p.Until) }

// of is the pause of an account; ok is false where it is not paused.
func (s *pauses) of(account string) (p Pause, ok bool) {
	if !s.any.Load() {
		return Pause{}, false
	}
	s.mu.RLock()
	p, ok = s.known[account]
	last := s.last
	s.mu.RUnlock()
	if now := time.Now(); ok && p.over(now) || !last.IsZero() && !now.Before(last) {
		s.mu.Lock()
		s.dropLocked()
		s.mu.Unlock()
		return Pause{}, false
	}
	return p, ok
}

// begun is closed when an account is paused next.
func (s *pauses) begun() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

func (s *pauses) all() (list []Pause) {
	now := time.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.known {
		if !p.over(now) {
			list = append(list, p)
		}
	}
	return list
}

// paused hands a call back whose account is paused; nil = it is not.
func (r *run) paused() *outcome {
	p, ok := r.p.engine.pauses.of(r.call.Account)
	if !ok {
		return nil
	}
	until := p.Until
	if until.IsZero() {
		until = time.Now().Add(pauseLook)
	}
	r.wait = nil // it is not the limit that keeps it
	return &outcome{kind: deferred, rule: pausedRule, reason: decision.ReasonPaused, until: later(r.until, until), cause: &PausedError{p}}
}

// sleep waits for d, or until the call or the engine ends, or the account is paused.
func (r *run) sleep(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	for {
		begun := r.p.engine.pauses.begun()
		if p, ok := r.p.engine.pauses.of(r.call.Account); ok {
			return &PausedError{p}
		}
		err := sleep(ctx, r.canceled, r.p.engine.done, begun, d)
		if err != errWoken {
			return err
		}
		d = time.Until(end)
	}
}

// pausable is ctx, which ends when the account is paused, too.
func (r *run) pausable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	e, account := r.p.engine, r.call.Account
	go func() {
		for ctx.Err() == nil {
			begun := e.pauses.begun()
			if e.isPaused(account) {
				cancel()
			}
			select {
			case <-begun:
			case <-ctx.Done():
			}
		}
	}()
	return ctx, cancel
}

// isPaused reports whether nothing is sent for an account.
func (e *Engine) isPaused(account string) bool {
	_, ok := e.pauses.of(account)
	return ok
}
