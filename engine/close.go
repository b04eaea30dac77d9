package engine

import (
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/policy"
)

// ErrClosed is the error of calls that begin after Engine.Close, of calls that it has
// handed back, and of Replace and Watch.
var ErrClosed = redact.New("engine: the engine was closed")

// closedRule is the rule of calls that Close ends before a policy has decided about them.
var closedRule = decision.OwnRule(policy.Rule{Name: "closed", Action: policy.Fail})

// Close ends an engine's work, as when its process is about to end. Calls that wait, for
// a limit, for their account's credentials or between two attempts, are handed back as a
// *DeferError at once, with the time that they were waiting for and their State, and so
// is whatever would have to wait later. An attempt that is under way is not cut, since
// nobody would know its outcome. A refresh of credentials that is under way is not cut
// either, but no other begins. Calls that begin later are given up as canceled, and Watch
// returns. The error of all of these is ErrClosed.
//
// What the process has of Options.Store it gives back: the slots of calls that are under way
// once these end, or by themselves if the process ends first (see limiter.MemberOptions.Lease).
// For that Close waits at most for twice Options.StoreTimeout.
//
// Close does not wait for the calls. It may be called more than once; the error is nil.
func (e *Engine) Close() error {
	e.close()
	e.leave()
	return nil
}

func (e *Engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed() {
		return
	}
	close(e.done)
	// To those who look it up, every policy is gone: so calls need not ask.
	for _, p := range e.handles {
		if was := p.live.Load(); was != nil && !was.gone {
			p.live.Store(was.asGone(&e.o))
		}
	}
	last := e.live.Load()
	e.live.Store(&generation{set: last.set, last: last})
}

func (e *Engine) closed() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// loaded returns the policies of the calls that have begun, also when the engine is closed.
func (e *Engine) loaded() *generation {
	g := e.live.Load()
	if g.last != nil {
		return g.last
	}
	return g
}
