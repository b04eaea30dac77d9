// Package hostport splits the authority of a URL into its host and its port.
package hostport

import "strings"

// Host returns an authority without its port, if it has one. An IPv6 address keeps its
// brackets. An IPv6 address without brackets has no port.
func Host(authority string) string {
	if strings.IndexByte(authority, ':') < 0 { // most have no colon, and IndexByte is faster than LastIndexByte
		return authority
	}
	i := strings.LastIndexByte(authority, ':')
	if strings.IndexByte(authority[i:], ']') >= 0 || authority[0] != '[' && strings.IndexByte(authority, ':') < i {
		return authority
	}
	return authority[:i]
}
