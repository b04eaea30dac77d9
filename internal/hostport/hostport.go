// Package hostport takes the authority of a URL, a host and perhaps a port, apart.
package hostport

import "strings"

// Host is an authority without its port, if it has one. The address of IPv6 keeps
// its brackets; one that stands alone, without any, is taken as it is.
func Host(authority string) string {
	if strings.IndexByte(authority, ':') < 0 { // most have none, and this way round is faster
		return authority
	}
	i := strings.LastIndexByte(authority, ':')
	if strings.IndexByte(authority[i:], ']') >= 0 || authority[0] != '[' && strings.IndexByte(authority, ':') < i {
		return authority
	}
	return authority[:i]
}
