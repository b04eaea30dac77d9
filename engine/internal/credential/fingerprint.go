package credential

import (
	"hash/maphash"
	"strings"
)

// Fingerprint is what is kept of a credential: enough to tell one from another. The zero
// value is that of one that is not known.
type Fingerprint struct {
	known bool
	hash  uint64
}

// FingerprintOf is that of an Authorization header, or of the token alone: the scheme
// before it does not count.
func FingerprintOf(authorization string) Fingerprint {
	if authorization == "" {
		return Fingerprint{}
	}
	if _, token, ok := strings.Cut(authorization, " "); ok {
		authorization = strings.TrimLeft(token, " ")
	}
	return Fingerprint{true, maphash.String(seed, authorization)}
}

// Known reports whether it is that of a credential.
func (f Fingerprint) Known() bool { return f.known }
