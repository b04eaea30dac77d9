package redislimit

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

var (
	errPlaces = errors.New("redislimit: the keys of one call are not of one place")
	errTwice  = errors.New("redislimit: a key, or a limit of one, is named twice")
	errMany   = errors.New("redislimit: a call has more than 255 keys or limits")
)

// checkParts refuses parts that one run of a script cannot take.
func checkParts(parts []limiter.StorePart) error {
	if len(parts) > 255 {
		return errMany
	}
	for i := range parts {
		p := &parts[i]
		for j := range i {
			if parts[j].Key.Place != p.Key.Place {
				return errPlaces
			}
			if parts[j].Key.Name == p.Key.Name {
				return errTwice
			}
		}
		if len(p.Uses) > 255 {
			return errMany
		}
		for j := range p.Uses {
			for k := range j {
				if p.Uses[j].Limit.Name == p.Uses[k].Limit.Name {
					return errTwice
				}
			}
		}
	}
	return nil
}

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
			all := micros(max(u.Limit.Time, time.Microsecond), true)
			most := float64(min(u.Limit.Units, maxUnits))
			step = math.Ceil(float64(u.Cost) * all / most)
			gap = all - step
			if priority == limiter.Backfill {
				gap = max(gap-math.Ceil(float64(min(max(u.Headroom, 0), maxUnits))*all/most), 0)
			}
		}
		w.number(step)
		w.number(gap)
	}
}

// uses writes the limits of uses as they are stored in a key's value.
func (w *writer) uses(uses []limiter.StoreUse) {
	for i := range uses {
		l := uses[i].Limit
		l.Adapt = false
		w.limit(&l)
	}
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// takeCall is a [Call] and the space for its keys and arguments, so that a take of one key
// allocates them at once.
type takeCall struct {
	Call
	keys [2]string
	args [2]string
}

// Take implements [limiter.Store].
func (s *Store) Take(ctx context.Context, t *limiter.StoreTake) (limiter.StoreAnswer, error) {
	if len(t.Parts) == 0 {
		return limiter.StoreAnswer{Granted: true, NoEnd: true, Now: time.Now()}, nil
	}
	if err := checkParts(t.Parts); err != nil {
		return limiter.StoreAnswer{}, err
	}
	tag := t.Parts[0].Key.Place[0]
	var call takeCall
	call.Keys = append(call.keys[:0], s.epochs[tag])
	for i := range t.Parts {
		call.Keys = append(call.Keys, s.name(&t.Parts[i].Key))
	}
	w := writers.Get().(*writer)
	*w = (*w)[:0]
	w.take(t)
	call.Args = s.args(call.args[:0], *w, tag, false)
	writers.Put(w)
	ctx, cancel := s.within(ctx)
	defer cancel()
	if err := s.server.Eval(ctx, takeScript, &call.Call); err != nil {
		return limiter.StoreAnswer{}, err
	}
	r := reader{s: call.Answer}
	a, began := r.taken()
	if r.bad {
		return limiter.StoreAnswer{}, errAnswer
	}
	if began {
		s.began(ctx)
	}
	return a, nil
}

// take writes the request of take.lua, and of quick_take.lua.
func (w *writer) take(t *limiter.StoreTake) {
	quick, slots := quickUses(t.Parts)
	w.byte(byte(len(t.Parts)))
	w.id(t.Member)
	w.lease(t.Lease)
	w.number(float64(min(max(int64(t.Share*1e6), 0), 5e5)))
	w.byte(byte(len(quick)))
	w.byte(byte(slots))
	w.byte(byte(t.Priority))
	w.span(t.MaxWait, false)
	w.id(t.ID)
	for i := range t.Parts {
		p := &t.Parts[i]
		w.version(p.Version)
		w.byte(byte(len(p.Uses)))
		w.uses(p.Uses)
		for j := range p.Uses {
			w.units(p.Uses[j].Cost)
			w.units(p.Uses[j].Headroom)
		}
	}
	if len(quick) > 0 {
		w.steps(quick, t.Priority)
	}
}

// taken reads the answer of take.lua, and whether it has made the epoch.
func (r *reader) taken() (a limiter.StoreAnswer, began bool) {
	bits := r.byte()
	a.Granted, a.Held, a.Forgot, a.NoEnd = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
	a.Part, a.Use = int(r.byte()), int(r.byte())
	a.Wait, a.Now = r.span(), r.time()
	a.Versions = make([]uint64, r.byte())
	for i := range a.Versions {
		a.Versions[i] = uint64(r.number())
	}
	if n := r.byte(); n > 0 {
		a.Counts = make([]int64, n)
		for i := range a.Counts {
			a.Counts[i] = int64(r.number())
		}
	}
	a.Cause = r.cause()
	return a, bits&16 != 0
}
