package neterr

import (
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// maxErrorText is how many bytes of an error's text are read.
const maxErrorText = 4 << 10

// Text reads the kind of a network failure from the text of an error, for logs and
// test cases that hold only the text. Kind is [rules.NetworkOther] for an unknown text, and
// "" for an empty one and for an error about the request itself.
//
// Sent is false if the text proves that no request was sent: the text, or the part after
// the method and the URL of a *url.Error, begins like an error that comes before any request
// ("dial tcp 192.0.2.1:443: connect: connection refused") or as people call such an error
// ("connection refused"), or it is one of the words dns and connect. The same words further
// inside a text prove nothing, since they may be those of one of several errors, or of a
// server.
func Text(s string) Failure {
	s = strings.TrimSpace(s)
	if s == "" {
		return Failure{Sent: true}
	}
	// The text may be just the name of a kind.
	switch k := strings.ToLower(s); k {
	case rules.NetworkDNS, rules.NetworkConnect:
		return Failure{Kind: k}
	case rules.NetworkTimeout, rules.NetworkReset, rules.NetworkEOF, rules.NetworkCanceled, rules.NetworkTLS, rules.NetworkOther:
		return Failure{Kind: k, Sent: true}
	}
	if aboutRequest(s) {
		return Failure{Sent: true}
	}
	return Failure{Kind: textKind(s), Sent: !beforeRequest(s)}
}

// textKind returns the kind that the text of a network error says.
func textKind(s string) string {
	if kind := phraseKind(s); kind != "" {
		return kind
	}
	if len(s) > maxErrorText {
		s = s[:maxErrorText]
	}
	s = strings.ToLower(s)
	for _, w := range looseWords {
		if strings.Contains(s, w.text) {
			return w.kind
		}
	}
	if strings.Contains(s, "dial ") {
		return rules.NetworkConnect
	}
	return rules.NetworkOther
}

// starts are the beginnings, in lower case, of the texts of errors that occur before a
// request is sent.
var starts = [...]string{
	"dial tcp", "dial udp", "dial unix", "dial: ", "proxyconnect tcp", "socks connect tcp",
	"connect: ", "connect econn", // the second of Node.js
	"lookup ", "getaddrinfo ",
	// as people write who note an error down
	"connection refused", "econnrefused", "no route to host", "network is unreachable", "host is unreachable",
	"could not connect", "couldn't connect", "failed to connect", "unable to connect",
	"no such host", "name or service not known", "temporary failure in name resolution", "nodename nor servname provided",
	"enotfound", "eai_again", "dns ", "unknown host", "could not resolve", "couldn't resolve", "failed to resolve", "name resolution",
	"tls: failed to verify certificate: ", "tls: first record does not look like a tls handshake",
	"net/http: tls handshake timeout",
}

// beforeRequest reports whether s is the text of a single error, and of one that occurs
// before a request is sent.
func beforeRequest(s string) bool {
	if len(s) > maxErrorText || strings.ContainsAny(s, "\n;") {
		return false
	}
	s = withoutURL(s)
	s = strings.ToLower(s)
	for _, start := range starts {
		if strings.HasPrefix(s, start) {
			for _, p := range phrases {
				if (p.kind == rules.NetworkReset || p.kind == rules.NetworkEOF) && strings.Contains(s, p.text) {
					return false
				}
			}
			// Client.Timeout may have ended a later step than the text begins with.
			return !hasWord(s, "eof") && !strings.Contains(s, "client.timeout")
		}
	}
	return false
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

type phrase struct {
	text string
	kind string
}

// phrases occur, here in lower case, in the errors of Go's network packages, of C
// libraries and of Windows. The first one that occurs in a text counts, so the more
// specific ones come first.
var phrases = [...]phrase{
	{"context canceled", rules.NetworkCanceled},
	{"operation was canceled", rules.NetworkCanceled},
	{"tls handshake timeout", rules.NetworkTimeout},
	{"client.timeout", rules.NetworkTimeout}, // before "request canceled", which http.Client writes into the same text
	{"net/http: request canceled", rules.NetworkCanceled},
	{"x509: ", rules.NetworkTLS},
	{"tls: ", rules.NetworkTLS},
	{"tls handshake", rules.NetworkTLS},
	{"certificate verify failed", rules.NetworkTLS},
	{"certificate has expired", rules.NetworkTLS},
	{"server gave http response to https client", rules.NetworkTLS},
	{"sslv3 alert", rules.NetworkTLS},
	{"ssl routines", rules.NetworkTLS},
	{"no such host", rules.NetworkDNS},
	{"server misbehaving", rules.NetworkDNS},
	{"name or service not known", rules.NetworkDNS},
	{"temporary failure in name resolution", rules.NetworkDNS},
	{"nodename nor servname provided", rules.NetworkDNS},
	{"getaddrinfo", rules.NetworkDNS},
	{"enotfound", rules.NetworkDNS},
	{"eai_again", rules.NetworkDNS},
	{": lookup ", rules.NetworkDNS},
	{"connection refused", rules.NetworkConnect},
	{"actively refused", rules.NetworkConnect},
	{"econnrefused", rules.NetworkConnect},
	{"proxyconnect", rules.NetworkConnect},
	{"context deadline exceeded", rules.NetworkTimeout},
	{"i/o timeout", rules.NetworkTimeout},
	{"connection timed out", rules.NetworkTimeout},
	{"operation timed out", rules.NetworkTimeout},
	{"timeout awaiting response headers", rules.NetworkTimeout},
	{"etimedout", rules.NetworkTimeout},
	{"connection reset by peer", rules.NetworkReset},
	{"forcibly closed", rules.NetworkReset},
	{"econnreset", rules.NetworkReset},
	{"broken pipe", rules.NetworkReset},
	{"epipe", rules.NetworkReset},
	{"software caused connection abort", rules.NetworkReset},
	{"an established connection was aborted", rules.NetworkReset},
	{"use of closed network connection", rules.NetworkReset},
	{"client connection lost", rules.NetworkReset},
	{"http2: client connection force closed", rules.NetworkReset},
	{"server sent goaway", rules.NetworkReset},
	{"stream error: stream id", rules.NetworkReset},
	{"server closed idle connection", rules.NetworkEOF},
	{"transport connection broken", rules.NetworkEOF},
	{"no route to host", rules.NetworkConnect},
	{"network is unreachable", rules.NetworkConnect},
	{"host is unreachable", rules.NetworkConnect},
	{"cannot assign requested address", rules.NetworkConnect},
	{"connection closed during command execution", rules.NetworkEOF}, // go-imap v1
}

// looseWords count only if the text is known to be that of a network error.
var looseWords = [...]phrase{
	{"canceled", rules.NetworkCanceled},
	{"cancelled", rules.NetworkCanceled},
	{"certificate", rules.NetworkTLS},
	{"handshake", rules.NetworkTLS},
	{"tls", rules.NetworkTLS},
	{"ssl", rules.NetworkTLS},
	{"x509", rules.NetworkTLS},
	{"lookup ", rules.NetworkDNS},
	{"dns", rules.NetworkDNS},
	{"resolve", rules.NetworkDNS},
	{"timeout", rules.NetworkTimeout},
	{"timed out", rules.NetworkTimeout},
	{"deadline exceeded", rules.NetworkTimeout},
	{"refused", rules.NetworkConnect},
	{"unreachable", rules.NetworkConnect},
	{"reset", rules.NetworkReset},
	{"eof", rules.NetworkEOF},
	{"closed", rules.NetworkEOF},
	{"hang up", rules.NetworkEOF},
	{"disconnect", rules.NetworkEOF},
	{"connection lost", rules.NetworkReset},
	{"aborted", rules.NetworkReset},
}

// phraseKind returns the kind of the first of phrases that occurs in s, else "".
func phraseKind(s string) (kind string) {
	if len(s) > maxErrorText {
		s = s[:maxErrorText]
	}
	s = strings.ToLower(s)
	if strings.HasPrefix(s, "lookup ") {
		return rules.NetworkDNS
	}
	for i := range phrases {
		if strings.Contains(s, phrases[i].text) {
			return phrases[i].kind
		}
	}
	return ""
}

// tellsOfLoss reports whether a text speaks of a request that may have been sent, or of
// more than one request.
func tellsOfLoss(s string) bool {
	s = strings.ToLower(s)
	for _, p := range phrases {
		switch p.kind {
		case rules.NetworkReset, rules.NetworkEOF, rules.NetworkTimeout, rules.NetworkCanceled:
			if strings.Contains(s, p.text) {
				return true
			}
		}
	}
	for _, t := range [...]string{
		"remote error: ", "local error: ", "bad record mac",
		"giving up after", "attempt(s)", "attempts fail", "number of attempts", // of clients that repeat by themselves
	} {
		if strings.Contains(s, t) {
			return true
		}
	}
	return hasWord(s, "eof")
}

// hasWord reports whether word, in lower case letters, occurs in s with no letter next
// to it.
func hasWord(s, word string) bool {
	for i := 0; ; i += len(word) {
		j := strings.Index(s[i:], word)
		if j < 0 {
			return false
		}
		i += j
		if (i == 0 || !strings.Contains(letters, s[i-1:i])) &&
			(i+len(word) == len(s) || !strings.Contains(letters, s[i+len(word):i+len(word)+1])) {
			return true
		}
	}
}
