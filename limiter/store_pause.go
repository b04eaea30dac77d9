package limiter

import (
	"context"
	"time"
)

// PauseStore is what a [Store] has besides, if it lets the processes that share it pause
// accounts together: nothing is sent for an account that is paused, by any of them.
//
// What it keeps is one entry an account: the latest pause of it, or that that is over. An
// entry with a higher version replaces one with a lower, so it does not matter in which order, and how
// often, a store hears of them. Processes keep a copy of all entries. A process asks at
// least once a second what has changed, and where the store has lost something, it
// puts that back. So the entries outlive a restart of the server even where that
// keeps nothing; a store should keep them where they are safe all the same.
//
// It is safe for concurrent use. The clock is the store's, and times are durations from the
// moment of the answer. A request that is made twice counts once.
type PauseStore interface {
	Pause(ctx context.Context, r *PauseRequest) (PauseAnswer, error)
}

// What a PauseStore keeps, and how much of it goes into one request.
const (
	MaxPauses       = 10_000              // accounts that are paused at once; and so many of which it is known that they are not any more
	MaxPauseReason  = 200                 // bytes; what is longer is cut
	MaxPauseChanges = 100                 // in one request
	MaxPausesTold   = 200                 // in one answer
	PauseKept       = 30 * 24 * time.Hour // for so long it is remembered that a pause is over, so that nobody puts it back
)

// AccountPause is the entry of one account: that it is paused, or that it is not any more.
type AccountPause struct {
	Account StoreKey // only Name counts, and is set in answers
	Version uint64   // of the entry; each change has a higher one than those before it
	Resumed bool     // the pause is over, by itself or since somebody has ended it; false = the account is paused
	Ago     time.Duration
	Left    time.Duration // until the pause ends, or its end is forgotten; 0 = it does not end by itself
	Reason  string        // why it was paused, in clear

	// By is the process whose change it was, and Number is that change's, which is higher than those of
	// the process before it. So a change that is told twice counts once, and one that comes
	// late does not undo a later one.
	By     StoreID
	Number uint64
}

// PauseChange is what a process tells a store of one account.
type PauseChange struct {
	// Version is 0 for what somebody has just asked for: the store then chooses one that is
	// higher than that of the entry it has. Otherwise the process puts back an entry that it
	// has heard of, which replaces an older one only.
	AccountPause

	// After is, for a change with Version 0, the version of the entry that was known when it
	// was made. It replaces that also where the store does not know it any more. Where the store has
	// a newer one, nothing is done: the request may have come much later than it was sent.
	After uint64

	// Late says of a change with Version 0 that the store could not be told at once. Then it
	// is as old as Ago says. Where the store has a newer entry than After, who asks compares the two
	// ages: the store cannot know how long the request was under way.
	Late bool
}

// PauseMark says what a process has heard of a store's entries. The zero value says nothing.
type PauseMark struct {
	Store  uint64 // the store's memory: one that has lost all has another number
	Change uint64 // the latest change
	Page   uint64 // where an answer ended that did not have room for all; 0 = it had
}

// PauseRequest tells a store of changes, and asks what others have changed.
type PauseRequest struct {
	Known   PauseMark     // of the latest answer
	Changes []PauseChange // at most MaxPauseChanges; they are made one after another, before the answer
}

// PauseAnswer says what has changed since the request's mark.
type PauseAnswer struct {
	Known PauseMark // for the next request

	// Lost says that the store does not know the request's mark, since it has lost what it
	// knew, or since that was long ago. Then the answer begins with the store's first entry,
	// and an entry that is in none of the answers, up to one without More, is not known to the store.
	Lost bool

	More    bool           // there are more entries: the process should ask again at once
	Entries []AccountPause // that have changed, in the order in which the store heard of them

	// Changed are the entries as they are after each of the request's changes.
	Changed []PauseResult
}

// PauseResult is what came of a change: the account's entry; it has Version 0 where there is none.
type PauseResult struct {
	AccountPause
	Full  bool // nothing was done, since MaxPauses accounts are paused already
	Newer bool // nothing was done, since the entry is newer than PauseChange.After: who still wants it may ask again
}
