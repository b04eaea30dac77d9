package redislimit

import (
	"math"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// This file has what the quick scripts read: quick_take.lua and quick_end.lua decide about most
// calls, in less of the server's time than the whole scripts.

// quickUses returns the uses of a call if the quick scripts can decide about all of them, else
// nil. slots is the index of the use that takes slots; 255 = there is none.
func quickUses(parts []limiter.StorePart) (uses []limiter.StoreUse, slots int) {
	slots = 255
	if len(parts) != 1 || len(parts[0].Uses) > quickMost {
		return nil, slots
	}
	uses = parts[0].Uses
	for i := range uses {
		switch l := &uses[i].Limit; {
		case l.Kind == limiter.StoreGate:
		case l.Kind == limiter.StoreBucket && !l.Learn && uses[i].Cost <= l.Units:
		case l.Kind == limiter.StoreSlots && slots == 255 && uses[i].Cost > 0 && l.Units > 0 && l.Units <= math.MaxInt32:
			slots = i
		default:
			return nil, 255
		}
	}
	return uses, slots
}

const quickMost = 4

// steps writes what a quick call takes of each bucket: see quick_take.lua.
func (w *writer) steps(uses []limiter.StoreUse, priority limiter.Priority) {
	for i := range quickMost {
		step, gap := 0.0, math.Inf(1)
		if i < len(uses) && uses[i].Limit.Kind == limiter.StoreBucket && uses[i].Cost > 0 {
			u := &uses[i]
			all := float64(storecodec.Micros(max(u.Limit.Time, time.Microsecond), true))
			most := float64(storecodec.Units(u.Limit.Units))
			step = math.Ceil(float64(u.Cost) * all / most)
			gap = all - step
			if priority == limiter.Backfill {
				gap = max(gap-math.Ceil(float64(storecodec.Units(u.Headroom))*all/most), 0)
			}
		}
		w.number(step)
		w.number(gap)
	}
}

// quickEnd writes what quick_end.lua reads.
func (w *writer) quickEnd(ends []limiter.StoreEnd, items []int) {
	e := &ends[items[0]]
	var uses []limiter.StoreUse
	slots := 255
	if len(items) == 1 && (e.Ending == limiter.StoreReleased || e.Ending == limiter.StoreCompleted) {
		uses, slots = quickUses(e.Parts)
	}
	if slots == 255 {
		w.byte(0)
		return
	}
	w.byte(byte(len(uses)))
	w.id(e.ID)
	w.byte(byte(slots))
	w.uses(uses)
}

// uses writes the limits of uses as they are stored in a key's value.
func (w *writer) uses(uses []limiter.StoreUse) {
	for i := range uses {
		l := uses[i].Limit
		l.Adapt = false
		w.limit(&l)
	}
}
