package pglimit

import (
	"bytes"
	"context"
	"slices"

	"github.com/recourse-go/recourse/limiter"
)

// This file tells the server what became of permits.

// most is how many records one statement has.
const most = 200

// endRecord is what a permit that ends has of one key.
type endRecord struct {
	end  *limiter.StoreEnd
	part *limiter.StorePart
}

// endArgs are the arguments of the function ends. The records are in the order of their keys.
func endArgs(records []endRecord) (keys uuids, p []int64) {
	for _, r := range records {
		if n := len(keys); n == 0 || keys[n-1].Bytes != r.part.Key.Name {
			keys = append(keys, uuid(r.part.Key.Name))
		}
		p = append(p, int64(len(keys)), fold(r.end.ID), int64(r.end.Ending), span(r.end.Ago, false), leaseOf(r.end.Lease),
			int64(r.part.Key.Place[0]), int64(len(r.part.Uses)))
		for i := range r.part.Uses {
			u := &r.part.Uses[i]
			p = append(p, nameOf(u.Limit.Name), int64(u.Limit.Kind), units(u.Limit.Units), window(&u.Limit), units(u.Cost))
		}
	}
	return keys, p
}

// End implements [limiter.Store].
func (s *Store) End(ctx context.Context, ends []limiter.StoreEnd) error {
	var records []endRecord
	for i := range ends {
		e := &ends[i]
		if err := checkParts(e.Parts); err != nil {
			return err
		}
		for j := range e.Parts {
			records = append(records, endRecord{e, &e.Parts[j]})
		}
	}
	if len(records) == 0 {
		return ctx.Err()
	}
	slices.SortStableFunc(records, func(a, b endRecord) int { return bytes.Compare(a.part.Key.Name[:], b.part.Key.Name[:]) })
	ctx, cancel := s.within(ctx)
	defer cancel()
	for chunk := range slices.Chunk(records, most) {
		keys, p := endArgs(chunk)
		if _, err := outlast(ctx, s, func(ctx context.Context) (struct{}, error) {
			c, err := s.conn(ctx)
			if err != nil {
				return struct{}{}, err
			}
			defer c.Release()
			_, err = c.Exec(ctx, s.ends, s.at(), keys, p)
			return struct{}{}, err
		}); err != nil {
			return err
		}
	}
	return nil
}
