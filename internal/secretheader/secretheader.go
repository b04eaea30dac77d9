// Package secretheader knows the headers whose values are not shown.
package secretheader

import "strings"

// words are parts of the names of headers that carry credentials.
var words = [...]string{"auth", "cookie", "token", "secret", "key", "password", "credential", "session", "signature"}

// Is reports whether a header of that name, in any case, may carry what nobody
// else must read. A challenge is none: it is often the very reason of a 401.
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
