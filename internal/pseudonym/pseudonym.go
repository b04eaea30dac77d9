// Package pseudonym makes pseudonyms of the names of accounts and of people's addresses. The
// debug page and the files of a recorder have the same ones if they have the same key.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Mark begins a pseudonym within a text.
const Mark = "u-"

// Of returns the pseudonym of s: 16 hexadecimal digits, the beginning of its HMAC-SHA-256.
func Of(key []byte, s string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(s))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
