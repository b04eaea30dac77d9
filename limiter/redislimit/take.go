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

// checkParts refuses what one script cannot do.
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

// Take is [limiter.Store.Take].
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
	w.id(t.ID)
	w.id(t.Member)
	w.byte(byte(t.Priority))
	w.number(float64(min(max(int64(t.Share*1e6), 0), 5e5)))
	w.span(t.MaxWait, false)
	w.lease(t.Lease)
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
