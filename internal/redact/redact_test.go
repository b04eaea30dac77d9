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
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/recourse-go/recourse/rules"
)

// refused is an error as package net makes it.
var refused = &net.OpError{
	Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 993},
	Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
}

// itself wraps itself.
type itself struct{}

func (itself) Error() string     { return "itself" }
func (e itself) Unwrap() []error { return []error{e, e} }

// slow says that it is a timeout.
type slow struct{ foreign }

func (*slow) Timeout() bool { return true }

type panics struct{}

func (panics) Error() string { panic("no") }
func (panics) Unwrap() error { panic("no") }

// What an operator needs of an error comes out.
func TestError(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, ""},
		{"ours", New("engine: no Reauth hook"), "engine: no Reauth hook"},
		{"ours around theirs", Wrap("engine: read", &foreign{"x"}), "engine: read: *redact.foreign"},
		{"EOF", io.EOF, "EOF"},
		{"in a sentence", fmt.Errorf("list ann's mail: %w", io.ErrUnexpectedEOF), "unexpected EOF"},
		{"joined", errors.Join(io.EOF, context.Canceled), "EOF; context canceled"},
		{"foreign", &foreign{"x"}, "*redact.foreign"},
		{"foreign in a sentence", fmt.Errorf("x: %w", &foreign{"x"}), "*redact.foreign"},
		{"foreign that wraps", wrapping{"x", io.EOF}, "redact.wrapping: EOF"},
		{"foreign with a timeout", &slow{}, "*redact.slow (timeout)"},
		{"text", errors.New("no idea"), "*errors.errorString"},
		{"refused", refused, "dial tcp 10.0.0.1:993: connect: connection refused"},
		{"URL", &url.Error{Op: "Get", URL: "https://ann:x@api.test:8080/v1/messages?q=1", Err: refused},
			`Get "https://api.test:8080/v1/messages": dial tcp 10.0.0.1:993: connect: connection refused`},
		{"URL that cannot be read", &url.Error{Op: "parse", URL: "https://ann:pa/x@h", Err: errors.New(`invalid port ":pa" after host`)}, `parse "…": *errors.errorString`},
		{"both ends", &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv6loopback, Port: 1}, Addr: &net.TCPAddr{Port: 2}, Err: syscall.ECONNRESET},
			"read tcp [::1]:1->:2: connection reset by peer"},
		{"name", &net.DNSError{Err: "no such host", Name: "api.test"}, "lookup api.test: no such host"},
		{"alert", &net.OpError{Op: "remote error", Err: tls.AlertError(42)}, "remote error: tls: bad certificate"},
		{"certificate", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"expired", x509.CertificateInvalidError{Reason: x509.Expired, Detail: "x"}, "x509: certificate has expired or is not yet valid"},
		{"other host", x509.HostnameError{Host: "api.test"}, "x509: the certificate is not valid for api.test"},
		{"no TLS", tls.RecordHeaderError{Msg: "x"}, "tls: no TLS record"},
		{"file", &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, "open: no such file or directory"},
		{"SMTP", &textproto.Error{Code: 535, Msg: "x"}, "reply 535"},
		{"number", &strconv.NumError{Func: "Atoi", Num: "x", Err: strconv.ErrSyntax}, "strconv.Atoi: invalid syntax"},
		{"JSON", &json.SyntaxError{Offset: 7}, "invalid JSON at offset 7"},
		{"too large", &http.MaxBytesError{Limit: 7}, "http: request body too large"},
		{"of net/http", errors.New("http2: client connection lost"), "http2: client connection lost"},
		{"of net/http, filled", errors.New(`malformed HTTP response "x"`), "malformed HTTP response …"},
		{"of HTTP/2", errors.New("http2: Transport: cannot retry err [stream error: stream ID 7; REFUSED_STREAM] after"), "http2: Transport: cannot retry err […REFUSED_STREAM"},
		{"nil pointer", (*url.Error)(nil), "*url.Error"},
		{"nil pointer in a sentence", fmt.Errorf("x: %w", (*net.OpError)(nil)), "*net.OpError"},
		{"panics", panics{}, "redact.panics"},
	} {
		if got := Error(tt.err, nil); got != tt.want {
			t.Errorf("%s: given %v\ngot  %s\nwant %s", tt.name, tt.err, got, tt.want)
		}
	}
	if got := Error(itself{}, nil); len(got) > maxText+len(hidden) {
		t.Errorf("an error that wraps itself: %d bytes", len(got))
	}
}

// The caller's own texts come first.
func TestErrorKnown(t *testing.T) {
	known := func(err error) (string, bool) {
		_, ok := err.(*foreign)
		return "known", ok
	}
	if got, want := Error(wrapping{"x", &foreign{"x"}}, known), "redact.wrapping: known"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestURL(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"", ""},
		{"https://gmail.googleapis.com/gmail/v1/users/me/messages/send?key=x", "https://gmail.googleapis.com/gmail/v1/users/me/messages/send"},
		{"https://graph.microsoft.com/v1.0/users/ann@example.com/messages/AAMkAGVmMDEzMTM4LTZmYWUtNDdkNC1hMDZhLWIyNjNhNDRmYTA1ZABGAAA=", "https://graph.microsoft.com/v1.0/users/…/messages/…"},
		{"https://hooks.test/services/T00/B00/x1x2X3x4X5x6", "https://hooks.test/services/T00/B00/…"},
		{"http://[::1]:8080/x", "http://[::1]:8080/x"},
		{"http://ann:x@h/", "http://h/"},
		{"https://bücher.test/", "https://…/"},
		{"/items/17", "/items/17"},
		{"mailto:ann@h", "…"},
		{"https://h/p%2Fx/$batch", "https://h/…/$batch"},
		{"https://h/%zz", "…"},
		{"https://h" + strings.Repeat("/a", 200), "https://h" + strings.Repeat("/a", 76) + "…"},
	} {
		if got := URL(tt.given); got != tt.want {
			t.Errorf("given %q\ngot  %q\nwant %q", tt.given, got, tt.want)
		}
	}
}

func TestCode(t *testing.T) {
	for _, code := range []string{
		"", "rateLimitExceeded", "AADSTS50196", "5.7.139", "invalid_grant", "urn:ietf:params:jmap:error:limit", "0x8004010F", "-1012", "NO",
		"ErrorServerBusy", "{DAV:}no-conflict", "Request_ResourceNotFound", "path/not_found/.", "oauth2", "X-GOOG-1",
	} {
		if got := Code(code); got != code {
			t.Errorf("Code(%q) = %q", code, got)
		}
	}
	for _, secret := range []string{
		"s3cr3t-t0k3n", jwt, "ya29.a0AfH6SMBs3cr3t", "1//0gabcdefs3cr3t-x_y", "7c3280d4-5d54-4240-bc1b-97a405a38000", "a b", "a=b", "ann@h", `"a"`,
		"4111111111111111", strings.Repeat("a", 65), strings.Repeat("a", 33), "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "\x00", "naïve",
	} {
		if got := Code(secret); got != hidden {
			t.Errorf("Code(%q) = %q, want %q", secret, got, hidden)
		}
	}
}

func TestMessage(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"", ""},
		{"User-rate limit exceeded.  Retry after 2000-01-01T00:00:20Z", "User-rate limit exceeded. Retry after 2000-01-01T00:00:20Z"},
		{"Try again in 30 seconds (at most 5 times), or 12%.", "Try again in 30 seconds … or 12%."},
		{"Invalid token: ya29.a0AfH6SMB", "Invalid token: …"},
		{"Invalid password: hunter", "Invalid password: …"},
		{"password=hunter is wrong", "… is wrong"},
		{"The subject \"Our divorce\" is not allowed", "The subject … is not allowed"},
		{"The subject 'Ann's divorce' can't be sent", "The subject … can't be sent"},
		{"The subject (“Our divorce papers”) is not allowed", "The subject … is not allowed"},
		{"Unknown \"half a quote hunter", "Unknown …"},
		{"x=\"one two three\" four", "… four"},
		{"key abcdefghijklmnop refused", "key … refused"},
		{"No mailbox ann@example.com at https://h/x or 7c3280d4-5d54", "No mailbox … at … or …"},
		{"line\r\nforged\x00 line", "line … line"},
		{"Zugriff verweigert, übermäßig viele Anfragen", "Zugriff verweigert, übermäßig viele Anfragen"},
		{"請求過多，請稍後再試。請求過多，請稍後再試", "…"},
		{strings.Repeat("word ", 1000), strings.Repeat("word ", 32) + "…"},
		{"\xff\xfe", "…"},
	} {
		if got := Message(tt.given); got != tt.want {
			t.Errorf("given %q\ngot  %q\nwant %q", tt.given, got, tt.want)
		}
	}
}

func TestFacts(t *testing.T) {
	for _, tt := range []struct {
		event *rules.Event
		want  string
	}{
		{nil, ""},
		{&rules.Event{Network: "reset", Message: "x"}, ""},
		{&rules.Event{Protocol: "http", Status: 429, Codes: []string{"rateLimitExceeded", "429"}, Message: "Too many requests."}, "HTTP 429 Too Many Requests (rateLimitExceeded, 429): Too many requests"},
		{&rules.Event{Protocol: "http", Status: 599}, "HTTP 599"},
		{&rules.Event{Protocol: "smtp", Status: 550, Codes: []string{"5.1.1"}, Message: "no such user"}, "SMTP 550 (5.1.1): no such user"},
		{&rules.Event{Protocol: "imap", IMAPStatus: "NO", Codes: []string{"OVERQUOTA"}}, "IMAP NO (OVERQUOTA)"},
		{&rules.Event{Status: 400, Codes: []string{"a", "b", "c", "d"}}, "HTTP 400 Bad Request (a, b, c)"},
	} {
		if got := Facts(tt.event); got != tt.want {
			t.Errorf("given %+v\ngot  %q\nwant %q", tt.event, got, tt.want)
		}
	}
}
