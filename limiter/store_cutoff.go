package limiter

import (
	"bytes"
	"time"
)

// What this process leaves to others that go without the store, while it answers this one: to
// those that are cut off from it, and to those for which it is too slow. They are in the store's list
// of members, and each may use its share: see outageShare.

// cutOff is who goes without the store. It does not change.
type cutOff struct {
	known  []StoreMember
	silent int64            // how many were not heard of: what they use nobody sees yet
	away   map[StoreID]bool // the silent ones (true), and those that say that they go without it
}

// cutOffOf are those of a list of members, with the process self, that may go without the store; nil =
// none. One that has died uses nothing.
func cutOffOf(members []StoreMember, self StoreID, lease time.Duration) *cutOff {
	c := &cutOff{known: members, away: map[StoreID]bool{}}
	for _, m := range members {
		silent := m.Seen > lease/2 && !m.Gone
		if m.ID == self || !silent && !m.Apart {
			continue
		}
		if c.away[m.ID] = silent; silent {
			c.silent++
		}
	}
	if len(c.away) == 0 {
		return nil
	}
	return c
}

// withhold takes from a limit of a key at that place what others may use of it by their shares. What
// those use that are heard of is charged to the store as they tell of it; so of units only
// the part of the silent ones is taken.
func (c *cutOff) withhold(s StoreLimit, m *limit, w *spec, place [16]byte) StoreLimit {
	if c == nil || m.OnOutage == OutageClosed || s.Units <= 0 {
		return s
	}
	_, part, _ := w.shareOf(&m.Limit, len(c.known))
	if part.none {
		return s
	}
	if s.Kind == StoreSlots {
		s.Units = max(0, s.Units-c.owners(place, part.owners, false))
		return s
	}
	taken := 0.0
	switch {
	case c.silent == 0:
	case part.owners == 0:
		taken = shareMargin * float64(c.silent) / float64(len(c.known))
	case c.owners(place, part.owners, true) > 0:
		taken = shareMargin
	}
	switch {
	case taken == 0:
	case s.Kind == StoreBucket:
		s.Time = time.Duration(float64(s.Time) / (1 - taken))
	case s.Kind == StoreLog || s.Kind == StoreFixed:
		s.Units = int64(float64(s.Units) * (1 - taken))
	}
	return s
}

// owners is how many of the n owners of a place go without the store; silent = how many of those
// that are not heard of.
func (c *cutOff) owners(place [16]byte, n int64, silent bool) (away int64) {
	for _, m := range c.known {
		if is, found := c.away[m.ID]; found && (is || !silent) && rankOf(c.known, m.ID, place) < n {
			away++
		}
	}
	return away
}

// rankOf is how many of the members come before one as owners of a place: those whose hash with the
// place is higher (rendezvous hashing). All limits of a mailbox have the same order of owners, or a
// call that takes two of them could pass nowhere.
func rankOf(known []StoreMember, id StoreID, place [16]byte) (before int64) {
	score := func(id StoreID) uint64 {
		h := uint64(14695981039346656037)
		for _, s := range [][]byte{id[:], place[:]} {
			for _, c := range s {
				h = (h ^ uint64(c)) * 1099511628211
			}
		}
		return mix(h)
	}
	mine := score(id)
	for i := range known {
		o := known[i].ID
		if s := score(o); o != id && (s > mine || s == mine && bytes.Compare(o[:], id[:]) > 0) {
			before++
		}
	}
	return before
}
