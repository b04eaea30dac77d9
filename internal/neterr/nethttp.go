package neterr

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/nethttp"
	"github.com/recourse-go/recourse/rules"
)

// Most errors of net/http's client have no exported types, so they are recognised by
// their texts. After any of them the request may have been sent, except those about the
// request itself (aboutRequest) and those that Unprocessed knows.

// netHTTPKind returns the kind of the failure if s is the whole text of an error of
// net/http, else "".
func netHTTPKind(s string) string {
	_, known := nethttp.Known(s)
	for _, start := range [...]string{"http: ", "net/http: ", "http2: "} {
		known = known || strings.HasPrefix(s, start)
	}
	switch {
	case !known:
		return ""
	case strings.HasPrefix(s, "connection error: "): // HTTP/2, RFC 9113, section 5.4.1
		return rules.NetworkReset
	}
	return rules.NetworkOther
}

// requestTexts are the beginnings of net/http's errors about the request itself, or about
// where a redirect led it. They are no failures of the network, and a repeat would fail
// in the same way. Only the beginning of a text is compared, since text that a server
// wrote comes later.
var requestTexts = [...]string{
	"unsupported protocol scheme", "http2: unsupported scheme", "net/http: invalid scheme ",
	"http: no Host in request URL", "http: nil Request.URL", "http: nil Request.Header", "net/http: nil Context",
	"http: no Client.Transport or DefaultTransport", "http: Request.RequestURI can't be set in client requests",
	"http: Request.Write on Request with no Host or URL set", "net/http: can't write control character in Request.URL",
	"net/http: invalid header ", "net/http: invalid trailer ", "http: invalid header ", "http: invalid trailer ",
	"net/http: invalid method ", "http: invalid method ", "invalid method ", "http: invalid Host header", "invalid Trailer key ",
	// from net/http/internal/httpcommon, for HTTP/2
	"http2: Request.URL is nil", "http2: invalid Host header", "http2: invalid :protocol header in non-CONNECT request",
	"http2: invalid request :path ", "http2: invalid HTTP header ", "http2: invalid HTTP trailer ", "http2: invalid Trailer key ",
	"http2: invalid Upgrade request header", "http2: invalid Transfer-Encoding request header", "http2: invalid Connection request header",
	"http2: request header list larger than peer's advertised limit",
	// the body has another length than the request says
	"http: Request.ContentLength=", "http: ContentLength=", "http2: request body larger than specified content length",
	// from net/url
	"missing protocol scheme", "invalid URL escape ", "net/url: invalid control character in URL", "first path segment in URL cannot contain colon",
}

// aboutRequest reports whether s is the text of an error about the request itself, as it
// is or as net/http and net/url wrap it.
func aboutRequest(s string) bool {
	if len(s) > maxErrorText {
		s = s[:maxErrorText]
	}
	s = withoutURL(s)
	for _, wrap := range [...]string{"write error: ", "net/http: HTTP/1.x transport connection broken: "} {
		s = strings.TrimPrefix(s, wrap)
	}
	for _, start := range requestTexts {
		if strings.HasPrefix(s, start) {
			return true
		}
	}
	return strings.HasPrefix(s, "stopped after ") && strings.HasSuffix(s, " redirects")
}

// withoutURL returns s without the method and the URL with which the text of a
// *url.Error begins. Other texts stay as they are.
func withoutURL(s string) string {
	for {
		// Get "https://example.com/": ...
		method, rest, ok := strings.Cut(s, " ")
		if !ok || method == "" || strings.Trim(method, letters) != "" {
			return s
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil || !strings.HasPrefix(rest[len(quoted):], ": ") {
			return s
		}
		s = rest[len(quoted)+len(": "):]
	}
}

// parses reports whether err is that of parsing a malformed URL.
func parses(err error) bool {
	e, ok := err.(*url.Error)
	return ok && e.Op == "parse"
}
