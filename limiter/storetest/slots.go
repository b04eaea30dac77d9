package storetest

import "github.com/recourse-go/recourse/limiter"

// slots is the state of a limit of slots: its leases, and the members that wait.
//
// A member that is refused waits, for a second after each time that it asks. Members get free
// slots in the order in which they came: the store tells them, and keeps the slots that they
// want for a moment. Others get slots only if there are more than the waiting members want. For a
// member that lacks units slots are kept from when those come.
//
// There are waiterMost places in that order for each priority. If all are taken, who asks takes one
// of the last from the member that has it, by lot. So nobody stays without a place for long.
type slots struct {
	leases  []slotLease
	waiters []waiter // by arrival; one for a member and priority
}

type slotLease struct {
	id     limiter.StoreID
	member limiter.StoreID
	slots  int64
	at     int64
	until  int64
}

type waiter struct {
	member   limiter.StoreID
	priority limiter.Priority
	slots    int64
	until    int64
	told     int64 // when it was told that it is its turn, or may come since its units will be there; 0 = neither
}

func (x *slots) leaseOf(id limiter.StoreID) int {
	for i := range x.leases {
		if x.leases[i].id == id {
			return i
		}
	}
	return -1
}

// used returns how many slots are leased.
func (x *slots) used() (n int64) {
	for i := range x.leases {
		n += x.leases[i].slots
	}
	return n
}

// advance drops leases that have run out, and members that do not wait any more.
func (x *slots) advance(now int64) {
	x.leases = keep(x.leases, func(l slotLease) bool { return now < l.until })
	x.waiters = keep(x.waiters, func(w waiter) bool {
		return now < w.until && (w.told == 0 || now < w.told+keptFor)
	})
}

func (x *slots) newAt() (at int64) {
	for _, l := range x.leases {
		at = max(at, l.until)
	}
	for _, w := range x.waiters {
		at = max(at, w.until)
	}
	return at
}

// claim reports whether a member may have n slots of all that there are. If not, the member
// waits. told are the members that may ask for slots now.
func (s *state) claim(member limiter.StoreID, priority limiter.Priority, n, all, now int64) (ok bool, told []limiter.StoreID) {
	w := s.place(member, priority, now)
	w.until = now + waiterFor
	if w.told > now || w.told != 0 && (n > w.slots || s.used()+n > all) {
		w.told = 0 // another call than that which it was told for, a time too early, or a limit that is lower now
	}
	w.slots = n
	told = s.offer(all, now, w)
	return w.told != 0, told
}

// place returns the place of a member among those that wait: the last one, if it has none yet.
func (x *slots) place(member limiter.StoreID, priority limiter.Priority, now int64) *waiter {
	i := x.waiterOf(member, priority)
	if i < 0 {
		if n := x.waiting(priority); n >= waiterMost {
			x.displace(priority, n-1-lot(now))
		}
		x.waiters = append(x.waiters, waiter{member: member, priority: priority})
		i = len(x.waiters) - 1
	}
	return &x.waiters[i]
}

// waiting returns how many members of a priority wait.
func (x *slots) waiting(priority limiter.Priority) (n int) {
	for i := range x.waiters {
		if x.waiters[i].priority == priority {
			n++
		}
	}
	return n
}

// displace takes its place from the nth member of a priority that waits.
func (x *slots) displace(priority limiter.Priority, n int) {
	x.waiters = keep(x.waiters, func(w waiter) bool {
		if w.priority != priority {
			return true
		}
		n--
		return n != -1
	})
}

// lot draws which place is taken from a member where all are taken, counted from the last one. The
// microseconds of a server's clock are as good as random. Only some of the last places are drawn,
// so that most members of the order come to their turn.
func lot(now int64) int { return int(now % lotOf) }

// keepFrom keeps n slots for a member from the time at on, when the units that it lacks will be
// there. Until then others may have them.
func (x *slots) keepFrom(at int64, member limiter.StoreID, priority limiter.Priority, n, now int64) {
	w := x.place(member, priority, now)
	w.slots, w.told, w.until = n, at, at+keptFor
}

// losePlace ends a member's place among those that wait.
func (x *slots) losePlace(member limiter.StoreID, priority limiter.Priority) {
	x.waiters = keep(x.waiters, func(w waiter) bool { return w.member != member || w.priority != priority })
}

func (x *slots) waiterOf(member limiter.StoreID, priority limiter.Priority) int {
	for i := range x.waiters {
		if w := &x.waiters[i]; w.member == member && w.priority == priority {
			return i
		}
	}
	return -1
}

// offer marks the waiters whose turn it is as told, and returns their members without self.
func (s *state) offer(all, now int64, self *waiter) (told []limiter.StoreID) {
	free, credit := all-s.used(), s.credit
	for i := range s.waiters {
		if w := &s.waiters[i]; w.told != 0 {
			if w.told <= now {
				free -= min(w.slots, all)
			}
			if w.priority == limiter.Backfill {
				credit -= owed(w.slots)
			}
		}
	}
	for {
		w := s.next(credit)
		if w == nil || min(w.slots, all) > free {
			return told
		}
		w.told = now
		free -= min(w.slots, all)
		if w.priority == limiter.Backfill {
			credit -= owed(w.slots)
		}
		if w != self {
			told = append(told, w.member)
		}
	}
}

// next returns the waiter to be told next: the first interactive one, or the first of backfill
// if that is owed its share.
func (x *slots) next(credit int64) *waiter {
	var first [2]*waiter
	for i := range x.waiters {
		if w := &x.waiters[i]; w.told == 0 {
			class := 0
			if w.priority == limiter.Backfill {
				class = 1
			}
			if first[class] == nil {
				first[class] = w
			}
		}
	}
	if back := first[1]; back != nil && (first[0] == nil || credit >= owed(back.slots)) {
		return back
	}
	return first[0]
}
