package storetest

import (
	"time"

	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// The numbers that all stores share. Times are microseconds.
const (
	micro  = int64(1)
	milli  = 1000 * micro
	second = 1000 * milli
	minute = 60 * second
	hour   = 60 * minute

	longest  = storecodec.Longest
	maxUnits = storecodec.MaxUnits
	maxLease = storecodec.MaxLease

	// Ids.
	recentFor  = 2 * second // how long a grant is remembered by its permit's id
	recentMost = 32
	voidMost   = 64 // the most ids of void takes and charged debts

	// Slots.
	leaseMost   = 1000
	waiterMost  = 256         // members of a priority that wait for slots, and of claims of units
	lotOf       = 61          // of these places, the last, of which one is drawn: see lot
	waiterFor   = second      // how long a member that was refused counts as waiting
	keptFor     = 250 * milli // how long a free slot is kept for the member whose turn it is
	claimLate   = 5 * milli   // how much longer than needed a call waits that has claimed units, so that it does not come too early
	restorePart = 3           // after a loss of data, no slots are granted for a lease divided by this

	// Holds, refusals, probes: as the limiter has them.
	probeLapse   = minute
	maxProbes    = 64
	refusalLapse = hour
	liftedFor    = maxLease / restorePart // how long a hold that was lifted is not restored
	maxRefusals  = 1 << 30

	// Adapt, in millionths of the configured number.
	whole      = 1_000_000
	adaptCut   = 700_000
	adaptFloor = 50_000
	adaptEvery = second
	adaptTick  = 200 * micro // in which it rises by a millionth: 0.5 % a second

	// What replies tell.
	maxLearned = 7 * 24 * hour
	quotaKept  = hour
	resetSlop  = 2 * second

	// What backfill is owed, in thousandths of a unit.
	creditMost  = 1_000_000_000_000 // units
	wantedFor   = 2 * second        // how long backfill that was refused counts as wanting more
	logParts    = 32                // of the window, for a log of more than logExact units
	logExact    = 64
	logMost     = 256 // entries
	epochs      = 256
	refundReach = second
)

func span(d time.Duration, up bool) int64 { return storecodec.Micros(d, up) }

func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

func units(n int64) int64 { return storecodec.Units(n) }
