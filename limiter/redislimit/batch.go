package redislimit

import (
	"context"

	"github.com/recourse-go/recourse/limiter"
)

// batches groups items into calls of a script. The keys of a call are in one slot of a cluster,
// and a call has at most batchMost items, since the server does nothing else while it runs.
type batches struct {
	s     *Store
	open  map[byte]*batch
	calls []*batch
}

type batch struct {
	tag   byte
	keys  []string
	index map[limiter.StoreKey]int
	w     writer
	items []int // indices of its items in the caller's lists

	leases int // of Renew: how many items are leases; the rest are debts
}

const batchMost = 64

// of returns the batch for one more item of a place.
func (b *batches) of(place byte) *batch {
	if c := b.open[place]; c != nil && len(c.items) < batchMost {
		return c
	}
	c := &batch{tag: place, keys: []string{b.s.epochs[place]}, index: map[limiter.StoreKey]int{}}
	if b.open == nil {
		b.open = map[byte]*batch{}
	}
	b.open[place] = c
	b.calls = append(b.calls, c)
	return c
}

// key returns the index of a key in c.keys, to which it adds the key if it is not there.
func (c *batch) key(s *Store, k *limiter.StoreKey) int {
	i, found := c.index[*k]
	if !found {
		i = len(c.keys)
		c.keys = append(c.keys, s.name(k))
		c.index[*k] = i
	}
	return i
}

// evalAll makes the calls, and calls read for each answer. read reports whether the script has
// made an epoch, and whether the answer could be read.
func (s *Store) evalAll(ctx context.Context, script *Script, calls []Call, read func(i int) (began, ok bool)) error {
	if len(calls) == 0 {
		return nil
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	if err := s.server.EvalAll(ctx, script, calls); err != nil {
		return err
	}
	any := false
	for i := range calls {
		began, ok := read(i)
		if !ok {
			return errAnswer
		}
		any = any || began
	}
	if any {
		s.began(ctx)
	}
	return nil
}
