package neterr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/recourse-go/recourse/rules"
)

// The kind of a failure, by the type of one error.

// kinds are the kinds by rank: where several errors of a chain have one, the first in
// this list counts.
var kinds = [...]string{
	rules.NetworkCanceled, rules.NetworkTLS, rules.NetworkDNS, rules.NetworkTimeout,
	rules.NetworkConnect, rules.NetworkReset, rules.NetworkEOF, rules.NetworkOther,
}

func graver(a, b string) string {
	for _, k := range kinds {
		if a == k || b == k {
			return k
		}
	}
	return ""
}

// kindOf returns the kind that err itself says, without the errors that it wraps.
func kindOf(err error) string {
	if is(err, context.Canceled) {
		return rules.NetworkCanceled
	}
	op := ""
	switch e := err.(type) {
	case *tls.CertificateVerificationError, tls.RecordHeaderError, tls.AlertError, *tls.ECHRejectionError,
		x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError, x509.SystemRootsError,
		x509.UnhandledCriticalExtension, x509.InsecureAlgorithmError:
		return rules.NetworkTLS
	case *net.DNSError:
		return rules.NetworkDNS
	case *net.OpError:
		op = e.Op
	}
	if op == "remote error" || op == "local error" { // alerts, as crypto/tls reports them
		return rules.NetworkTLS
	}
	if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() ||
		is(err, context.DeadlineExceeded) || is(err, os.ErrDeadlineExceeded) || is(err, syscall.ETIMEDOUT) {
		return rules.NetworkTimeout
	}
	if dials(op) || is(err, syscall.ECONNREFUSED) {
		return rules.NetworkConnect
	}
	for _, e := range [...]error{
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ESHUTDOWN, syscall.ENOTCONN,
		net.ErrClosed, io.ErrClosedPipe,
	} {
		if is(err, e) {
			return rules.NetworkReset
		}
	}
	if is(err, io.EOF) || is(err, io.ErrUnexpectedEOF) {
		return rules.NetworkEOF
	}
	return unprocessedKind(err)
}

// is does what [errors.Is] does, without the errors that err wraps.
func is(err, target error) bool {
	if err == target {
		return true
	}
	x, ok := err.(interface{ Is(error) bool })
	return ok && x.Is(target)
}
