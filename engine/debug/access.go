package debug

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// allowed reports whether a request may see the page.
func (h *handler) allowed(r *http.Request) bool {
	if h.o.Authorize != nil {
		return h.o.Authorize(r)
	}
	return fromHere(r)
}

// proxyHeaders are headers that proxies set. The address of a proxy says nothing about the
// client.
var proxyHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// fromHere reports whether a request comes from this machine and was meant for it. It was not
// if its Host is a name that another site points to a loopback address (DNS rebinding).
func fromHere(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, name := range proxyHeaders {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return isLoopback(r.Host)
}

// isLoopback reports whether a Host header means this machine.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if host = strings.TrimSuffix(strings.ToLower(host), "."); host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
