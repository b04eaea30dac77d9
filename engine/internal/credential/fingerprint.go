package credential

import (
	"hash/maphash"
	"strings"
)

// Fingerprint is a hash of a credential, enough to tell one from another. The zero value
// stands for an unknown credential.
type Fingerprint struct {
	known bool
	hash  uint64
}

// FingerprintOf returns the fingerprint of an Authorization header, or of the token alone.
// The scheme before the token does not count.
func FingerprintOf(authorization string) Fingerprint {
	if authorization == "" {
		return Fingerprint{}
	}
	if _, token, ok := strings.Cut(authorization, " "); ok {
		authorization = strings.TrimLeft(token, " ")
	}
	return Fingerprint{true, maphash.String(seed, authorization)}
}

// Known reports whether f is that of a known credential.
func (f Fingerprint) Known() bool { return f.known }
