package storecodec

import (
	"encoding/binary"

	"github.com/recourse-go/recourse/limiter"
)

// Fold returns a digest of an id that is half as long. Ids are random, so their digests are
// different too.
func Fold(id limiter.StoreID) uint64 {
	// The odd factor gives different digests also to ids that are not random, as in tests.
	return binary.LittleEndian.Uint64(id[:8]) + binary.LittleEndian.Uint64(id[8:])*0x9E3779B97F4A7C15
}

// Name returns a digest of a limit's name, its 64-bit FNV-1a hash. It need not be secure: names come
// from policies, so nobody chooses two with the same digest on purpose.
func Name(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}
