package enginetest

import "strconv"

// hash mixes a seed and strings into 64 well-spread bits: FNV-1a with a
// separator after each part, then the finalizer of splitmix64.
func hash(seed uint64, parts ...string) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for range 8 {
		h = (h ^ seed&0xff) * prime
		seed >>= 8
	}
	for _, p := range parts {
		for i := range len(p) {
			h = (h ^ uint64(p[i])) * prime
		}
		h = (h ^ 0xff) * prime
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// chance returns a number in [0,1) that depends on its arguments alone.
func chance(seed uint64, parts ...string) float64 {
	return float64(hash(seed, parts...)>>11) / (1 << 53)
}

// hexID returns an identifier of 16 hexadecimal digits that depends on its arguments alone.
func hexID(seed uint64, parts ...string) string {
	s := strconv.FormatUint(hash(seed, parts...), 16)
	for len(s) < 16 {
		s = "0" + s
	}
	return s
}
