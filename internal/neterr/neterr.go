// Package neterr reads what an error says about the network: what went wrong below the
// protocol, and whether the request may have been sent. [Of] reads it from the types of an
// error and of those that it wraps, [Text] from an error's text alone. [Unprocessed] tells
// whether the server looked at the request.
package neterr

import (
	"net"
	"net/url"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/rules"
)

// Failure is what an error says about the network.
type Failure struct {
	Kind string // one of the Network… constants of package rules; "" = nothing
	Sent bool   // the request was sent, or may have been
}

// Of tells what went wrong below the protocol, as t says. Kind is "" if the error says
// nothing about the network. A *url.Error and any error with a text of net/http's say
// something, unless they are about the request itself ("unsupported protocol scheme").
//
// Sent is false only if the request cannot have reached the server. Types prove that, and
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
// After other TLS errors Sent is true: an alert or a bad record in the middle of a
// connection looks like one of the handshake (RFC 8446, section 6), and a server may
// refuse a client's certificate after the client has written (section 4.4.2.4). The same
// holds for errors of crypto/x509 alone, since signatures in an answer are verified too.
//
// If t joins several errors (Unwrap() []error, and the lists of common libraries), Sent is
// false only if it is false for each of them: one attempt may have lost its answer before
// the next one found no server. Kind is then that of the first that was sent.
//
// A context that the caller cancelled is [rules.NetworkCanceled]; one whose
// deadline passed is [rules.NetworkTimeout].
func Of(t *errtree.Tree) (f Failure) {
	defer func() {
		if recover() != nil { // a method of a foreign error may panic, such as that of a nil pointer
			f = Failure{Sent: true}
		}
	}()
	f = chain(t)
	if f.Kind == "" {
		f.Kind = byText(t)
	}
	return f
}

// chain returns what the types of t and of the errors inside it say. The outermost error
// that knows whether the request was sent decides about sent.
func chain(t *errtree.Tree) Failure {
	f := Failure{Sent: true}
	if v := reflect.ValueOf(t.Err); v.Kind() == reflect.Pointer && v.IsNil() {
		return f // perhaps there was no error: a nil pointer in an interface is not nil
	}
	switch {
	case t.Joined:
		f = branches(t)
	case len(t.Kids) > 0:
		f = chain(&t.Kids[0])
	}
	switch known, sent := sentOf(t.Err); {
	case known:
		f.Sent = sent
	case !f.Sent && tellsMore(t):
		f.Sent = true
	}
	f.Kind = graver(kindOf(t.Err), f.Kind)
	return f
}

// branches combines what joined errors say.
func branches(t *errtree.Tree) Failure {
	all := make([]Failure, len(t.Kids))
	f := Failure{Sent: len(all) == 0}
	for i := range t.Kids {
		all[i] = Of(&t.Kids[i])
		f.Sent = f.Sent || all[i].Sent
	}
	for _, b := range all {
		switch {
		case b.Sent != f.Sent:
		case b.Kind == rules.NetworkCanceled, f.Kind == "":
			f.Kind = b.Kind
		}
	}
	for _, b := range all {
		if f.Kind == "" {
			f.Kind = b.Kind
		}
	}
	return f
}

// tellsMore reports whether the text of an error, beside the texts of the errors that it
// wraps, speaks of a lost request or of several: "primary: unexpected EOF; backup: %w".
// Then the request counts as sent. A text never makes it count as not sent.
func tellsMore(t *errtree.Tree) bool {
	if _, ok := t.Err.(*url.Error); ok {
		return false // its own text is only the method and the URL
	}
	own, rest := "", t.Err.Error()
	for i := range t.Kids { // in order, since the text of one may occur inside that of another
		if before, after, ok := strings.Cut(rest, t.Kids[i].Err.Error()); ok {
			own, rest = own+before+"\n", after
		}
	}
	own += rest
	return len(own) > maxErrorText || tellsOfLoss(own)
}

// byText returns the kind of an error whose type tells nothing: those of net/http and
// HTTP/2, and those that were turned into a text on the way. Of a *url.Error it reads the
// error inside, since the URL in its text could contain anything.
func byText(t *errtree.Tree) string {
	inner, network := t.Err, false
	at := t
	for ; ; at = &at.Kids[0] {
		if parses(at.Err) {
			return ""
		}
		switch e := at.Err.(type) {
		case *url.Error:
			inner, network = e.Err, true
		case net.Error, *os.SyscallError, syscall.Errno:
			network = true
		}
		if at.Joined || len(at.Kids) == 0 {
			break
		}
	}
	s, last := inner.Error(), ""
	if !at.Joined {
		if last = at.Err.Error(); aboutRequest(last) {
			return ""
		}
	}
	if kind := phraseKind(s); kind != "" {
		return kind
	}
	if kind := netHTTPKind(last); kind != "" || !network {
		return kind
	}
	return rules.NetworkOther
}
