// Package limiter keeps calls inside the limits of a provider before they are
// made: so many units a second, so many in any minute, so many at once, for
// each account, app, tenant, … apart; and it lets a refusal of one call hold
// back everyone else who would be refused.
//
// A [Limiter] is made of [Limit]s. A call says what it takes of them in a
// [Request], and [Limiter.Acquire] takes all of it at one instant, or waits,
// or says why not:
//
//	l, err := limiter.New([]limiter.Limit{
//		{Name: "user", Key: []limiter.Dimension{limiter.Account}, Rate: 250, Burst: 250},
//		{Name: "project", Key: []limiter.Dimension{limiter.App}, Quota: 1_200_000, Window: time.Minute},
//		{Name: "inflight", Key: []limiter.Dimension{limiter.Account}, Concurrency: 10},
//	}, limiter.Options{})
//	…
//	permit, err := l.Acquire(ctx, &limiter.Request{
//		Keys: limiter.Keys{Account: "ann@example.com", App: "sync"},
//		Uses: []limiter.Use{{Limit: "user", Cost: 5}, {Limit: "project", Cost: 5}, {Limit: "inflight"}},
//	})
//	if err != nil {
//		return err
//	}
//	defer permit.Release()
//
// What it promises, at every moment and for every key:
//
//   - In any time w, a bucket lets at most burst + rate·w units through, and a
//     quota at most itself in any window of time, or in each of its own windows
//     where they are fixed. There are never more permits
//     out than a limit of concurrency has.
//   - A call that waits holds nothing: it keeps nobody from what it does not
//     wait for. A call that fails or is cancelled has used nothing up. (One
//     exception: what a call needs is kept for it for a moment, if it was passed
//     over many times because it never found all of that together.)
//   - Calls of one account with the same limits and priority pass in the order
//     in which they came. Where accounts share a limit, each gets its share
//     while others wait.
//   - Keys that are as good as new are dropped, which changes no answer.
//
// # Several processes
//
// With Options.Member a limiter keeps its limits together with all processes that share
// the member's [Store]: what this process would grant, the store grants or refuses. Package
// limiter/redislimit and package limiter/pglimit have stores, storetest one in memory.
//
// # Inside
//
// The files, in an order in which they can be read:
//
//   - limit.go, keys.go, errors.go: what the limits, the calls, their keys and the errors are;
//   - table.go, entry.go, shard.go: the state of a key, and the locks on it;
//   - kind.go, and a file of each kind, such as kind_bucket.go: how a limit counts;
//   - take.go, hold.go, learn.go, cause.go: what a limit lets through, what closes it, and
//     what replies say of it;
//   - limiter.go, call.go, acquire.go: the way of a call;
//   - wait.go, waiter.go, queue.go, starvation.go, grant.go: how a call waits, in which order, and
//     how it goes on;
//   - reservation.go, acquirefunc.go, endwaits.go: other ways to wait, and the end of waits;
//   - permit.go, record.go, lend.go, inside.go, stall.go: what a call has, and what it lends to others;
//   - reload.go, evict.go, peek.go: new limits, old keys, and looking;
//   - store.go, store_credential.go, store_pause.go: what a store does that several processes share;
//   - store_member.go, store_ends.go, store_known.go, store_renew.go,
//     store_numbers.go, store_watch.go: the process as a member of those, and what it tells,
//     hears and knows beside its calls;
//   - store_uses.go, store_closure.go, store_ask.go, store_outage.go, store_cutoff.go: the way of a
//     call that the store is asked about, also while it does not answer, here or elsewhere;
//   - store_permit.go, store_change.go: what it is told of permits and of limits.
//
// Short names stand for the same everywhere: l is a Limiter, m a limit, e an entry (the
// state of a key), x the entry's coldLimit for m, c a call on its way in, r one of its refs,
// w a waiter, p a Permit, and now a time in nanoseconds since the limiter's base.
//
// The arithmetic of buckets and the log of a window are packages of their own in
// internal. A method of Limiter, Permit or Loan whose name ends in Locked needs the
// shards of its arguments locked; those of entry, coldState, queue and what is in
// them need their own shard's lock always.
//
// A new kind of limit is three files: its fields and its numbers in limit.go, its
// constant and its line in the table of kind.go, and its methods in a file of its own.
// Besides, takeUsualLocked has a short way for the usual kinds, and store_uses.go and
// store_outage.go say what a store makes of each kind. No other file asks for it.
//
// Times are arguments in the methods that end in At; the others read the
// clock once. Time never runs backwards for a key: an older time than the
// newest seen counts as that.
package limiter
