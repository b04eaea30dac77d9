package classify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/recourse-go/recourse/rules"
)

// failure is what an error says about the network.
type failure struct {
	kind string // one of the Network… constants of package rules; "" = nothing
	sent bool   // the request was sent, or may have been
}

// network tells what went wrong below the protocol. Its kind is "" if the error says
// nothing about the network. A *url.Error and any error with a text of net/http's say
// something, unless they are about the request itself ("unsupported protocol scheme").
//
// sent is false only if the request cannot have reached the server. Types prove that, and
// not texts:
//
//   - no connection was made: a *net.OpError of Op "dial", "proxyconnect" or
//     "socks connect" that is not inside another one, or an *os.SyscallError of
//     connect(2);
//   - the name did not resolve: a *net.DNSError;
//   - the TLS handshake failed before the client could write: a
//     *tls.CertificateVerificationError, a *tls.ECHRejectionError, a
//     [tls.RecordHeaderError] about the first record, or net/http's timeout of
//     the handshake.
//
// The one exception are the texts of net/http which say that the server never looked at
// the request, see [Unprocessed].
//
// After other TLS errors sent is true: an alert or a bad record in the middle of a
// connection looks like one of the handshake (RFC 8446, section 6), and a server may
// refuse a client's certificate after the client has written (section 4.4.2.4). The same
// holds for errors of crypto/x509 alone, since signatures in an answer are verified too.
//
// If t joins several errors (Unwrap() []error, and the lists of common libraries), sent is
// false only if it is false for each of them: one attempt may have lost its answer before
// the next one found no server. kind is then that of the first that was sent.
//
// A context that the caller cancelled is [rules.NetworkCanceled]; one whose
// deadline passed is [rules.NetworkTimeout].
func (t *tree) network() (f failure) {
	defer func() {
		if recover() != nil { // a method of a foreign error may panic, such as that of a nil pointer
			f = failure{sent: true}
		}
	}()
	f = t.chain()
	if f.kind == "" {
		f.kind = t.byText()
	}
	return f
}

// chain returns what the types of t and of the errors inside it say. The outermost error
// that knows whether the request was sent decides about sent.
func (t *tree) chain() failure {
	f := failure{sent: true}
	if v := reflect.ValueOf(t.err); v.Kind() == reflect.Pointer && v.IsNil() {
		return f // perhaps there was no error: a nil pointer in an interface is not nil
	}
	switch {
	case t.joined:
		f = t.branches()
	case len(t.kids) > 0:
		f = t.kids[0].chain()
	}
	switch known, sent := sentOf(t.err); {
	case known:
		f.sent = sent
	case !f.sent && t.tellsMore():
		f.sent = true
	}
	f.kind = graver(networkKind(t.err), f.kind)
	return f
}

// branches combines what joined errors say.
func (t *tree) branches() failure {
	all := make([]failure, len(t.kids))
	f := failure{sent: len(all) == 0}
	for i := range t.kids {
		all[i] = t.kids[i].network()
		f.sent = f.sent || all[i].sent
	}
	for _, b := range all {
		switch {
		case b.sent != f.sent:
		case b.kind == rules.NetworkCanceled, f.kind == "":
			f.kind = b.kind
		}
	}
	for _, b := range all {
		if f.kind == "" {
			f.kind = b.kind
		}
	}
	return f
}

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

// networkKind returns the kind that err itself says, without the errors that it wraps.
func networkKind(err error) string {
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

// sentOf reports whether err itself knows if the request was sent, and whether it was.
func sentOf(err error) (known, sent bool) {
	switch e := err.(type) {
	case *net.OpError:
		return true, !dials(e.Op)
	case *net.DNSError, *tls.CertificateVerificationError, *tls.ECHRejectionError:
		return true, false
	case tls.RecordHeaderError:
		// Records with other messages occur after the handshake too.
		return true, e.Msg != "first record does not look like a TLS handshake"
	case *os.SyscallError:
		return strings.HasPrefix(e.Syscall, "connect"), false // on Windows it is connectex
	}
	t := reflect.TypeOf(err)
	known = t.PkgPath() == "net/http" && t.Name() == "tlsHandshakeTimeoutError" || saysUnprocessed(err)
	return known, false
}

// dials reports whether an operation of a *net.OpError is part of making a
// connection, to a proxy or through one.
func dials(op string) bool {
	return op == "dial" || op == "proxyconnect" || op == "socks connect"
}

// tellsMore reports whether the text of an error, beside the texts of the errors that it
// wraps, speaks of a lost request or of several: "primary: unexpected EOF; backup: %w".
// Then the request counts as sent. A text never makes it count as not sent.
func (t *tree) tellsMore() bool {
	if _, ok := t.err.(*url.Error); ok {
		return false // its own text is only the method and the URL
	}
	own, rest := "", t.err.Error()
	for i := range t.kids { // in order, since the text of one may occur inside that of another
		if before, after, ok := strings.Cut(rest, t.kids[i].err.Error()); ok {
			own, rest = own+before+"\n", after
		}
	}
	own += rest
	return len(own) > maxErrorText || tellsOfLoss(own)
}

// byText returns the kind of an error whose type tells nothing: those of net/http and
// HTTP/2, and those that were turned into a text on the way. Of a *url.Error it reads the
// error inside, since the URL in its text could contain anything.
func (t *tree) byText() string {
	inner, network := t.err, false
	at := t
	for ; ; at = &at.kids[0] {
		if parses(at.err) {
			return ""
		}
		switch e := at.err.(type) {
		case *url.Error:
			inner, network = e.Err, true
		case net.Error, *os.SyscallError, syscall.Errno:
			network = true
		}
		if at.joined || len(at.kids) == 0 {
			break
		}
	}
	s, last := inner.Error(), ""
	if !at.joined {
		if last = at.err.Error(); aboutRequest(last) {
			return ""
		}
	}
	if kind := networkPhrase(s); kind != "" {
		return kind
	}
	if kind := netHTTPKind(last); kind != "" || !network {
		return kind
	}
	return rules.NetworkOther
}
