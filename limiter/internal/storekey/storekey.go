// Package storekey names keys in a store of limits, so that nobody can read there whose
// mailboxes they are.
package storekey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"

	"github.com/recourse-go/recourse/limiter"
)

// Keys makes names of keys. With a secret they are HMAC-SHA256, so that who sees the
// store and knows an address cannot tell whether it is there. Without one they are
// SHA-256, which hides an address only from who does not know it. All processes that share
// a store must have the same secret. Keys is safe for concurrent use.
type Keys struct{ digests sync.Pool }

type digest struct {
	hash.Hash
	in  []byte
	sum [sha256.Size]byte
}

// New returns names with that secret; "" = none.
func New(secret string) *Keys {
	k := &Keys{}
	k.digests.New = func() any {
		if secret == "" {
			return &digest{Hash: sha256.New()}
		}
		return &digest{Hash: hmac.New(sha256.New, []byte(secret))}
	}
	return k
}

// Key names the key name of a place.
func (k *Keys) Key(place, name string) limiter.StoreKey {
	d := k.digests.Get().(*digest)
	// The length stands first, so that no place and name read like others.
	d.in = binary.LittleEndian.AppendUint64(d.in[:0], uint64(len(place)))
	d.in = append(d.in, place...)
	var key limiter.StoreKey
	copy(key.Place[:], d.of(d.in))
	d.in = append(d.in, name...)
	d.in = append(d.in, 'n') // a place is not the name "" in it
	copy(key.Name[:], d.of(d.in))
	k.digests.Put(d)
	return key
}

func (d *digest) of(b []byte) []byte {
	d.Reset()
	_, _ = d.Write(b)
	return d.Sum(d.sum[:0])
}
