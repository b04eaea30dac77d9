package classify

import (
	"net/http"
	"sort"
)

// canonical returns h with canonical names; it returns h itself if all of its names
// are canonical already.
func canonical(h map[string][]string) map[string][]string {
	for k := range h {
		if !isCanonical(k) && http.CanonicalHeaderKey(k) != k {
			return canonicalCopy(h)
		}
	}
	return h
}

// isCanonical reports whether a name is certainly canonical: it has only letters,
// digits and hyphens, and exactly the letters at its start and after a hyphen are
// capitals. A false answer is to be checked with http.CanonicalHeaderKey.
func isCanonical(name string) bool {
	first := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '-':
			first = true
			continue
		case 'a' <= c && c <= 'z':
			if first {
				return false
			}
		case 'A' <= c && c <= 'Z':
			if !first {
				return false
			}
		case c < '0' || c > '9':
			return false
		}
		first = false
	}
	return true
}

func canonicalCopy(h map[string][]string) map[string][]string {
	names := make([]string, 0, len(h))
	for k := range h {
		names = append(names, k)
	}
	sort.Strings(names) // so that the values of names that differ only in case are always in the same order
	c := make(map[string][]string, len(h))
	for _, k := range names {
		ck := http.CanonicalHeaderKey(k)
		c[ck] = append(c[ck][:len(c[ck]):len(c[ck])], h[k]...)
	}
	return c
}

// get returns the first value of a header, or "". name must be canonical.
func get(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}
