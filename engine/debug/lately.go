package debug

// lately is a map of the keys that were used lately: at least the latest `most` keys, and at most
// twice as many. The caller must hold a lock.
type lately[K comparable, V any] struct {
	most       int
	young, old map[K]V
}

// get returns a value, and counts its key as used.
func (l *lately[K, V]) get(key K) (v V, ok bool) {
	if v, ok = l.young[key]; ok {
		return v, true
	}
	if v, ok = l.old[key]; ok {
		l.put(key, v)
	}
	return v, ok
}

// put sets a value.
func (l *lately[K, V]) put(key K, v V) {
	if _, known := l.young[key]; !known && len(l.young) >= l.most {
		l.old, l.young = l.young, nil
	}
	if l.young == nil {
		l.young = map[K]V{}
	}
	l.young[key] = v
}

// peek returns a value, and does not count its key as used.
func (l *lately[K, V]) peek(key K) (v V, ok bool) {
	if v, ok = l.young[key]; !ok {
		v, ok = l.old[key]
	}
	return v, ok
}
