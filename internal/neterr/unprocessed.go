package neterr

import (
	"net/url"
	"strings"

	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/rules"
)

// unprocessedWords are texts of net/http's errors which prove that the server never looked
// at a request although the request had a connection. The types of these errors are not
// exported, so they are recognised by their texts in Go 1.26 (net/http/transport.go and
// h2_bundle.go) and in golang.org/x/net/http2. TestUnprocessed provokes each. The following
// are left out, since after them the server may have carried the request out:
//
//   - "stream error: …; PROTOCOL_ERROR; received from peer", although net/http
//     repeats the request after it;
//   - "net/http: HTTP/1.x transport connection broken: …" and the errors of a read
//     or a write: if nothing was written, net/http itself repeats a request that has
//     a GetBody, on another connection;
//   - "http2: server sent GOAWAY and closed the connection; …", which is about
//     streams that the server had accepted.
var unprocessedWords = map[string]bool{
	// The connection was no longer good when the request got it.
	"http2: client conn not usable":               true,
	"http2: client conn could not be established": true,
	// The same as "not usable", for a request whose body cannot be read again.
	"net/http: cannot rewind body after connection loss": true,
	// The server had closed an idle connection before the request was written to it.
	// If it closes one later, the error has another text.
	"http: server closed idle connection": true,
	// GOAWAY whose last stream is below this one (RFC 9113, section 6.8).
	"http2: Transport received Server's graceful shutdown GOAWAY": true,
}

const (
	// RFC 9113, section 8.7: the stream was refused before any processing.
	streamErrorWords = "stream error: stream ID "
	refusedWords     = "; REFUSED_STREAM; received from peer"
	// GOAWAY with an error code before the first stream of a connection.
	goAwayWords = "http2: Transport received GOAWAY from server ErrCode:"
	// A request that net/http would have repeated if it had a GetBody.
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

// refused reports whether s is the text of a refused stream. RFC 9113 allows no such
// refusal after the headers of a response, so it is proof only if the error is known to
// have come instead of a response.
func refused(s string) bool {
	id, ok := strings.CutPrefix(s, streamErrorWords)
	if !ok {
		return false
	}
	id, ok = strings.CutSuffix(id, refusedWords)
	return ok && id != "" && strings.Trim(id, "0123456789") == ""
}

// Unprocessed reports whether an error of an [http.RoundTripper] proves that the server
// never looked at the request, so that any request can be repeated. The proof may be
// wrapped in other errors, but not joined with others, and the text of those around it
// must not speak of a lost request.
//
// Unprocessed is false for a request that never had a connection; [Of] sets Sent to
// false for it.
func Unprocessed(err error) (ok bool) {
	defer func() {
		if recover() != nil { // a method of a foreign error may panic
			ok = false
		}
	}()
	t, whole := errtree.Grow(err)
	if !whole || err == nil {
		return false
	}
	at := &t
	for len(at.Kids) == 1 && !at.Joined {
		if tellsMore(at) {
			return false
		}
		at = &at.Kids[0]
	}
	return len(at.Kids) == 0 && unprocessed(at.Err.Error())
}

// unprocessedKind returns the kind of an error that is proof by its text, else "". A
// closed idle connection gets its kind elsewhere, by phrases.
func unprocessedKind(err error) string {
	if s := err.Error(); unprocessed(s) && s != "http: server closed idle connection" {
		return rules.NetworkReset
	}
	return ""
}

// saysUnprocessed reports whether err proves that the server never looked at the request.
// Only in a *url.Error, which http.Client returns instead of a response, a refused stream
// is such a proof.
func saysUnprocessed(err error) bool {
	if e, ok := err.(*url.Error); ok {
		return Unprocessed(e.Err)
	}
	s := err.Error()
	return unprocessed(s) && !refused(s)
}
