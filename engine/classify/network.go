package classify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/recourse-go/recourse/rules"
)

// Network tells what went wrong below the protocol: one of the Network…
// constants of package rules, or "" where err is nil or says nothing about
// the network. sent is false only where the request cannot have reached the
// server: the name did not resolve, no connection came about, or the TLS
// handshake failed.
//
// A context that the caller cancelled is [rules.NetworkCanceled]; one whose
// deadline passed is [rules.NetworkTimeout].
func Network(err error) (kind string, sent bool) {
	budget := 1000
	if err == nil || !finite(err, &budget) {
		return "", true
	}
	return network(err)
}

// finite reports whether err wraps no more than a budget of errors. One that
// wraps itself would keep package errors busy for ever.
func finite(err error, budget *int) bool {
	for err != nil {
		if *budget--; *budget < 0 {
			return false
		}
		switch w := err.(type) {
		case interface{ Unwrap() error }:
			err = w.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range w.Unwrap() {
				if !finite(err, budget) {
					return false
				}
			}
			return true
		default:
			return true
		}
	}
	return true
}

func network(err error) (kind string, sent bool) {
	defer func() {
		if recover() != nil { // the methods of foreign errors, nil pointers among them
			kind, sent = "", true
		}
	}()
	op := dialing(err)
	switch {
	case errors.Is(err, context.Canceled):
		return rules.NetworkCanceled, !op
	case isTLS(err):
		return rules.NetworkTLS, false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return rules.NetworkDNS, false
	}
	if isTimeout(err) {
		return rules.NetworkTimeout, !op && !strings.Contains(err.Error(), "TLS handshake")
	}
	if op {
		return rules.NetworkConnect, false
	}
	for _, e := range [...]error{
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ESHUTDOWN, syscall.ENOTCONN,
		net.ErrClosed, io.ErrClosedPipe,
	} {
		if errors.Is(err, e) {
			return rules.NetworkReset, true
		}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return rules.NetworkConnect, false
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return rules.NetworkEOF, true
	}
	// Errors that only their text tells apart: net/http's own, HTTP/2's, and
	// those that were turned into text on the way. The text of a *url.Error
	// holds the URL, which is not to be searched.
	var request *url.Error
	inner := err
	if errors.As(err, &request) && request.Err != nil {
		inner = request.Err
	}
	if kind, sent := networkPhrase(inner.Error()); kind != "" {
		return kind, sent
	}
	if aboutRequest(inner.Error()) {
		return "", true
	}
	var (
		netErr net.Error // *net.OpError too
		call   *os.SyscallError
		errno  syscall.Errno
	)
	if request != nil || errors.As(err, &netErr) || errors.As(err, &call) || errors.As(err, &errno) {
		return rules.NetworkOther, true
	}
	return "", true
}

// dialing reports whether err came up before there was a connection.
func dialing(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "dial" || op.Op == "proxyconnect" || op.Op == "socks connect")
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return true
	}
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func isTLS(err error) bool {
	var (
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		alert    tls.AlertError
		ech      *tls.ECHRejectionError
		unknown  x509.UnknownAuthorityError
		host     x509.HostnameError
		invalid  x509.CertificateInvalidError
		roots    x509.SystemRootsError
		critical x509.UnhandledCriticalExtension
		insecure x509.InsecureAlgorithmError
		op       *net.OpError
	)
	if errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &ech) ||
		errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &roots) ||
		errors.As(err, &critical) || errors.As(err, &insecure) {
		return true
	}
	// crypto/tls reports alerts as operations of these names.
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// NetworkText is [Network] for the text of an error, for logs and test cases
// that hold no more. Text that names nothing known is [rules.NetworkOther];
// no text is "".
func NetworkText(s string) (kind string, sent bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", true
	}
	// Bare names of the kinds themselves.
	switch k := strings.ToLower(s); k {
	case rules.NetworkTLS, rules.NetworkDNS, rules.NetworkConnect:
		return k, false
	case rules.NetworkTimeout, rules.NetworkReset, rules.NetworkEOF, rules.NetworkCanceled, rules.NetworkOther:
		return k, true
	}
	if kind, sent := networkPhrase(s); kind != "" {
		return kind, sent
	}
	if len(s) > patternWindow {
		s = s[:patternWindow]
	}
	if aboutRequest(s) {
		return "", true
	}
	s = strings.ToLower(s)
	dial := strings.Contains(s, "dial ")
	for _, w := range looseWords {
		if strings.Contains(s, w.text) {
			return w.kind, w.sent && !dial
		}
	}
	if dial {
		return rules.NetworkConnect, false
	}
	return rules.NetworkOther, true
}

type phrase struct {
	text string
	kind string
	sent bool
}

// phrases are what the errors of Go's network packages, of C libraries and of
// Windows say, lower case. The first that occurs counts, so the more special
// come first.
var phrases = [...]phrase{
	{"context canceled", rules.NetworkCanceled, true},
	{"operation was canceled", rules.NetworkCanceled, true},
	{"tls handshake timeout", rules.NetworkTimeout, false},
	{"client.timeout", rules.NetworkTimeout, true}, // before "request canceled", which http.Client says as well
	{"net/http: request canceled", rules.NetworkCanceled, true},
	{"x509: ", rules.NetworkTLS, false},
	{"tls: ", rules.NetworkTLS, false},
	{"tls handshake", rules.NetworkTLS, false},
	{"certificate verify failed", rules.NetworkTLS, false},
	{"certificate has expired", rules.NetworkTLS, false},
	{"server gave http response to https client", rules.NetworkTLS, false},
	{"sslv3 alert", rules.NetworkTLS, false},
	{"ssl routines", rules.NetworkTLS, false},
	{"no such host", rules.NetworkDNS, false},
	{"server misbehaving", rules.NetworkDNS, false},
	{"name or service not known", rules.NetworkDNS, false},
	{"temporary failure in name resolution", rules.NetworkDNS, false},
	{"nodename nor servname provided", rules.NetworkDNS, false},
	{"getaddrinfo", rules.NetworkDNS, false},
	{"enotfound", rules.NetworkDNS, false},
	{"eai_again", rules.NetworkDNS, false},
	{": lookup ", rules.NetworkDNS, false},
	{"connection refused", rules.NetworkConnect, false},
	{"actively refused", rules.NetworkConnect, false},
	{"econnrefused", rules.NetworkConnect, false},
	{"proxyconnect", rules.NetworkConnect, false},
	{"context deadline exceeded", rules.NetworkTimeout, true},
	{"i/o timeout", rules.NetworkTimeout, true},
	{"connection timed out", rules.NetworkTimeout, true},
	{"operation timed out", rules.NetworkTimeout, true},
	{"timeout awaiting response headers", rules.NetworkTimeout, true},
	{"etimedout", rules.NetworkTimeout, true},
	{"connection reset by peer", rules.NetworkReset, true},
	{"forcibly closed", rules.NetworkReset, true},
	{"econnreset", rules.NetworkReset, true},
	{"broken pipe", rules.NetworkReset, true},
	{"epipe", rules.NetworkReset, true},
	{"software caused connection abort", rules.NetworkReset, true},
	{"an established connection was aborted", rules.NetworkReset, true},
	{"use of closed network connection", rules.NetworkReset, true},
	{"client connection lost", rules.NetworkReset, true},
	{"http2: client connection force closed", rules.NetworkReset, true},
	{"server sent goaway", rules.NetworkReset, true},
	{"stream error: stream id", rules.NetworkReset, true},
	{"server closed idle connection", rules.NetworkEOF, true},
	{"transport connection broken", rules.NetworkEOF, true},
	{"no route to host", rules.NetworkConnect, false},
	{"network is unreachable", rules.NetworkConnect, false},
	{"host is unreachable", rules.NetworkConnect, false},
	{"cannot assign requested address", rules.NetworkConnect, false},
	{"connection closed during command execution", rules.NetworkEOF, true}, // go-imap v1
}

// looseWords are believed only where the text is known to be that of a network error.
var looseWords = [...]phrase{
	{"canceled", rules.NetworkCanceled, true},
	{"cancelled", rules.NetworkCanceled, true},
	{"certificate", rules.NetworkTLS, false},
	{"handshake", rules.NetworkTLS, false},
	{"tls", rules.NetworkTLS, false},
	{"ssl", rules.NetworkTLS, false},
	{"x509", rules.NetworkTLS, false},
	{"lookup ", rules.NetworkDNS, false},
	{"dns", rules.NetworkDNS, false},
	{"resolve", rules.NetworkDNS, false},
	{"timeout", rules.NetworkTimeout, true},
	{"timed out", rules.NetworkTimeout, true},
	{"deadline exceeded", rules.NetworkTimeout, true},
	{"refused", rules.NetworkConnect, false},
	{"unreachable", rules.NetworkConnect, false},
	{"reset", rules.NetworkReset, true},
	{"eof", rules.NetworkEOF, true},
	{"closed", rules.NetworkEOF, true},
	{"hang up", rules.NetworkEOF, true},
	{"disconnect", rules.NetworkEOF, true},
	{"connection lost", rules.NetworkReset, true},
	{"aborted", rules.NetworkReset, true},
}

// aboutRequest reports whether an error of net/http's is about the request
// itself, or about where the server's redirects led it: no trouble of the
// network, and no repeat ends otherwise.
func aboutRequest(s string) bool {
	if len(s) > patternWindow {
		s = s[:patternWindow]
	}
	s = strings.ToLower(s)
	for _, t := range [...]string{
		"unsupported protocol scheme", "no host in request url", "nil request.url", "missing protocol scheme",
		"invalid header field", "invalid method", "invalid url escape", "invalid control character in url",
	} {
		if strings.Contains(s, t) {
			return true
		}
	}
	return strings.Contains(s, "stopped after ") && strings.Contains(s, " redirects")
}

func networkPhrase(s string) (kind string, sent bool) {
	if len(s) > patternWindow {
		s = s[:patternWindow]
	}
	s = strings.ToLower(s)
	if strings.HasPrefix(s, "lookup ") {
		return rules.NetworkDNS, false
	}
	dial := strings.Contains(s, "dial tcp") || strings.Contains(s, "dial udp") || strings.Contains(s, "dial unix")
	for i := range phrases {
		if strings.Contains(s, phrases[i].text) {
			return phrases[i].kind, phrases[i].sent && !dial
		}
	}
	return "", true
}
