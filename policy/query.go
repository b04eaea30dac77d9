package policy

import (
	"net/url"
	"strings"
)

// queryMatches reports whether each named parameter is in the raw query and
// fits its glob. Parameters that need no unescaping are compared in place.
func queryMatches(want map[string]string, raw string) bool {
	for name, glob := range want {
		if !paramMatches(raw, name, glob) {
			return false
		}
	}
	return true
}

func paramMatches(raw, name, glob string) bool {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		k, v, _ := strings.Cut(pair, "=")
		if unescaped(k) == name && Glob(glob, unescaped(v)) {
			return true
		}
	}
	return false
}

func unescaped(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
