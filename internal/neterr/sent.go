package neterr

import (
	"crypto/tls"
	"net"
	"os"
	"reflect"
	"strings"
)

// Whether the request was sent, by the type of one error.

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
