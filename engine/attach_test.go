package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// heard is an observer that remembers the kinds of what it was told.
type heard struct{ kinds []NoticeKind }

func (h *heard) Observe(_ context.Context, n *Notice) { h.kinds = append(h.kinds, n.Kind) }

// take returns what was heard since the last time.
func (h *heard) take() []NoticeKind {
	kinds := h.kinds
	h.kinds = nil
	return kinds
}

// Who is attached hears what Options.Observer does from then on, but not of successes.
func TestAttach(t *testing.T) {
	const yaml = "rules:\n  - {name: broken, when: status == 0, action: fail}\n"
	failing := errors.New("failed")
	for _, own := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var first, late heard
			o := Options{}
			if own {
				o.Observer = &first
			}
			e := testEngine(t, o, overLoop+yaml)
			call := func(err error) {
				_ = e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}, func(context.Context) error { return err })
			}
			do := func(step string, wantFirst, wantLate []NoticeKind, f func()) {
				t.Helper()
				first.take()
				late.take()
				f()
				if !own {
					wantFirst = nil
				}
				if got := first.take(); !slices.Equal(got, wantFirst) {
					t.Errorf("own observer %v, %s: Options.Observer heard %v, want %v", own, step, got, wantFirst)
				}
				if got := late.take(); !slices.Equal(got, wantLate) {
					t.Errorf("own observer %v, %s: the attached one heard %v, want %v", own, step, got, wantLate)
				}
			}
			fails := []NoticeKind{NoticeAttempt, NoticeDecision, NoticeGiveUp}
			do("nobody attached", fails, nil, func() { call(failing) })
			detach := e.Attach(&late)
			also := e.Attach(&late)
			do("attached twice", fails, slices.Concat(repeat(fails, 2)), func() { call(failing) })
			also()
			also()
			do("a failure", fails, fails, func() { call(failing) })
			do("a success", []NoticeKind{NoticeAttempt}, nil, func() { call(nil) })
			do("a hold by hand", []NoticeKind{NoticeHold}, []NoticeKind{NoticeHold}, func() {
				p, _ := e.Provider("test")
				if err := p.Hold("sending", limiter.Keys{Account: "a"}, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			})
			do("its end", []NoticeKind{NoticeLift}, []NoticeKind{NoticeLift}, func() {
				p, _ := e.Provider("test")
				if err := p.Lift("sending", limiter.Keys{Account: "a"}); err != nil {
					t.Fatal(err)
				}
			})
			do("a reload", []NoticeKind{NoticeReload}, []NoticeKind{NoticeReload}, func() {
				if err := e.Replace(policy.Builtin()); err != nil {
					t.Fatal(err)
				}
			})
			detach()
			do("detached", []NoticeKind{NoticeReload}, nil, func() {
				if err := e.Replace(policy.Builtin()); err != nil {
					t.Fatal(err)
				}
			})
			if e.observed() != own {
				t.Errorf("own observer %v: observed is %v after the other was detached", own, e.observed())
			}
		})
	}
}

// repeat is each of the kinds n times: one notice goes to all before the next is made.
func repeat(kinds []NoticeKind, n int) (all []NoticeKind) {
	for _, k := range kinds {
		for range n {
			all = append(all, k)
		}
	}
	return all
}

// A success costs no allocation while somebody is attached.
func TestAttachSuccessAllocs(t *testing.T) {
	e := testEngine(t, Options{}, overLoop)
	defer e.Attach(&heard{})()
	call := Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}
	ctx, fn := t.Context(), func(context.Context) error { return nil }
	if got := testing.AllocsPerRun(100, func() { _ = e.Do(ctx, call, fn) }); got != 0 && !raceEnabled {
		t.Errorf("Do with an attached observer: %v allocations, want 0", got)
	}
}
