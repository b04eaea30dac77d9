package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/recourse-go/recourse/engine/internal/errtree"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// breakers are a provider's circuit breakers, one a key of the policy's
// `breaker:` section, which is the host unless it says otherwise. While a
// breaker is open every call fails at once; then a few probes find out.
//
// What counts against a host is what it did not answer (whatever went wrong
// with the network, a timeout included), what it answered with an HTTP 5xx, and
// its farewell: BYE of IMAP, 421 of SMTP. Any other reply is a sign of life,
// also a refusal. Where neither the host failed nor a reply came nothing is
// learned: the caller gave up, the calling code failed by itself, a token
// endpoint was asked first, a call inside did not go on.
//
// What is let through while half open is given back however it ends, also
// without a result; a probe that takes longer than the breaker was open makes
// room for another. So no breaker stays half open for want of a probe.
type breakers struct {
	mu   sync.Mutex
	keys map[breakerKey]*breaker
}

// breakerKey has the section too: one that a reload has changed begins closed,
// and calls that began before it keep to the old one.
type breakerKey struct {
	section policy.Breaker
	key     string
}

// breaker is the breaker of one key.
type breaker struct {
	cb     *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened atomic.Int64 // when it has opened last, Unix nanoseconds

	mu     sync.Mutex
	probes []*leave // under way since it is half open; at most as many as there may be
}

// leave is what a breaker gives an attempt that it lets through. It must be
// told how the attempt went.
type leave struct {
	of    *breaker
	done  func(error)
	given time.Time
	told  bool // under of.mu, as late
	late  bool // it has made room for another: counted as no evidence so far
}

// maxBreakers is how many are remembered before closed ones are forgotten;
// beyond twice as many any is. Hosts are few.
const maxBreakers = 4096

// errHostDown is what an open breaker counts.
var errHostDown = errors.New("engine: host down")

// errExcluded is the outcome that counts neither way.
var errExcluded = errors.New("engine: no evidence")

// allow asks for leave to make an attempt; done must then be told how it went.
// Telling it more than once does nothing.
func (s *breakers) allow(b *policy.Breaker, key string) (done func(error), err error) {
	l, err := s.find(b, key).allow(b.Open)
	if err != nil {
		return nil, err
	}
	return l.tell, nil
}

// until is when the breaker of a key that has refused leave may give it: once it
// has been open for its time, or once a probe that takes longer than that makes
// room for another.
func (s *breakers) until(b *policy.Breaker, key string, refused error) time.Time {
	k := s.find(b, key)
	if refused != gobreaker.ErrTooManyRequests {
		return time.Unix(0, k.opened.Load()).Add(b.Open)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.probes) == 0 {
		return time.Now()
	}
	return k.probes[0].given.Add(b.Open)
}

// find finds or makes the breaker of a key.
func (s *breakers) find(b *policy.Breaker, key string) *breaker {
	at := breakerKey{*b, key}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[at]
	if k != nil {
		return k
	}
	if s.keys == nil {
		s.keys = map[breakerKey]*breaker{}
	}
	if len(s.keys) >= maxBreakers {
		looked := 0 // at a few, so that no call pays for a sweep
		for at, old := range s.keys {
			if old.cb.State() == gobreaker.StateClosed || len(s.keys) >= 2*maxBreakers {
				delete(s.keys, at) // it is made again when it is needed
			}
			if looked++; looked == 8 {
				break
			}
		}
	}
	k = new(breaker)
	k.cb = newBreaker(*b, &k.opened)
	s.keys[at] = k
	return k
}

// newBreaker makes a breaker that notes in opened when it opens.
func newBreaker(b policy.Breaker, opened *atomic.Int64) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	row := 0 // failures, however long ago: gobreaker counts those of a window; under its lock
	st := gobreaker.Settings{
		MaxRequests: uint32(max(b.Probes, 1)),
		Interval:    b.Window,
		Timeout:     b.Open,
		IsExcluded:  func(err error) bool { return err == errExcluded },
		IsSuccessful: func(err error) bool {
			if row++; err == nil {
				row = 0
			}
			return err == nil
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if row = 0; to == gobreaker.StateOpen {
				opened.Store(time.Now().UnixNano())
			}
		},
		ReadyToTrip: func(c gobreaker.Counts) bool {
			if b.Failures > 0 && row >= b.Failures {
				return true
			}
			known := c.TotalFailures + c.TotalSuccesses // not what is under way, nor what says nothing
			return b.Ratio > 0 && int(known) >= b.Min && float64(c.TotalFailures) >= b.Ratio*float64(known)
		},
	}
	if b.Window > 0 {
		st.BucketPeriod = max(b.Window/10, time.Millisecond)
	}
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](st)
}

// allow asks for leave. patience is how long a probe may take before it makes
// room for another.
func (k *breaker) allow(patience time.Duration) (*leave, error) {
	done, err := k.cb.Allow()
	for err == gobreaker.ErrTooManyRequests && k.makeRoom(patience) { // perhaps a probe of an earlier round
		done, err = k.cb.Allow()
	}
	if err != nil {
		return nil, err
	}
	l := &leave{of: k, done: done, given: time.Now()}
	if k.cb.State() == gobreaker.StateHalfOpen {
		k.mu.Lock()
		k.probes = append(k.probes, l)
		k.mu.Unlock()
	}
	return l, nil
}

// makeRoom lets go of one probe that takes too long, and reports whether there
// was one. What it finds out in the end still counts.
func (k *breaker) makeRoom(patience time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.probes) == 0 || time.Since(k.probes[0].given) <= patience {
		return false
	}
	oldest := k.probes[0]
	k.probes = slices.Delete(k.probes, 0, 1)
	oldest.late = true
	oldest.done(errExcluded)
	return true
}

// tell says how the attempt went: nil, errHostDown or errExcluded.
func (l *leave) tell(outcome error) {
	k := l.of
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.told {
		return
	}
	l.told = true
	if i := slices.Index(k.probes, l); i >= 0 {
		k.probes = slices.Delete(k.probes, i, i+1)
	}
	if !l.late || outcome != errExcluded {
		l.done(outcome)
	}
}

// lent is a leave that the calls made inside the attempt know of.
type lent struct {
	of    *breakers
	key   breakerKey
	tell  func(error)
	outer *lent
}

type lentKey struct{}

// lend tells the calls that are made inside an attempt, through its context,
// that the attempt has the breaker's leave. Calls are nested: Do around
// Transport, and Transport around Transport. Were both to count, every failure
// would count twice, and where there is one probe the outer call would hold it
// while the inner one is refused, for ever.
func (r *run) lend(ctx context.Context) context.Context {
	if r.breaker == nil {
		return ctx
	}
	outer, _ := ctx.Value(lentKey{}).(*lent)
	return context.WithValue(ctx, lentKey{}, &lent{&r.p.breaker, r.breakerKey(), r.breaker, outer})
}

// giveBack gives back the leave that calls around this one have from the same
// breaker. This one asks for its own: it knows how the host answers, and the
// breaker may have opened since.
func (r *run) giveBack(ctx context.Context, key breakerKey) {
	l, _ := ctx.Value(lentKey{}).(*lent)
	for ; l != nil; l = l.outer {
		if l.of == &r.p.breaker && l.key == key {
			l.tell(errExcluded)
		}
	}
}

// breakerKey is the key of the call's breaker; its policy must have one.
func (r *run) breakerKey() breakerKey {
	b := r.c.policy.Breaker
	keys := r.call.keys()
	return breakerKey{*b, keyOf(b.Key, &keys)}
}

// evidence is what the failed attempt, whose facts e are, says about the host.
func (r *run) evidence(e *rules.Event) error {
	if r.elsewhere() {
		return errExcluded
	}
	inner, ended := innerEvent(r.err)
	switch {
	case !ended:
		return evidence(e)
	case inner == nil || r.p.engine.forTokens(inner.Provider, inner.Operation) && !r.op.token:
		return errExcluded // nothing was sent, or to a token endpoint
	case evidence(inner) == nil:
		return errExcluded // the reply was to the inner call, and ended it; the host may be another
	}
	return evidence(inner)
}

// elsewhere reports whether the attempt failed at a token endpoint, or in the
// Authorize hook, before its own request was sent, or in reading the request's own
// body: whatever went wrong there says nothing about the host of the request.
func (r *run) elsewhere() bool {
	if r.deciding != r.c {
		return true
	}
	if _, hook := errtree.As[*authorizeError](r.err); hook {
		return true
	}
	if _, own := r.err.(*httpattempt.UploadError); own {
		return true
	}
	_, token := retrieveError(r.err)
	return token && !r.op.token
}

// innerEvent finds the facts of the last attempt of a call inside that was
// given up or handed back; nil where it made none.
func innerEvent(err error) (e *rules.Event, ended bool) {
	if later, ok := errtree.As[*DeferError](err); ok {
		return later.Event, true
	}
	if gave, ok := errtree.As[*GiveUpError](err); ok {
		return gave.Event, true
	}
	return nil, false
}

// evidence is what a failed attempt says about the host that it was sent to.
func evidence(e *rules.Event) error {
	spoken := protocol.Of(e.Protocol)
	switch {
	case e.Network == rules.NetworkCanceled:
		return errExcluded
	case e.Network != "", spoken.HostDown(e):
		return errHostDown
	case !spoken.Replied(e):
		return errExcluded // no reply, and nobody knows why
	}
	return nil
}
