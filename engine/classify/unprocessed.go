package classify

import (
	"net/url"
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// The errors of net/http that prove that the server never looked at a request which had
// a connection. Their types are not exported, so they are told by their words: those of
// Go 1.26 (net/http/transport.go and h2_bundle.go) and of golang.org/x/net/http2.
// TestUnprocessed provokes each. These are not among them, since the server may have done
// what was asked:
//
//   - "stream error: …; PROTOCOL_ERROR; received from peer", after which net/http
//     repeats the request all the same;
//   - "net/http: HTTP/1.x transport connection broken: …" and what a read or a
//     write has failed with: where nothing was written, net/http repeats what has
//     a GetBody itself, and says so by asking for another connection;
//   - "http2: server sent GOAWAY and closed the connection; …", which is about
//     streams that the server did accept.
var unprocessedWords = map[string]bool{
	// The connection was no longer good when the request got it.
	"http2: client conn not usable":               true,
	"http2: client conn could not be established": true,
	// As "not usable", of a request whose body cannot be had again.
	"net/http: cannot rewind body after connection loss": true,
	// The server had closed a kept connection before the request was written to
	// it; an end that comes later has other words.
	"http: server closed idle connection": true,
	// GOAWAY whose last stream is below this one (RFC 9113, section 6.8).
	"http2: Transport received Server's graceful shutdown GOAWAY": true,
}

const (
	// RFC 9113, section 8.7: refused prior to any processing.
	streamErrorWords = "stream error: stream ID "
	refusedWords     = "; REFUSED_STREAM; received from peer"
	// GOAWAY with an error code before the first stream of a connection.
	goAwayWords = "http2: Transport received GOAWAY from server ErrCode:"
	// What net/http would have repeated, had the body had a GetBody.
	cannotRetryWords = "http2: Transport: cannot retry err ["
	cannotRetryEnd   = "] after Request.Body was written; define Request.GetBody to avoid this error"
)

// unprocessed reports whether s is the whole text of one of those errors.
func unprocessed(s string) bool {
	if cause, ok := strings.CutPrefix(s, cannotRetryWords); ok {
		cause, ok = strings.CutSuffix(cause, cannotRetryEnd)
		return ok && unprocessed(cause)
	}
	if code, ok := strings.CutPrefix(s, goAwayWords); ok {
		return code != "" && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == ""
	}
	return unprocessedWords[s] || refused(s)
}

// refused reports whether s is the text of a refused stream. After the response's
// headers it breaks what RFC 9113 promises, so it counts only where it is known to
// have come instead of a response.
func refused(s string) bool {
	id, ok := strings.CutPrefix(s, streamErrorWords)
	if !ok {
		return false
	}
	id, ok = strings.CutSuffix(id, refusedWords)
	return ok && id != "" && strings.Trim(id, "0123456789") == ""
}

// Unprocessed reports whether an error of a RoundTripper proves that the server never
// looked at the request, so that any request can be repeated after it. Other errors may
// wrap it, but not join it with others, nor tell of a loss themselves.
//
// It is false for a request that never had a connection; Error tells that.
func Unprocessed(err error) (ok bool) {
	defer func() {
		if recover() != nil { // the methods of foreign errors
			ok = false
		}
	}()
	t, whole := grow(err)
	if !whole || err == nil {
		return false
	}
	at := &t
	for len(at.kids) == 1 && !at.joined {
		if at.tellsMore() {
			return false
		}
		at = &at.kids[0]
	}
	return len(at.kids) == 0 && unprocessed(at.err.Error())
}

// unprocessedKind is what networkKind says of those errors.
func unprocessedKind(err error) string {
	if s := err.Error(); unprocessed(s) && s != "http: server closed idle connection" {
		return rules.NetworkReset
	}
	return ""
}

// saysUnprocessed reports whether err itself says that the server never looked at
// the request. A *url.Error is what http.Client returns instead of a response.
func saysUnprocessed(err error) bool {
	if e, ok := err.(*url.Error); ok {
		return Unprocessed(e.Err)
	}
	s := err.Error()
	return unprocessed(s) && !refused(s)
}
