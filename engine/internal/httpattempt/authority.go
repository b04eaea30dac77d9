package httpattempt

import (
	"net/http"
	"strings"
)

// Authority is a request's host, with the port where it names one, in lower case.
func Authority(req *http.Request) string {
	h := req.URL.Host
	for i := range len(h) {
		if c := h[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(h)
		}
	}
	return h
}
