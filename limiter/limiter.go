package limiter

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the parts of a Limiter that are not limits. The zero value is usable.
type Options struct {
	// Clock tells the time; nil = time.Now. It must run as fast as the timers
	// of AfterFunc do, by which waiting calls wake.
	Clock func() time.Time

	// AfterFunc calls f when d has passed, in another goroutine or at least not before
	// AfterFunc has returned; nil = [time.AfterFunc]. With Clock it lets a simulation tell
	// the time.
	AfterFunc func(d time.Duration, f func()) Timer

	// LimitFor gives a key numbers of its own: it is asked on every call, for
	// each limit that the call uses, and what it answers holds from then on.
	// false = the limit's own numbers. The answer's Name and Key are ignored,
	// and so is one that is invalid or of another kind; a MaxCost of 0 is the
	// limit's. A key whose numbers change keeps its level and its permits. It
	// must be fast and safe for concurrent use; nil = no exceptions.
	LimitFor func(limit string, k Keys) (Limit, bool)

	// BackfillShare is how much of what passes is sure to be Backfill while
	// both priorities wait, in (0, 0.5]; 0 = 0.1.
	BackfillShare float64

	// Idle is how long a key that is as good as new is kept after its last
	// use, and up to a quarter longer; 0 = 1 minute. To drop it changes no
	// answer, but costs the next call of that key some 300 ns.
	Idle time.Duration

	// Member makes the limits those of all processes that share its store: a call that may
	// pass here is granted once the store has let it pass, too. nil = this process is
	// alone. The methods whose names end in At, which take the time from their caller, ask
	// no store: what they let through the others do not see.
	Member *Member

	// Namespace goes before the keys in the store, which several limiters may share: the
	// provider's name.
	Namespace string

	// Done, once it is closed, ends the wait of every call as though its MaxWait were
	// over; nil = never.
	Done <-chan struct{}

	// Closed reports whether calls of an account may not wait: one that would have to
	// fails as though its MaxWait were over. It is asked while the account's keys are locked, so it
	// must be fast and must not call the Limiter; nil = all may. See [Limiter.EndWaits].
	Closed func(account string) bool

	// Shards is how many locks the keys are spread over, rounded up to a power
	// of two; 0 = 256.
	Shards int
}

// Limiter keeps calls inside limits. It is made by [New] and safe for concurrent use.
type Limiter struct {
	heldUntil atomic.Int64     // end of the latest hold in force; 0 = none is
	clock     func() time.Time // nil = time.Now
	afterFunc func(time.Duration, func()) Timer
	base      time.Time // times are nanoseconds since then
	seed      maphash.Seed
	limitFor  func(string, Keys) (Limit, bool)
	done      <-chan struct{}           // Options.Done
	closed    func(account string) bool // Options.Closed
	member    *Member                   // Options.Member
	namespace string
	share     atomic.Pointer[outageShare] // what an outage leaves to this process; nil = there was none
	starved   bool                        // keys begin with empty buckets, also those with numbers of their own
	backfill  float64                     // Options.BackfillShare
	idle      int64

	config atomic.Pointer[config]
	reload sync.Mutex // held by Update

	guard atomic.Pointer[guarded] // nil = nobody's

	seq  atomic.Uint64 // arrivals of calls that wait
	hand atomic.Uint32 // the shard to sweep next

	mask   uint32
	shards []shard
}

// New makes a limiter. All problems of limits are reported at once.
func New(limits []Limit, o Options) (*Limiter, error) {
	l := &Limiter{
		clock:     o.Clock,
		afterFunc: o.AfterFunc,
		seed:      maphash.MakeSeed(),
		limitFor:  o.LimitFor,
		done:      o.Done,
		closed:    o.Closed,
		backfill:  o.BackfillShare,
		idle:      int64(o.Idle),
		member:    o.Member,
		namespace: o.Namespace,
	}
	if l.afterFunc == nil {
		l.afterFunc = afterFunc
	}
	var errs []error
	switch {
	case l.backfill == 0:
		l.backfill = 0.1
	case !(l.backfill > 0 && l.backfill <= 0.5):
		errs = append(errs, fmt.Errorf("limiter: backfill's share %v is not in (0, 0.5]", l.backfill))
	}
	if l.idle <= 0 {
		l.idle = int64(time.Minute)
	}
	n := o.Shards
	if n <= 0 {
		n = 256
	}
	n = 1 << bits.Len(uint(min(n, 1<<16)-1))
	l.shards, l.mask = make([]shard, n), uint32(n-1)
	for i := range l.shards {
		l.shards[i].newest, l.shards[i].rest = math.MinInt64, math.MinInt64
	}
	l.base = time.Now()
	if l.clock != nil {
		l.base = l.clock()
	}
	cfg, err := new(config).with(limits, 0)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l.config.Store(cfg)
	if l.member != nil {
		l.member.setLimits(l, cfg)
	}
	return l, nil
}

// now is the time in nanoseconds since base.
func (l *Limiter) now() int64 {
	if l.clock == nil {
		return int64(time.Since(l.base)) // cheaper than time.Now: reads the monotonic clock only
	}
	return int64(l.clock().Sub(l.base))
}

// time converts from nanoseconds since the limiter's base.
func (l *Limiter) time(ns int64) time.Time { return l.base.Add(time.Duration(ns)) }

// ns is the inverse of time.
func (l *Limiter) ns(t time.Time) int64 { return int64(t.Sub(l.base)) }
