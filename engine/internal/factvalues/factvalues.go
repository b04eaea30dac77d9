// Package factvalues bounds how many values the facts of an account may have in the keys of
// limits, since callers may put any text into a path, and each key is kept in memory.
package factvalues

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// Max is how many values of an account have keys of their own.
	Max = 10_000
	// For is after which time a value that is not seen is forgotten, or up to twice of it.
	For = 24 * time.Hour
)

// Values is what has been seen of every account. The zero value is ready to use, by any number
// of goroutines.
type Values struct {
	mu    sync.Mutex
	seed  maphash.Seed
	began time.Time
	// The values that were seen since began, and those that were seen in as long before that.
	recent, older map[string]*admitted
}

// admitted are the values of one account.
type admitted struct {
	values map[uint64]struct{}
	told   bool // that there are too many
}

// Admit reports whether a value has a key of its own. full says, once in a while, that
// an account has too many.
func (v *Values) Admit(account, name, value string, now time.Time) (own, full bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget(now)
	a, old := v.recent[account], v.older[account]
	if a == nil {
		a = &admitted{values: map[uint64]struct{}{}}
		v.recent[account] = a
	}
	hash := maphash.Comparable(v.seed, [2]string{name, value})
	if _, known := a.values[hash]; known {
		return true, false
	}
	seen := len(a.values)
	if old != nil {
		if _, known := old.values[hash]; known {
			delete(old.values, hash)
			a.values[hash] = struct{}{}
			return true, false
		}
		seen += len(old.values)
	}
	if seen >= Max {
		full, a.told = !a.told, true
		return false, full
	}
	a.values[hash] = struct{}{}
	return true, false
}

// forget drops the values that were not seen for long enough.
func (v *Values) forget(now time.Time) {
	switch {
	case v.recent == nil:
		v.seed, v.began, v.recent = maphash.MakeSeed(), now, map[string]*admitted{}
	case now.Sub(v.began) >= 2*For:
		v.began, v.older, v.recent = now, nil, map[string]*admitted{}
	case now.Sub(v.began) >= For:
		v.began, v.older, v.recent = now, v.recent, map[string]*admitted{}
	}
}
