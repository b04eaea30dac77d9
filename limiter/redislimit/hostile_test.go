package redislimit

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
)

// Whatever bytes stand where a value should be: they let no more calls pass at once than there are
// slots, and what cannot be read is an error about that value, which is no outage of the store.
func TestHostileValues(t *testing.T) {
	const slots = 4
	server := redistest.Start(t, "redis-server")
	s := open(t, server.Addr, Options{})
	client := connect(t, server.Addr)
	take := func(n byte) *limiter.StoreTake {
		take := unit(s, n, limiter.StoreSlots, slots)
		take.Member = limiter.StoreID{n}
		take.Parts[0].Uses = append(take.Parts[0].Uses,
			limiter.StoreUse{Limit: limiter.StoreLimit{Name: "bucket", Kind: limiter.StoreBucket, Units: 10, Time: time.Hour}, Cost: 1},
			limiter.StoreUse{Limit: limiter.StoreLimit{Name: "log", Kind: limiter.StoreLog, Units: 10, Time: time.Hour}, Cost: 1})
		return take
	}
	name := s.name(&take(0).Parts[0].Key)
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	kinds := []struct {
		name string
		of   func(good []byte) []byte
	}{
		{"noise", func([]byte) []byte { return noise(rnd.IntN(300)) }},
		{"noise of the right format", func([]byte) []byte { return append([]byte{1, byte(rnd.IntN(4))}, noise(rnd.IntN(300))...) }},
		{"bytes changed", func(good []byte) []byte {
			for range 1 + rnd.IntN(3) {
				good[1+rnd.IntN(len(good)-1)] = byte(rnd.Uint32())
			}
			return good
		}},
		{"cut off", func(good []byte) []byte { return good[:rnd.IntN(len(good))] }},
		{"cut off, and zeros", func(good []byte) []byte { return append(good[:rnd.IntN(len(good))], make([]byte, rnd.IntN(50))...) }},
	}
	for round := range 300 {
		kind := kinds[round%len(kinds)]
		client.FlushDB(t.Context())
		long(t, s, server.Addr, time.Now())
		for n := range byte(3) {
			if a, err := s.Take(t.Context(), take(200+n)); err != nil || !a.Granted {
				t.Fatalf("got %+v, %v, want granted", a, err)
			}
		}
		good, err := client.Get(t.Context(), name).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		value := kind.of(good)
		client.Set(t.Context(), name, value, 0)
		granted := 0
		fails := func(what string, err error) {
			if err != nil && !errors.Is(err, limiter.ErrStoreValue) {
				t.Errorf("%s %q: %s: got %v, want an error that wraps ErrStoreValue", kind.name, value, what, err)
			}
		}
		for n := range byte(12) {
			a, err := s.Take(t.Context(), take(n))
			if a.Granted {
				granted++
			}
			fails("Take", err)
		}
		if granted > slots {
			t.Errorf("%s %q: got %d slots granted, want %d at most", kind.name, value, granted, slots)
		}
		last := take(100)
		use := last.Parts[0].Uses[round%3].Limit
		_, err = s.Change(t.Context(), &limiter.StoreChange{Kind: limiter.StoreChangeKind(round % 4), Key: last.Parts[0].Key, Limit: use, Hold: time.Second, Steps: []time.Duration{time.Second}})
		fails("Change", err)
		_, err = s.Renew(t.Context(), &limiter.StoreRenewal{Leases: []limiter.StoreLease{{Key: last.Parts[0].Key, Limit: last.Parts[0].Uses[0].Limit, ID: last.ID, Slots: 1, Version: 9}}})
		fails("Renew", err)
		fails("End", s.End(t.Context(), []limiter.StoreEnd{{ID: take(1).ID, Parts: last.Parts, Ending: limiter.StoreEnding(round % 5)}}))
		if t.Failed() {
			return
		}
	}
}
