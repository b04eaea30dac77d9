package redislimit

import (
	"context"
	"errors"
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
