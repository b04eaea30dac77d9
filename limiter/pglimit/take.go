package pglimit

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// This file asks the server to decide over calls.

var (
	errPlaces = errors.New("pglimit: the keys of one take are not of one place")
	errTwice  = errors.New("pglimit: a key, or a limit of one, is named twice")
)

// checkParts refuses what cannot be done in one step.
func checkParts(parts []limiter.StorePart) error {
	for i := range parts {
		for j := range i {
			if parts[i].Key.Place != parts[j].Key.Place {
				return errPlaces
			}
			if parts[i].Key.Name == parts[j].Key.Name {
				return errTwice
			}
		}
		uses := parts[i].Uses
		for j := range uses {
			for k := range j {
				if uses[j].Limit.Name == uses[k].Limit.Name {
					return errTwice
				}
			}
		}
	}
	return nil
}

// takeArgs are the arguments of the functions decide and, where there is one key, take.
func takeArgs(t *limiter.StoreTake) (uuids, []int64) {
	keys := make(uuids, len(t.Parts))
	order := make([]int, len(t.Parts))
	p := make([]int64, 0, 6+3*len(t.Parts)+8*4)
	share := int64(0)
	if t.Share > 0 {
		share = int64(min(t.Share, 0.5) * whole)
	}
	p = append(p, fold(t.ID), fold(t.Member), int64(t.Priority), share, span(t.MaxWait, false), leaseOf(t.Lease))
	for i := range t.Parts {
		keys[i], order[i] = uuid(t.Parts[i].Key.Name), i
	}
	slices.SortFunc(order, func(i, j int) int { return bytes.Compare(keys[i].Bytes[:], keys[j].Bytes[:]) })
	for i := range t.Parts {
		p = append(p, int64(order[i]+1), int64(t.Parts[i].Key.Place[0]), version(t.Parts[i].Version))
	}
	for i := range t.Parts {
		for j := range t.Parts[i].Uses {
			u := &t.Parts[i].Uses[j]
			l := &u.Limit
			p = append(p, int64(i+1), nameOf(l.Name), int64(l.Kind), units(l.Units), window(l), units(u.Cost), units(u.Headroom), number(l.Learn))
		}
	}
	return keys, p
}

// Take implements [limiter.Store].
func (s *Store) Take(ctx context.Context, t *limiter.StoreTake) (a limiter.StoreAnswer, err error) {
	if err := checkParts(t.Parts); err != nil {
		return a, err
	}
	keys, p := takeArgs(t)
	ctx, cancel := s.within(ctx)
	defer cancel()
	s.noteNames(ctx, t.Parts)
	var got answer
	if len(keys) == 1 {
		got, err = s.askTogether(ctx, &question{at: s.at(), key: keys[0], p: p})
	} else {
		got, err = s.ask(ctx, s.decide, s.at(), keys, p)
	}
	if err != nil {
		return a, err
	}
	r, cause := got.r, got.cause
	if len(r) < 8+len(t.Parts) {
		return a, errAnswer
	}
	a.Granted, a.Wait, a.Held, a.NoEnd, a.Now, a.Forgot = r[0] != 0, duration(r[1]), r[3] != 0, r[4] != 0, time.UnixMicro(r[5]), r[6] != 0
	if use := int(r[2]); !a.Granted {
		for a.Part < len(t.Parts)-1 && use >= len(t.Parts[a.Part].Uses) {
			use -= len(t.Parts[a.Part].Uses)
			a.Part++
		}
		a.Use = use
	}
	if a.Cause, err = decodeCause(cause, r[7]); err != nil {
		return limiter.StoreAnswer{}, err
	}
	r = r[8:]
	a.Versions = make([]uint64, len(t.Parts))
	for i := range a.Versions {
		a.Versions[i] = uint64(r[i])
	}
	if r = r[len(t.Parts):]; len(r) > 0 {
		a.Counts = r
	}
	return a, nil
}
