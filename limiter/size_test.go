package limiter

import (
	"testing"
	"unsafe"
)

// What a key and a lock take in memory is chosen with care: a field more can
// cost a cache line a call, or tens of megabytes at a million keys.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"shard", unsafe.Sizeof(shard{}), 128},
		{"records in a shard", unsafe.Offsetof(shard{}.records), 64},
		{"entry", unsafe.Sizeof(entry{}), 128},
		{"entry with two buckets", unsafe.Sizeof(entry2{}), 288},
		{"taken", unsafe.Sizeof(taken{}), 32},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && c.got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}
