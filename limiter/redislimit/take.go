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

// quick writes what quick_take.lua reads.
func (w *writer) quick(t *limiter.StoreTake) {
	uses, slots := quickUses(t.Parts)
	w.id(t.Member)
	w.lease(t.Lease)
	if slots == 255 {
		w.long(0)
		w.long(0)
	} else {
		w.long(min(uses[slots].Cost, uses[slots].Limit.Units))
		w.long(uses[slots].Limit.Units)
	}
	w.byte(byte(len(uses)))
	w.byte(byte(slots))
	w.byte(byte(t.Priority))
	w.span(t.MaxWait, false)
	w.id(t.ID)
	if len(uses) == 0 {
		return
	}
	w.uses(uses)
	w.version(t.Parts[0].Version)
	for i := range uses {
		u := &uses[i]
		step, room := 0.0, 0.0
		if u.Limit.Kind == limiter.StoreBucket && u.Cost > 0 {
			all := micros(max(u.Limit.Time, time.Microsecond), true)
			most := float64(min(u.Limit.Units, maxUnits))
			step, room = math.Ceil(float64(u.Cost)*all/most), all
			if t.Priority == limiter.Backfill {
				room = max(all-math.Ceil(float64(min(max(u.Headroom, 0), maxUnits))*all/most), step)
			}
		}
		w.number(step)
		w.number(room)
	}
}

const quickMost = 4

// uses writes the limits of quick uses as they are stored in a key's value.
func (w *writer) uses(uses []limiter.StoreUse) {
	for i := range uses {
		l := uses[i].Limit
		l.Adapt = false
		w.limit(&l)
	}
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// Take implements [limiter.Store].
func (s *Store) Take(ctx context.Context, t *limiter.StoreTake) (limiter.StoreAnswer, error) {
	var a limiter.StoreAnswer
	if len(t.Parts) == 0 {
		return limiter.StoreAnswer{Granted: true, NoEnd: true, Now: time.Now()}, nil
	}
	if err := checkParts(t.Parts); err != nil {
		return a, err
	}
	w := writers.Get().(*writer)
	*w = (*w)[:0]
	w.quick(t)
	w.number(float64(min(max(int64(t.Share*1e6), 0), 5e5)))
	w.byte(byte(len(t.Parts)))
	tag := t.Parts[0].Key.Place[0]
	keys := make([]string, 1, 1+len(t.Parts))
	keys[0] = s.epochs[tag]
	for i := range t.Parts {
		p := &t.Parts[i]
		keys = append(keys, s.name(&p.Key))
		w.version(p.Version)
		w.byte(byte(len(p.Uses)))
		for j := range p.Uses {
			u := &p.Uses[j]
			w.limit(&u.Limit)
			w.units(u.Cost)
			w.units(u.Headroom)
		}
	}
	call := Call{Keys: keys, Args: s.args(*w, tag, false)}
	writers.Put(w)
	ctx, cancel := s.within(ctx)
	defer cancel()
	if err := s.server.Eval(ctx, takeScript, &call); err != nil {
		return a, err
	}
	r := reader{s: call.Answer}
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
	if r.bad {
		return limiter.StoreAnswer{}, errAnswer
	}
	if bits&16 != 0 {
		s.began(ctx)
	}
	return a, nil
}
