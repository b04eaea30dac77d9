package redact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/nethttp"
)

// standard returns what may be shown of an error of one of the standard library's
// types; ok is false for other errors. It builds the text anew and does not use the
// error's own, since other code makes errors of these types too, with any text in them.
func (d *description) standard(err error) (text string, ok bool) {
	switch e := err.(type) {
	case *url.Error:
		return join(one(e.Op, verbs)+` "`+URL(e.URL)+`"`, d.of(e.Err)), true
	case *net.OpError:
		text = one(e.Op, verbs)
		if e.Net != "" {
			text += " " + one(e.Net, networks)
		}
		from, to := address(e.Source), address(e.Addr)
		switch {
		case from != "" && to != "":
			text += " " + from + "->" + to
		case from+to != "":
			text += " " + from + to
		}
		return join(text, d.of(e.Err)), true
	case *net.DNSError:
		text, why := "lookup "+host(e.Name), hidden
		if known, ok := constant(e.Err); ok {
			why = known
		}
		return join(text, why), true
	case *os.SyscallError:
		return join(Code(e.Syscall), d.of(e.Err)), true
	case *fs.PathError: // the path is left out, since it comes from the caller
		return join(one(e.Op, verbs), d.of(e.Err)), true
	case *textproto.Error: // the message is left out, since it comes from the server: see Facts
		return "reply " + strconv.Itoa(e.Code), true
	case *tls.CertificateVerificationError:
		return join("tls: failed to verify certificate", d.of(e.Err)), true
	case *tls.ECHRejectionError:
		return "tls: server rejected ECH", true
	case tls.RecordHeaderError:
		return "tls: no TLS record", true
	case x509.HostnameError:
		return "x509: the certificate is not valid for " + host(e.Host), true
	case x509.UnknownAuthorityError:
		return "x509: certificate signed by unknown authority", true
	case x509.CertificateInvalidError:
		e.Cert, e.Detail = nil, ""
		return strings.TrimSuffix(e.Error(), ": "), true
	case x509.SystemRootsError:
		return join("x509: failed to load system roots", d.of(e.Err)), true
	case *strconv.NumError:
		return join("strconv."+Code(e.Func), d.of(e.Err)), true
	case *json.SyntaxError:
		return fmt.Sprintf("invalid JSON at offset %d", e.Offset), true
	case *http.MaxBytesError:
		return e.Error(), true
	}
	return number(err)
}

// number returns the text of an error whose type is a number or an empty struct of the
// standard library, such as syscall.Errno or a TLS alert: such a text is always constant.
// ok is false for other errors.
func number(err error) (text string, ok bool) {
	t := reflect.TypeOf(err)
	pkg, _, _ := strings.Cut(t.PkgPath(), "/")
	switch pkg {
	case "syscall", "crypto", "net", "context", "internal":
	default:
		return "", false
	}
	if k := t.Kind(); k >= reflect.Int && k <= reflect.Uintptr || k == reflect.Struct && t.NumField() == 0 {
		return err.Error(), true
	}
	return "", false
}

// constants are texts of the standard library's errors into which no value is filled.
var constants = func() map[string]bool {
	m := map[string]bool{}
	for _, err := range [...]error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, io.ErrNoProgress, io.ErrShortBuffer, io.ErrShortWrite,
		net.ErrClosed, net.ErrWriteToConnected, os.ErrInvalid, os.ErrPermission, os.ErrExist, os.ErrNotExist, os.ErrClosed,
		os.ErrNoDeadline, os.ErrDeadlineExceeded, os.ErrProcessDone, context.Canceled, context.DeadlineExceeded, errors.ErrUnsupported,
		http.ErrNotSupported, http.ErrNoLocation, http.ErrUseLastResponse,
		http.ErrSkipAltProtocol, http.ErrSchemeMismatch, http.ErrBodyReadAfterClose, http.ErrLineTooLong, http.ErrServerClosed,
		http.ErrHandlerTimeout, http.ErrAbortHandler, http.ErrBodyNotAllowed, strconv.ErrSyntax, strconv.ErrRange,
	} {
		m[err.Error()] = true
	}
	for _, text := range [...]string{
		"no such host", "server misbehaving", "no answer from DNS server", "cannot unmarshal DNS message", // net
		"lame referral", "no suitable address found", "operation was canceled", "mismatched local address type",
		"missing address", "connection refused", "connection reset by peer", "broken pipe", "unexpected EOF reading trailer",
		"net/http: TLS handshake timeout", "net/http: request canceled", "net/http: timeout awaiting response headers",
		"tls: first record does not look like a TLS handshake", "tls: use of closed connection", "tls: protocol is shutdown",
		"tls: handshake has not yet been performed",
	} {
		m[text] = true
	}
	return m
}()

// constant returns what may be shown of a text that the standard library has as a
// constant: all of it or, if net/http fills a value in, the part before the value and an
// HTTP/2 error code, if the rest has one. ok is false for other texts.
func constant(text string) (shown string, ok bool) {
	if constants[text] {
		return text, true
	}
	fixed, ok := nethttp.Known(text)
	if !ok || fixed == text {
		return fixed, ok
	}
	shown = fixed + hidden
	for _, code := range http2Codes {
		if strings.Contains(text[len(fixed):], code) {
			return shown + code, true
		}
	}
	return shown, true
}

// http2Codes are the error codes of RFC 9113, section 7.
var http2Codes = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// verbs are the values of Op in the standard library's errors.
var verbs = set("Get Head Post Put Patch Delete Connect Options Trace Propfind Report Search parse "+ // *url.Error
	"dial read write close listen accept set file proxyconnect sendfile splice raw-read raw-write raw-control validate "+ // *net.OpError
	"open create stat lstat mkdir remove rename readdir readdirent readlink chmod chtimes sync truncate seek", // *fs.PathError
	"socks connect", "remote error", "local error") // *net.OpError

// networks are the names of networks that package net knows.
var networks = set("tcp tcp4 tcp6 udp udp4 udp6 ip ip4 ip6 unix unixgram unixpacket")

// set returns the set of the words, and of some phrases.
func set(words string, phrases ...string) map[string]bool {
	m := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		m[word] = true
	}
	for _, phrase := range phrases {
		m[phrase] = true
	}
	return m
}

// one returns word if the set has it, else hidden.
func one(word string, of map[string]bool) string {
	if of[word] {
		return word
	}
	return hidden
}

// address returns the text of a TCP or UDP address; "" for other types, which may hold
// more than an address.
func address(a net.Addr) string {
	switch a := a.(type) {
	case *net.TCPAddr:
		if a != nil {
			return ipPort(a.IP, a.Port)
		}
	case *net.UDPAddr:
		if a != nil {
			return ipPort(a.IP, a.Port)
		}
	}
	return ""
}

// ipPort returns an address and a port without the zone, which may be any text.
func ipPort(ip net.IP, port int) string {
	if ip == nil {
		return ":" + strconv.Itoa(port)
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(port))
}
