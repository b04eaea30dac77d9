package httpattempt

import (
	"net/http"
	"strings"
)

// Authority returns a request's host in lower case, with the port if the URL has one.
func Authority(req *http.Request) string {
	h := req.URL.Host
	for i := range len(h) {
		if c := h[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(h)
		}
	}
	return h
}
