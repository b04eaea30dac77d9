package debug

// lately is a map that remembers what was used lately: at least most keys, and at most twice as
// many. The owner locks it.
type lately[K comparable, V any] struct {
	most       int
	young, old map[K]V
}

// get finds a value, and counts it as used.
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

// peek finds a value, and does not count it as used.
func (l *lately[K, V]) peek(key K) (v V, ok bool) {
	if v, ok = l.young[key]; !ok {
		v, ok = l.old[key]
	}
	return v, ok
}
