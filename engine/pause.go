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

// The kill switch of one account. Package pause keeps the pauses, and shares them between the
// processes that have the same store.

// Pause says that nothing is sent for an account: see Engine.PauseAccount.
type Pause struct {
	Account string    // "" = not known: another process has paused it, and this one has seen no call of it since
	Since   time.Time // when the pause began
	Until   time.Time // when it ends; zero = when ResumeAccount ends it
	Reason  string    // as given to PauseAccount, cut to 200 bytes
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

// pausedRule is the rule named in the decision about a call that is handed back because of a
// pause.
var pausedRule = decision.OwnRule(policy.Rule{Name: "paused", Action: policy.Fail})

// pauseLook is how long a call is handed back for if the pause has no end.
const pauseLook = 10 * time.Minute

// ErrFleetUntold is the error of PauseAccount and ResumeAccount if Options.Store has not answered,
// so that the change is in force in this process alone. As long as this process lives it goes on
// trying to tell the store.
var ErrFleetUntold = redact.New("engine: the store does not answer, so only this process has done it yet")

// PauseAccount stops sending for an account, at every provider of the engine, until the given
// time; the zero time means until ResumeAccount. Calls that begin, and calls that wait for a
// limit, for credentials or between two attempts, are handed back at once as a *DeferError whose
// cause is a *PausedError. It has the call's State, and the end of the pause as the time to come
// back, or ten minutes from now if the pause has no end. The account's credentials are not
// refreshed for refused calls either. An attempt or a refresh that is under way is not cut off.
//
// If Options.Store is a limiter.PauseStore, as those of this module are, the pause is in force
// within a second in all processes that share the store. They keep it while the store does not
// answer, and put it back if the store was restarted without its data. A process that starts
// while the store does not answer learns of the pause within a second after the store answers
// again; until then it sends what its limits allow. The store knows the account only by a digest
// of its name.
//
// PauseAccount waits for the store for a second at most. An error that wraps ErrFleetUntold says
// that the account is paused in this process, but not yet in the others. With any other error it
// is not paused: the account has no name, 10,000 accounts are paused already, or the store has not
// answered for some 20,000 changes. Calls that waited may have been handed back all the same, if
// only the store knew of the 10,000.
//
// reason is for people, and is shown in error texts; its first 200 bytes are kept. The store has
// it in plain text, so it should name nobody. A pause replaces an earlier one of the account. A
// time in the past ends the pause. PauseAccount is safe for concurrent use.
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

// ResumeAccount ends an account's pause at once, and in the other processes that share the store
// as PauseAccount begins it, with the same errors. It does nothing for an account that is not
// paused. It is safe for concurrent use.
func (e *Engine) ResumeAccount(account string) error {
	if account == "" {
		return nil
	}
	return untold(e.pauses.Resume(account))
}

// Paused returns the pauses that are in force, in no order. If this process has not yet heard from
// the store, it waits for that, for Options.StoreTimeout at most.
func (e *Engine) Paused() (list []Pause) {
	e.pauses.Await(context.Background())
	for _, p := range e.pauses.All() {
		list = append(list, Pause(p))
	}
	return list
}

// untold turns an error of package pause into the one that callers see.
func untold(err error) error {
	switch {
	case err == nil:
		return nil
	case err == pause.ErrTooMany:
		return fmt.Errorf("engine: %w: at most %d at once", err, limiter.MaxPauses)
	case err == pause.ErrBehind:
		return fmt.Errorf("engine: %w", err)
	case err == pause.ErrUntold:
		return ErrFleetUntold
	}
	return &bothErrors{ErrFleetUntold, err}
}

// shortReason returns the part of a reason that is kept.
func shortReason(s string) string {
	if len(s) <= limiter.MaxPauseReason {
		return s
	}
	return strings.ToValidUTF8(s[:limiter.MaxPauseReason], "")
}

// newPauses makes the engine's set of pauses, shared if the store can do that.
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

// endPaused ends the limiters' waits of the calls whose account is paused.
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

// cause returns the pause as the cause of a wait.
func (p *Pause) cause() limiter.Cause { return limiter.Cause{Rule: "paused", At: p.Since} }

// paused hands the call back if its account is paused; nil = it is not.
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
	r.wait = nil // the call no longer waits for a limit
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

// pausable returns a context that ends when ctx does, or when the account is paused.
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

// isPaused reports whether an account is paused.
func (e *Engine) isPaused(account string) bool {
	_, ok := e.pauses.Of(account)
	return ok
}
