package limiter

import (
	"encoding/binary"
	"testing"
)

// TestMostEnds holds that of ends which nobody can be told the oldest are dropped, and that
// they are counted.
func TestMostEnds(t *testing.T) {
	m := NewMember(nil, MemberOptions{})
	number := func(e StoreEnd) uint64 { return binary.BigEndian.Uint64(e.ID[8:]) }
	const queued = 2*maxEnds + 5
	for i := range uint64(queued) {
		var e StoreEnd
		binary.BigEndian.PutUint64(e.ID[8:], i)
		m.end(e, 0)
	}
	dropped := m.State().Dropped
	if n := len(m.ends); n > maxEnds || n < maxEnds/2 || int64(n)+dropped != queued {
		t.Fatalf("of %d ends %d are queued and %d dropped, want at most %d queued", queued, n, dropped, maxEnds)
	}
	first, last := number(m.ends[0].end), number(m.ends[len(m.ends)-1].end)
	if first != uint64(dropped) || last != queued-1 {
		t.Errorf("ends %d to %d are queued, want %d to %d", first, last, dropped, queued-1)
	}
}
