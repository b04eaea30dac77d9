package limiter

import (
	"context"
	"errors"
	"time"
)

// Store keeps limits for all processes that share it, so that they keep the limits of a
// provider together. A Limiter asks it for every call, outside all locks and after its own
// grant: the Limiter is the filter and the queue of one process, the store has the last word.
//
// Package storetest has the tests that each implementation must pass, and an
// implementation in memory that says what is right where this text does not.
//
// What a store keeps for a key is one value: the state of all limits with that key, which
// it changes in one step. All decisions are made on the store's own clock, which it never
// lets run backwards for a value. Times that go in and out are durations from the
// moment of the decision, so the clocks of the processes do not matter. A store counts in
// whole microseconds and rounds so that it never lets more through.
//
// The methods are safe for concurrent use. They end when the context does, and an error
// says nothing of whether the store has done what it was asked for. So whatever is asked
// twice must count once: takes and ends by the permit's id, renewals by the leases' ids.
// A method keeps none of its arguments.
//
// An error that wraps [ErrStoreValue] is about what is kept for one of the keys. Any other is
// taken for an outage of the store.
type Store interface {
	// Key names a key in the store. Keys of one place are kept where one step can change
	// them together. Both strings are plain, and name people: a store hashes them.
	Key(place, name string) StoreKey

	// Take decides over one call: all that t names, or nothing.
	Take(ctx context.Context, t *StoreTake) (StoreAnswer, error)

	// End tells what became of permits. No call waits for it.
	End(ctx context.Context, ends []StoreEnd) error

	// Change notes what is known of one limit of a key from elsewhere: a refusal, a hold.
	Change(ctx context.Context, c *StoreChange) (StoreState, error)

	// Renew says that a process lives, and what it holds.
	Renew(ctx context.Context, r *StoreRenewal) (StoreRenewed, error)

	// Watch calls f for what concerns the member, one event after another, until the
	// context ends or the connection is lost. f(StoreEvent{}) is called once events are
	// sure to be seen from then on. An event may be lost all the same: it only saves time.
	Watch(ctx context.Context, member StoreID, f func(StoreEvent)) error
}

// ErrStoreValue is in errors that say that the value of one key cannot be read, such as one that a
// newer version of the store's package has written. Calls of that key wait; others go on.
var ErrStoreValue = errors.New("limiter: the store's value of a key cannot be read")

// StoreKey names a key in a store. It is made by [Store.Key], and shows nothing of what it names.
type StoreKey struct {
	Place [16]byte // keys of one place are changed together
	Name  [16]byte
}

// StoreID is the random number of a process (a member) or of a permit. Those of permits
// are never used again.
type StoreID [16]byte

// StoreKind is how a limit counts.
type StoreKind uint8

// The kinds of limits in a store: see [Limit].
const (
	StoreGate   StoreKind = iota // lets everything through until it is held
	StoreBucket                  // Units can pass at once, and come again within Time
	StoreLog                     // Units in any Time, by a log of what passed
	StoreFixed                   // Units in each of the windows of Time that follow one another
	StoreSlots                   // Units permits at once
)

// StoreLimit is one limit with the numbers that are in force for a key.
type StoreLimit struct {
	Name  string // unique for its key
	Kind  StoreKind
	Units int64         // burst, quota, or slots; 0 for a gate
	Time  time.Duration // bucket: in which an empty one is full again; log and fixed: the window
	Adapt bool          // a refusal lowers it: see [Limit]
	Learn bool          // replies tell what is left of it
}

// StoreTake is what one call wants of the keys of one place. No key, and no limit of
// one, may be named twice.
type StoreTake struct {
	ID     StoreID // the permit's
	Member StoreID
	Parts  []StorePart // all with the same Key.Place

	Priority Priority
	// Share is what is sure to be Backfill of what passes, while both priorities want
	// more than there is: see [Options.BackfillShare].
	Share float64

	// MaxWait is how far ahead units may be reserved: then the call is granted as of a time
	// to come. A call that takes slots is granted now or refused. What is reserved is taken at
	// once; what others give back meanwhile makes a bucket no fuller than that leaves.
	MaxWait time.Duration

	// Lease is how long slots are kept that are not renewed.
	Lease time.Duration
}

// StorePart is what a call wants of one key.
type StorePart struct {
	Key     StoreKey
	Version uint64 // the newest version of the key's value that the process has seen; 0 = none
	Uses    []StoreUse
}

// StoreUse is what a call wants of one limit. Of slots it gets no more than there are in
// all, of a gate nothing.
type StoreUse struct {
	Limit StoreLimit
	Cost  int64

	// Headroom is how many units of a bucket must be left: what backfill leaves to others.
	// A call of Backfill that is owed its share leaves none. Others may reserve so far ahead
	// that half of it is left, and no further than a second. That is for a MaxWait of a second
	// or more; one that waits for less may reserve so much less far.
	Headroom int64
}

// StoreAnswer is what a store says to a take.
type StoreAnswer struct {
	Granted bool

	// Wait is how long from now on until the call may go on, if it is granted; 0 = at once.
	// If it is refused, it is how long it would have to wait at least, as far as that is
	// known; 0 = until somebody ends, of which [Store.Watch] tells the member.
	Wait time.Duration

	// Of a refusal: which limit, as indices into Parts and its Uses, whether it is held
	// (so that nobody passes until Wait is over), and what closed it.
	Part, Use int
	Held      bool
	Cause     Cause // At is a time of the store's clock

	// NoEnd says that the store need not hear how the permit ends, unless it was not used:
	// it has no slots, it is no probe after a hold, and no refusals of its keys are counted.
	NoEnd bool

	// Now is the store's clock when it decided.
	Now time.Time

	// Versions are the newest versions of the parts' values.
	Versions []uint64

	// Forgot says that the store has lost what it knew of some part, as by a restart: its
	// version is lower than StorePart.Version. The process should put back what it knows
	// of that key, by Renew. Slots of the key are refused until that has had time.
	Forgot bool

	// Counts are the units that each use's limit has granted, with this call, in the order of
	// parts and uses: see StoreChange.Count. That of a limit without Learn says nothing.
	// nil = no use has Learn, or it was asked twice.
	Counts []int64
}

// StoreEnding says what became of a permit.
type StoreEnding uint8

// What can become of a permit.
const (
	StoreReleased  StoreEnding = iota // its slots are free
	StoreCompleted                    // its slots are free, and the provider did not refuse it
	StoreCancelled                    // it was not used: slots and units are given back
	StoreSucceeded                    // the provider did not refuse it; it goes on
	StoreRefunded                     // its units are given back; it goes on
)

// StoreEnd is what became of one permit, or of what it has of one place. An end that comes
// before its take, or while the take is lost, makes the take void: the store remembers
// the id as long as a lease lasts.
type StoreEnd struct {
	ID     StoreID
	Member StoreID
	Ending StoreEnding
	Parts  []StorePart   // as they were taken
	Ago    time.Duration // how long ago the permit's instant was; less than 0 = it is yet to come
	Lease  time.Duration
}

// StoreChangeKind is what is known of a limit from elsewhere.
type StoreChangeKind uint8

// The kinds of changes.
const (
	StoreRefused StoreChangeKind = iota // the provider refused a call: it is counted, and the limit closed by Steps
	StoreHeld                           // the limit is closed for Hold, if it is not closed for longer
	StoreLifted                         // the hold ends as if it had never been, and what was learned is forgotten; all are told
	StoreLearned                        // a reply told what is left
)

// StoreChange is what is known of one limit of one key from elsewhere.
type StoreChange struct {
	Kind   StoreChangeKind
	Key    StoreKey
	Member StoreID
	Limit  StoreLimit
	Cause  Cause

	// Of StoreRefused: how long ago the call was sent (less than 0 = not known, it counts
	// always), and how long the limit is closed after 1, 2, … refusals in a row; the last
	// step is for all further ones, and no steps close it not at all. See [Refusal].
	Sent  time.Duration
	Steps []time.Duration

	Hold time.Duration // of StoreHeld

	// Of StoreLearned: see [Learned], with Reset as a duration from now on (0 = not told), and
	// StoreAnswer.Counts of the call's take for this limit.
	Remaining int64
	Reset     time.Duration
	Quota     int64
	Count     int64
}

// StoreState is one limit of a key after a change, or as a process knows it from one.
type StoreState struct {
	Refusals int           // in a row
	Held     time.Duration // closed for so long from now on; 0 = not held
	Cause    Cause
	Version  uint64

	// Lowered is what refusals have taken of the limit, in millionths. One comes back in
	// each 200 µs. See [Limit.Adapt].
	Lowered int64

	// Left units may pass until Reset, a duration from now on, as replies have told; 0 = they have
	// not. Quota is the provider's number; 0 = not told. Count are the units that the limit has
	// granted by now: see StoreAnswer.Counts.
	Left  int64
	Reset time.Duration
	Quota int64
	Count int64

	// Age is how long ago the store has said this, in a StoreLease.
	Age time.Duration
}

// StoreLease is a permit of a key's slots. A zero ID says that the process holds none, but
// knows what State says of the key.
type StoreLease struct {
	Key   StoreKey
	Limit StoreLimit
	ID    StoreID
	Slots int64
	// Version is the newest version of the key's value that the process has seen. A
	// value with a lower one has been forgotten: then the lease is put back, even where the
	// limit is exceeded by that, and so is State, unless the limit was lifted since. Where the
	// value knows something by now, or processes know different things, the stricter holds:
	// the longer hold, the more refusals, the lower limit, fewer units until the same
	// reset. A later reset is newer.
	Version uint64
	State   StoreState
}

// StoreDebt is units that were granted without the store, while it was not there. They are
// charged as far as the bucket allows to be below empty, which is its burst once more.
type StoreDebt struct {
	Key   StoreKey
	Limit StoreLimit
	Units int64
	ID    StoreID // of the debt, so that it is charged once
}

// StoreRenewal says that a process lives, what it holds, and what it owes.
type StoreRenewal struct {
	Member  StoreID
	Numbers [8]byte       // a digest of the process's limits and settings, so that differences are found
	Table   []byte        // the numbers of its limits, which Numbers is a digest of, too: for members that have other ones
	Apart   bool          // it lets calls through without the store at present: see [Limit.OnOutage]
	Lease   time.Duration // for which leases are renewed; a member is known for as long as Expiry
	Expiry  time.Duration
	Leave   bool // the process ends: its leases end, and so does its membership

	Leases []StoreLease
	Debts  []StoreDebt
}

// StoreRenewed is the answer to a renewal.
type StoreRenewed struct {
	Members []StoreMember // those that are known, in the order of their ids
	Lost    []StoreID     // leases that have run out, and belong to others now
	Forgot  bool          // some value had a lower version than its lease said

	// Tables are those of the members that are known whose Numbers are others than the process's: one
	// for each such Numbers.
	Tables [][]byte

	// Warnings say what is wrong with how the store is set up or used, for people to read: a
	// sentence each, always the same for the same thing.
	Warnings []string
}

// StoreMember is one process that shares the store.
type StoreMember struct {
	ID      StoreID
	Numbers [8]byte
	Apart   bool
	Seen    time.Duration // since it was last renewed

	// Gone says of a member that was not seen for half a lease that nobody watches for it any
	// more: so it has died, and is not merely cut off. false where that is not known.
	Gone bool
}

// StoreEvent tells a member what others did. The zero StoreEvent says that events are seen from now on.
type StoreEvent struct {
	Key StoreKey // only Name is sure to be set
	// Freed says that it is the member's turn to ask again for a slot that it was refused.
	// Otherwise a hold of the key was set or lifted: reservations of it are void, and what
	// is known of its closure is to be asked for anew.
	Freed bool
	// Lifted says that a limit of the key was lifted: what is known of the key's holds, and what
	// was learned of it, is not to be put back.
	Lifted bool

	// Paused says that accounts were paused or resumed, in a [PauseStore]; Key is zero.
	Paused bool
}
