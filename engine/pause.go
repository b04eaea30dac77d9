package engine

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/pause"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// The kill switch of one account. What is known of pauses, and how the processes that share
// a store tell each other, is in package pause.

// Pause says that nothing is sent for an account: see Engine.PauseAccount.
type Pause struct {
	Account string    // "" = another process has paused it, and this one has seen no call of it since
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

// ErrFleetUntold is the error of a pause, or of its end, that is in force in this process alone,
// since Options.Store has not heard of it. It is told once it answers, as long as this process lives.
var ErrFleetUntold = redact.New("engine: the store does not answer, so only this process has done it yet")

// PauseAccount stops sending for an account, at every provider of the engine, until the
// given time (zero = until ResumeAccount). Calls that begin, and those that wait, for a
// limit, for credentials or between two attempts, are handed back at once as a *DeferError
// whose cause is a *PausedError, with their State and the end of the pause, or ten
// minutes from now where none is known. Nor are the account's credentials refreshed
// any more for a call that was refused. An attempt or a refresh that is under way is not cut.
//
// With an Options.Store that is a limiter.PauseStore, as those of this module are, it is so in all
// processes that share it, within a second. They keep it when the store does not answer, and put it
// back where a store was restarted without its data. A process that starts while the
// store does not answer hears of it within a second after it does, and sends until then what
// its limits allow. Processes know the account by the store's digest of its name.
// An error that wraps ErrFleetUntold says that the account is paused in this process and nowhere else yet.
// PauseAccount waits for the store for a second at most.
//
// reason is for people, and is shown in error texts; its first 200 bytes are kept. It stands in the
// store as it is, so it should name nobody. A pause replaces an earlier one; one until a time that is
// past ends it. An account must be named. No more than 10,000 accounts can be paused at once.
func (e *Engine) PauseAccount(account string, until time.Time, reason string) error {
	if account == "" {
		return errors.New("engine: pause of an account without a name")
	}
	now := time.Now()
	if !until.IsZero() && !until.After(now) {
		return e.ResumeAccount(account)
	}
	return untold(e.pauses.Pause(pause.Pause{Account: account, Since: now, Until: until, Reason: shortReason(reason)}))
}

// ResumeAccount ends a pause at once, in a fleet as PauseAccount begins it, with the same errors. An
// account that is not paused stays as it is.
func (e *Engine) ResumeAccount(account string) error {
	if account == "" {
		return nil
	}
	return untold(e.pauses.Resume(account))
}

// Paused are the accounts that are paused, in no order.
func (e *Engine) Paused() (list []Pause) {
	e.pauses.Await(context.Background())
	for _, p := range e.pauses.All() {
		list = append(list, Pause(p))
	}
	return list
}

// untold is an error of package pause as callers see it.
func untold(err error) error {
	switch {
	case err == nil:
		return nil
	case err == pause.ErrTooMany:
		return fmt.Errorf("engine: %w: at most %d at once", err, limiter.MaxPauses)
	case err == pause.ErrUntold:
		return ErrFleetUntold
	}
	return &bothErrors{ErrFleetUntold, err}
}

// shortReason is what is kept of a reason.
func shortReason(s string) string {
	if len(s) <= limiter.MaxPauseReason {
		return s
	}
	return strings.ToValidUTF8(s[:limiter.MaxPauseReason], "")
}

// newPauses is what the engine knows of pauses.
func (e *Engine) newPauses() *pause.Set {
	var fleet *pause.Fleet
	if store, ok := e.o.Store.(limiter.PauseStore); ok {
		fleet = &pause.Fleet{
			Store: store, Timeout: cmp.Or(max(e.o.StoreTimeout, 0), storeTimeout), Done: e.done,
			Key: func(account string) [16]byte {
				name := "account\x00" + account
				return e.o.Store.Key(name, name).Name
			},
		}
		rand.Read(fleet.Member[:])
	}
	return pause.New(fleet, pause.Hooks{Begun: e.endPaused, Tell: e.toldOfPause})
}

// endPaused ends the waits of accounts that are paused.
func (e *Engine) endPaused() {
	e.mu.Lock()
	limiters := slices.Clone(e.limiters)
	e.mu.Unlock()
	for _, l := range limiters {
		l.EndWaits(e.isPaused)
	}
}

func (e *Engine) toldOfPause(p pause.Pause, ended bool) {
	if !e.observed() {
		return
	}
	kind, of := NoticePaused, Pause(p)
	if ended {
		kind = NoticeResumed
	}
	e.tell(context.Background(), &Notice{
		Kind: kind, Time: time.Now(), Account: of.Account, Until: of.Until, Cause: of.cause(), Err: &PausedError{of},
	})
}

// cause is what a pause says to those who wait.
func (p *Pause) cause() limiter.Cause { return limiter.Cause{Rule: "paused", At: p.Since} }

// paused hands a call back whose account is paused; nil = it is not.
func (r *run) paused(ctx context.Context) *outcome {
	pauses := r.p.engine.pauses
	if !pauses.Any() {
		return nil
	}
	pauses.Await(ctx)
	p, ok := pauses.Of(r.call.Account)
	if !ok {
		return nil
	}
	until := p.Until
	if until.IsZero() {
		until = time.Now().Add(pauseLook)
	}
	r.wait = nil // it is not the limit that keeps it
	return &outcome{kind: deferred, rule: pausedRule, reason: decision.ReasonPaused, until: later(r.until, until), cause: &PausedError{Pause(p)}}
}

// sleep waits for d, or until the call or the engine ends, or the account is paused.
func (r *run) sleep(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	for {
		begun := r.p.engine.pauses.Begun()
		if p, ok := r.p.engine.pauses.Of(r.call.Account); ok {
			return &PausedError{Pause(p)}
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
			begun := e.pauses.Begun()
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
	_, ok := e.pauses.Of(account)
	return ok
}
