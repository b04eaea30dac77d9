// Package secretheader knows which headers have values that must not be shown.
package secretheader

import "strings"

// words occur in the names of headers that carry credentials.
var words = [...]string{"auth", "cookie", "token", "secret", "key", "password", "credential", "session", "signature"}

// Is reports whether a header of that name, in any case, may carry a secret. A challenge
// (WWW-Authenticate) is not a secret, and often says why a server answered 401.
func Is(name string) bool {
	name = strings.ToLower(name)
	if name == "www-authenticate" || name == "proxy-authenticate" {
		return false
	}
	for _, word := range words {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
