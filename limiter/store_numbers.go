package limiter

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"
)

// Processes whose limits have other numbers: each says its own with its renewals, and where they
// differ all go by the lower ones. Numbers of Options.LimitFor are a key's own, and are not said.

// numbered is what a process says of one limit.
type numbered struct {
	name  uint64 // a digest
	kind  StoreKind
	units int64
	time  time.Duration
}

const (
	numberedSize = 8 + 1 + 8 + 8
	mostNumbered = 1 << 10 // limits that are told
)

func (l *Limiter) numberOf(limit string) uint64 {
	h := fnv.New64a()
	for _, s := range []string{l.namespace, "\x00", limit} {
		_, _ = h.Write([]byte(s))
	}
	return h.Sum64()
}

// setLimits says which limits a limiter of the process has. The limiter may be new, or they may.
func (m *Member) setLimits(l *Limiter, cfg *config) {
	var list []numbered
	for _, lim := range cfg.limits {
		if s := lim.stored(nil); !lim.Process && s.Kind != StoreGate {
			list = append(list, numbered{l.numberOf(s.Name), s.Kind, s.Units, s.Time})
		}
	}
	m.mu.Lock()
	m.limits[l.namespace] = list
	m.mu.Unlock()
	kick(m.kickRenew)
}

// tableLocked is what the process says of its limits, and a digest of that and of its other numbers.
func (m *Member) tableLocked() (table []byte, digest [8]byte) {
	var all []numbered
	for _, list := range m.limits {
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b numbered) int { return cmp.Compare(a.name, b.name) })
	all = all[:min(len(all), mostNumbered)]
	for _, n := range all {
		table = binary.LittleEndian.AppendUint64(table, n.name)
		table = append(table, byte(n.kind))
		table = binary.LittleEndian.AppendUint64(table, uint64(n.units))
		table = binary.LittleEndian.AppendUint64(table, uint64(n.time))
	}
	numbers := m.numbers.Load()
	sum := sha256.Sum256(append(numbers[:], table...))
	copy(digest[:], sum[:])
	return table, digest
}

// lowestOf are the lowest numbers of the limits in these tables; nil = there are none.
func lowestOf(tables [][]byte) *map[uint64]numbered {
	if len(tables) == 0 {
		return nil
	}
	lowest := map[uint64]numbered{}
	for _, t := range tables {
		for ; len(t) >= numberedSize; t = t[numberedSize:] {
			n := numbered{
				name: binary.LittleEndian.Uint64(t), kind: StoreKind(t[8]),
				units: int64(binary.LittleEndian.Uint64(t[9:])), time: time.Duration(binary.LittleEndian.Uint64(t[17:])),
			}
			if n.units <= 0 || n.kind != StoreSlots && n.time <= 0 {
				continue
			}
			if old, found := lowest[n.name]; found && old.kind == n.kind {
				n = old.lower(n)
			}
			lowest[n.name] = n
		}
	}
	return &lowest
}

// lower has the fewer units of a and b, and the lower rate.
func (a numbered) lower(b numbered) numbered {
	if a.kind == StoreSlots {
		a.units = min(a.units, b.units)
		return a
	}
	slower := a
	if float64(b.units)/float64(b.time) < float64(a.units)/float64(a.time) {
		slower = b
	}
	a.units = min(a.units, b.units)
	if a.time = slower.time; a.units != slower.units {
		a.time = time.Duration(float64(slower.time) * float64(a.units) / float64(slower.units))
	}
	return a
}

// numbersOf returns m as the store is told of it for a key with the state x.
func (l *Limiter) numbersOf(m *limit, x *coldLimit) StoreLimit {
	s := m.stored(x)
	if !x.hasOwn() {
		s = l.lowered(s)
	}
	return s
}

// hasOwn reports whether Options.LimitFor has given the key numbers of its own.
func (x *coldLimit) hasOwn() bool {
	if x == nil || x.learned == nil {
		return x != nil && x.own != nil
	}
	return x.learned.base != nil
}

// lowered is a limit with the lower of its own numbers and those of other processes.
func (l *Limiter) lowered(s StoreLimit) StoreLimit {
	lowest := l.member.lowest.Load()
	if lowest == nil {
		return s
	}
	n, found := (*lowest)[l.numberOf(s.Name)]
	if !found || n.kind != s.Kind || s.Units <= 0 {
		return s
	}
	n = numbered{0, s.Kind, s.Units, s.Time}.lower(n)
	s.Units, s.Time = n.units, n.time
	return s
}
