package neterr_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/neterr"
	"github.com/recourse-go/recourse/rules"
)

// read is what the types of an error say.
func read(err error) (kind string, sent bool) {
	if err == nil {
		return "", true
	}
	t, whole := errtree.Grow(err)
	if !whole {
		return "", true
	}
	f := neterr.Of(&t)
	return f.Kind, f.Sent
}

// text is what the text of an error says.
func text(s string) (kind string, sent bool) {
	f := neterr.Text(s)
	return f.Kind, f.Sent
}

// inEvent is what classify.Error makes of an error.
func inEvent(err error) (kind string, sent bool) {
	var e rules.Event
	classify.Error(nil, &classify.Failure{Err: err}, &e)
	return e.Network, e.Sent
}

type timeoutError struct{}

func (timeoutError) Error() string   { return "slow" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestOf(t *testing.T) {
	op := func(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }
	sys := func(call string, err error) error { return os.NewSyscallError(call, err) }
	for _, tt := range []struct {
		name string
		err  error
		kind string
		sent bool
	}{
		{"nil", nil, "", true},
		{"foreign", errors.New("user not found"), "", true},
		{"caller cancelled", context.Canceled, "canceled", true},
		{"caller cancelled, wrapped", fmt.Errorf("sync: %w", &url.Error{Op: "Get", URL: "https://x", Err: context.Canceled}), "canceled", true},
		{"caller cancelled while dialing", op("dial", context.Canceled), "canceled", false},
		{"deadline", context.DeadlineExceeded, "timeout", true},
		{"deadline of the file system", op("read", os.ErrDeadlineExceeded), "timeout", true},
		{"timeout while reading", op("read", timeoutError{}), "timeout", true},
		{"timeout while dialing", op("dial", timeoutError{}), "timeout", false},
		{"timeout of the kernel", op("read", sys("read", syscall.ETIMEDOUT)), "timeout", true},
		{"timeout by method alone", fmt.Errorf("x: %w", timeoutError{}), "timeout", true},
		{"no such host", op("dial", &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}), "dns", false},
		{"DNS timeout", &net.DNSError{Err: "i/o timeout", Name: "x", IsTimeout: true}, "dns", false},
		{"refused", op("dial", sys("connect", syscall.ECONNREFUSED)), "connect", false},
		{"unreachable", op("dial", sys("connect", syscall.ENETUNREACH)), "connect", false},
		{"reset while dialing", op("dial", sys("connect", syscall.ECONNRESET)), "connect", false},
		{"proxy", op("proxyconnect", errors.New("x")), "connect", false},
		{"out of sockets", op("dial", sys("socket", syscall.EMFILE)), "connect", false},
		{"reset while reading", &url.Error{Op: "Post", URL: "https://x", Err: op("read", sys("read", syscall.ECONNRESET))}, "reset", true},
		{"broken pipe", op("write", sys("write", syscall.EPIPE)), "reset", true},
		{"aborted", op("read", sys("read", syscall.ECONNABORTED)), "reset", true},
		{"closed by us", op("read", net.ErrClosed), "reset", true},
		{"EOF", &url.Error{Op: "Get", URL: "https://x", Err: io.EOF}, "eof", true},
		{"unexpected EOF", fmt.Errorf("read body: %w", io.ErrUnexpectedEOF), "eof", true},
		{"idle connection", errors.New("http: server closed idle connection"), "eof", false}, // before a byte was written
		{"unknown authority", &url.Error{Op: "Get", URL: "https://x", Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, "tls", false},
		{"verification", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}}, "tls", false},
		{"signature of an answer, expired", x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}}, "tls", true},
		{"signature of an answer, in a request", &url.Error{Op: "Post", URL: "https://x", Err: x509.UnknownAuthorityError{}}, "tls", true},
		{"encrypted hello rejected", &tls.ECHRejectionError{}, "tls", false},
		{"plain HTTP on the TLS port", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "tls", false},
		{"plain HTTP in a TLS connection", tls.RecordHeaderError{Msg: "received record with version 5454 when expecting version 303"}, "tls", true},
		{"oversized record", tls.RecordHeaderError{Msg: "oversized record received with length 20527"}, "tls", true},
		{"plain HTTP, told by http.Client", &url.Error{Op: "Post", URL: "https://x", Err: http.ErrSchemeMismatch}, "tls", true},
		{"alert of the server", op("remote error", tls.AlertError(40)), "tls", true},
		{"alert of our own", op("local error", tls.AlertError(20)), "tls", true},
		{"alert of QUIC", tls.AlertError(42), "tls", true},
		{"alert by a proxy", op("proxyconnect", op("remote error", tls.AlertError(40))), "tls", false},
		{"alert as text", errors.New("remote error: tls: handshake failure"), "tls", true},
		{"bad record", errors.New("read: tls: bad record MAC"), "tls", true},
		{"after close_notify", op("write", errors.New("tls: protocol is shutdown")), "tls", true},
		{"handshake timeout as text", errors.New("net/http: TLS handshake timeout"), "timeout", true},
		{"timeout whose text tells of a handshake", op("read", os.ErrDeadlineExceeded), "timeout", true},
		{"connect(2)", sys("connect", syscall.ECONNREFUSED), "connect", false},
		{"refused, of what is not told", syscall.ECONNREFUSED, "connect", true},
		{"refused while reading from UDP", op("read", sys("recvfrom", syscall.ECONNREFUSED)), "connect", true},
		{"SOCKS", op("socks connect", errors.New("host unreachable")), "connect", false},
		{"name, by a resolver of one's own", &url.Error{Op: "Get", URL: "https://x", Err: &net.DNSError{Err: "no such host", Name: "x"}}, "dns", false},
		{"connection that dials again", op("write", op("dial", sys("connect", syscall.ECONNREFUSED))), "connect", true},
		{"what a server wrote", errors.New("500: dial tcp 10.0.0.5:5432: connect: connection refused"), "connect", true},
		{"dialing, as text", errors.New("dial tcp 192.0.2.1:443: connect: connection refused"), "connect", true},
		{"name, as text", errors.New("lookup x: no such host"), "dns", true},
		{"proxy's answer to CONNECT", &url.Error{Op: "Post", URL: "https://x", Err: errors.New("Bad Gateway")}, "other", true},
		{"refused stream", errors.New("stream error: stream ID 3; REFUSED_STREAM"), "reset", true},
		{"nil pointer", (*net.DNSError)(nil), "", true},
		{"nil pointer, wrapped", fmt.Errorf("x: %w", (*net.OpError)(nil)), "", true},
		{"client timeout", errors.New(`Get "https://x": net/http: request canceled (Client.Timeout exceeded while awaiting headers)`), "timeout", true},
		{"GOAWAY", errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"), "reset", true},
		{"other, in an operation", op("read", errors.New("x")), "other", true},
		{"other, in a request", &url.Error{Op: "Get", URL: "https://x", Err: errors.New("malformed HTTP response")}, "other", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind, sent := read(tt.err)
			if kind != tt.kind || sent != tt.sent {
				t.Errorf("given %v\ngot  %q sent %v\nwant %q sent %v", tt.err, kind, sent, tt.kind, tt.sent)
			}
			if kind, sent := inEvent(tt.err); kind != tt.kind || sent != tt.sent {
				t.Errorf("given %v\ngot  %q sent %v of Error\nwant %q sent %v", tt.err, kind, sent, tt.kind, tt.sent)
			}
		})
	}
}

// What net/http really returns.
func TestReal(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-hang
		case "/close":
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		case "/reset":
			c, _, _ := w.(http.Hijacker).Hijack()
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		case "/cut":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("abc"))
		}
	}))
	defer srv.Close()
	defer close(hang)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()

	get := func(ctx context.Context, url string) error {
		req, _ := http.NewRequestWithContext(ctx, "GET", url, nil)
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		resp, err := tr.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancelLate := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancelLate()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		url  string
		kind string
		sent bool
	}{
		{"closed port", context.Background(), closed, "connect", false},
		{"closed after the request", context.Background(), srv.URL + "/close", "eof", true},
		{"reset after the request", context.Background(), srv.URL + "/reset", "reset", true},
		{"cut body", context.Background(), srv.URL + "/cut", "eof", true},
		{"unknown authority", context.Background(), secure.URL, "tls", false},
		{"TLS to a plain port", context.Background(), "https://" + srv.Listener.Addr().String(), "tls", false},
		{"canceled", canceled, srv.URL + "/hang", "canceled", true},
		{"deadline", late, srv.URL + "/hang", "timeout", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := get(tt.ctx, tt.url)
			kind, sent := read(err)
			if kind != tt.kind || tt.ctx.Err() == nil && sent != tt.sent {
				t.Errorf("given %v (%T)\ngot  %q sent %v\nwant %q sent %v", err, err, kind, sent, tt.kind, tt.sent)
			}
			if err == nil {
				return
			}
			// The text alone tells the same.
			if kind, sent := text(err.Error()); kind != tt.kind || tt.ctx.Err() == nil && sent != tt.sent {
				t.Errorf("given the text %q\ngot  %q sent %v\nwant %q sent %v", err, kind, sent, tt.kind, tt.sent)
			}
		})
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text string
		kind string
		sent bool
	}{
		{"", "", true},
		{"read: connection reset by peer", "reset", true},
		{"read tcp 10.0.0.1:50000->1.2.3.4:443: read: connection reset by peer", "reset", true},
		{"write: broken pipe", "reset", true},
		{"EOF", "eof", true},
		{"unexpected EOF", "eof", true},
		{"EOF after end-of-data", "eof", true},
		{"dial tcp: lookup gmail.googleapis.com: no such host", "dns", false},
		{"dial tcp: lookup x on 127.0.0.53:53: server misbehaving", "dns", false},
		{"lookup x: i/o timeout", "dns", false},
		{"dial tcp 1.2.3.4:443: connect: connection refused", "connect", false},
		{"connection refused", "connect", false},
		{"ECONNREFUSED", "connect", false},
		{"connection refused before anything was sent", "connect", false},
		{"no such host", "dns", false},
		{"DNS failure", "dns", false},
		{"Temporary failure in name resolution", "dns", false},
		{"network is unreachable", "connect", false},
		{"dial: connection refused", "connect", false},
		{"the backend says: connection refused", "connect", true},
		{"dial tcp 1.2.3.4:443: i/o timeout", "timeout", false},
		{"dial tcp 1.2.3.4:443: connect: connection timed out", "timeout", false},
		{"dial tcp 1.2.3.4:443: connect: no route to host", "connect", false},
		{"dial tcp 1.2.3.4:443: something new", "connect", false},
		{"i/o timeout", "timeout", true},
		{"context deadline exceeded", "timeout", true},
		{"context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "timeout", true},
		{"net/http: timeout awaiting response headers", "timeout", true},
		{"context canceled", "canceled", true},
		{"request cancelled by user", "canceled", true},
		{"tls: failed to verify certificate: x509: certificate signed by unknown authority", "tls", false},
		{"x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025-01-01T00:00:00Z", "tls", true},
		{"remote error: tls: bad certificate", "tls", true},
		{"net/http: TLS handshake timeout", "timeout", false},
		{"http: server gave HTTP response to HTTPS client", "tls", true},
		{"use of closed network connection", "reset", true},
		{"socket hang up", "eof", true},
		{"ECONNRESET", "reset", true},
		{"getaddrinfo ENOTFOUND api.nylas.com", "dns", false},
		{"timeout", "timeout", true},
		{"dns", "dns", false},
		{"tls", "tls", true},
		{"gremlins", "other", true},
		{`Post "https://x/a\"b": dial tcp 192.0.2.1:443: connect: connection refused`, "connect", false},
		{`Post "https://x": Post "https://login.x/token": dial tcp: lookup login.x: no such host`, "dns", false},
		{`Post "https://x": dial tcp 192.0.2.1:443: i/o timeout (Client.Timeout exceeded while awaiting headers)`, "timeout", true},
		{"connect: connection refused", "connect", false},
		{"connect ECONNREFUSED 192.0.2.1:443", "connect", false},
		{"proxyconnect tcp: dial tcp 192.0.2.1:3128: connect: connection refused", "connect", false},
		{"500: dial tcp 10.0.0.5:5432: connect: connection refused", "connect", true},
		{"primary: unexpected EOF; backup: dial tcp 192.0.2.1:443: connect: connection refused", "connect", true},
		{"dial tcp 192.0.2.1:443: connect: connection refused\nunexpected EOF", "connect", true},
		{"dial tcp 192.0.2.1:443: connect: connection refused, then unexpected EOF", "connect", true},
		{"tls: bad record MAC", "tls", true},
		{"451 4.4.1 dial of the next hop: connection refused", "connect", true},
	} {
		kind, sent := text(tt.text)
		if kind != tt.kind || sent != tt.sent {
			t.Errorf("given %q\ngot  %q sent %v\nwant %q sent %v", tt.text, kind, sent, tt.kind, tt.sent)
		}
	}
}

// A certain failure, one that lost the answer, and one of which nothing is known.
var (
	refused    = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	unnamed    = &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
	lost       = io.ErrUnexpectedEOF
	errUnknown = errors.New("x")
)

// listed is how libraries keep several errors: Unwrap has but the last one.
type listed []error

func (l listed) Error() string   { return errors.Join(l...).Error() }
func (l listed) Unwrap() error   { return l[len(l)-1] }
func (l listed) list() []error   { return l }
func (l listed) joined() []error { return l }

type (
	retryErrors  struct{ listed } // github.com/avast/retry-go
	multierrList struct{ listed } // go.uber.org/multierr
	silentList   struct{ last error }
)

func (e retryErrors) WrappedErrors() []error { return e.list() }
func (e multierrList) Errors() []error       { return e.joined() }
func (e silentList) Error() string {
	return "POST https://x giving up after 4 attempt(s): " + e.last.Error()
}
func (e silentList) Unwrap() error { return e.last }

// One attempt may have lost its answer before the next found no server.
func TestJoined(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		kind string
		sent bool
	}{
		{"lost, refused", errors.Join(lost, refused), "eof", true},
		{"refused, lost", errors.Join(refused, lost), "eof", true},
		{"lost, no name", errors.Join(lost, unnamed), "eof", true},
		{"in one text", fmt.Errorf("primary: %w; backup: %w", lost, refused), "eof", true},
		{"wrapped", &url.Error{Op: "Post", URL: "https://x", Err: fmt.Errorf("send: %w", errors.Join(lost, refused))}, "eof", true},
		{"nested", errors.Join(refused, errors.Join(unnamed, errors.Join(refused, lost))), "eof", true},
		{"deeper on one side", errors.Join(refused, fmt.Errorf("a: %w", fmt.Errorf("b: %w", lost))), "eof", true},
		{"all refused", errors.Join(refused, fmt.Errorf("backup: %w", refused)), "connect", false},
		{"refused, no name", errors.Join(refused, unnamed), "connect", false},
		{"one", errors.Join(refused), "connect", false},
		{"addresses of one host", &net.OpError{Op: "dial", Err: errors.Join(refused, syscall.ENETUNREACH)}, "connect", false},
		{"unknown, refused", errors.Join(errUnknown, refused), "connect", true},
		{"refused, unknown", fmt.Errorf("%w: %w", errUnknown, refused), "connect", true},
		{"cancelled, refused", errors.Join(refused, context.Canceled), "canceled", true},
		{"lost, cancelled", errors.Join(lost, context.Canceled), "canceled", true},
		{"two lost", errors.Join(refused, &net.OpError{Op: "read", Err: syscall.ECONNRESET}, lost), "reset", true},
		{"alert, refused", errors.Join(&net.OpError{Op: "remote error", Err: tls.AlertError(80)}, refused), "tls", true},
		{"none known", errors.Join(errUnknown, errUnknown), "", true},
		{"text of the network", errors.Join(errors.New("write: broken pipe"), refused), "reset", true},
		{"nil pointer, refused", errors.Join((*net.DNSError)(nil), refused), "", true},
		{"retry-go", retryErrors{listed{lost, refused}}, "eof", true},
		{"retry-go, all refused", retryErrors{listed{refused, refused}}, "connect", false},
		{"multierr", multierrList{listed{lost, refused}}, "eof", true},
		{"told in words", fmt.Errorf("primary: %v; backup: %w", lost, refused), "connect", true},
		{"told in words, wrapped", fmt.Errorf("send: %w", fmt.Errorf("%w after connection reset by peer", refused)), "connect", true},
		{"a client that repeats by itself", silentList{refused}, "connect", true},
		{"harmless words", fmt.Errorf("send the mail about your geofence to a.reset@example.com: %w", refused), "connect", false},
		{"too many words", fmt.Errorf("%5000d: %w", 1, refused), "connect", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind, sent := read(tt.err)
			if kind != tt.kind || sent != tt.sent {
				t.Errorf("given %.200q\ngot  %q sent %v\nwant %q sent %v", tt.err, kind, sent, tt.kind, tt.sent)
			}
			if kind, sent := inEvent(tt.err); kind != tt.kind || sent != tt.sent {
				t.Errorf("given %.200q\ngot  %q sent %v of Error\nwant %q sent %v", tt.err, kind, sent, tt.kind, tt.sent)
			}
		})
	}
}

type (
	loop      struct{}              // wraps itself
	branching struct{ again error } // wraps itself twice
	panics    struct{}              // in Unwrap
	fickle    struct{ n *int }      // answers differently each time
	quarrel   struct{ _ int }       // panics where it is compared
)

func (loop) Error() string           { return "x" }
func (l loop) Unwrap() error         { return l }
func (e *branching) Error() string   { return "x" }
func (e *branching) Unwrap() []error { return []error{e.again, e} }
func (panics) Error() string         { return "x" }
func (panics) Unwrap() error         { panic("no") }
func (fickle) Error() string         { return "x" }
func (e fickle) Unwrap() error {
	if *e.n++; *e.n == 1 {
		return refused
	}
	return e
}
func (quarrel) Error() string   { return "x" }
func (quarrel) Is(error) bool   { panic("no") }
func (e quarrel) Unwrap() error { return refused }

// Whatever an error wraps, the time that it takes is bounded, and what is not
// read to its end counts as sent.
func TestHostile(t *testing.T) {
	twice := &branching{}
	twice.again = twice
	deep, wide, nested, shared := error(refused), make([]error, 1e5), error(refused), error(refused)
	for i := range wide {
		deep = fmt.Errorf("%w", deep)
		wide[i] = refused
	}
	for range 40 { // 2^40 branches, if they were all followed
		shared = errors.Join(shared, shared)
	}
	for range 200 {
		nested = errors.Join(nested, refused)
	}
	for _, tt := range []struct {
		name string
		err  error
		kind string
		sent bool
	}{
		{"wraps itself", loop{}, "", true},
		{"wraps itself twice", twice, "", true},
		{"joined with one that wraps itself", errors.Join(refused, loop{}), "", true},
		{"deep", deep, "", true},
		{"wide", errors.Join(wide...), "", true},
		{"nested", nested, "connect", false},
		{"the same one over and over", shared, "", true},
		{"panics", errors.Join(refused, panics{}), "", true},
		{"panics while compared", quarrel{}, "", true},
		{"panics while compared, in a branch", errors.Join(lost, quarrel{}), "eof", true},
		{"refused, beside one that panics while compared", errors.Join(refused, quarrel{}), "connect", true},
		{"read once", fickle{new(int)}, "connect", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind, sent := read(tt.err)
			if kind != tt.kind || sent != tt.sent {
				t.Errorf("got  %q sent %v\nwant %q sent %v", kind, sent, tt.kind, tt.sent)
			}
			if f, ok := tt.err.(fickle); ok {
				*f.n = 0
			}
			if kind, sent := inEvent(tt.err); kind != tt.kind || sent != tt.sent {
				t.Errorf("got  %q sent %v of Error\nwant %q sent %v", kind, sent, tt.kind, tt.sent)
			}
		})
	}
}

// corruptConn spoils what is read from it once bad is set.
type corruptConn struct {
	net.Conn
	bad *atomic.Bool
}

func (c corruptConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.bad.Load() {
		b[n-1] ^= 0xff
	}
	return n, err
}

// What crypto/tls returns before the request was sent, and after.
func TestTLS(t *testing.T) {
	var served atomic.Int32
	var bad atomic.Bool
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		bad.Store(r.URL.Path == "/corrupt")
	})
	quiet := func() *httptest.Server {
		srv := httptest.NewUnstartedServer(handler)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		t.Cleanup(srv.Close)
		return srv
	}
	srv, strict := quiet(), quiet()
	srv.StartTLS()
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	strict.StartTLS()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	for _, tt := range []struct {
		name, url string
		config    *tls.Config
		kind      string
		sent      bool
		served    int32
	}{
		{"response that was corrupted", srv.URL + "/corrupt", &tls.Config{RootCAs: roots}, "tls", true, 1},
		{"client certificate refused, TLS 1.3", strict.URL, &tls.Config{RootCAs: roots}, "tls", true, 0},
		{"versions that do not meet", srv.URL, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, "tls", true, 0},
		{"verification of one's own", srv.URL, &tls.Config{RootCAs: roots, VerifyConnection: func(tls.ConnectionState) error { return x509.UnknownAuthorityError{} }}, "tls", true, 0},
		{"unknown authority", srv.URL, &tls.Config{RootCAs: x509.NewCertPool()}, "tls", false, 0},
		{"another host's certificate", srv.URL, &tls.Config{RootCAs: roots, ServerName: "x"}, "tls", false, 0},
		{"no handshake", "https://" + mute.Addr().String(), &tls.Config{}, "timeout", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			served.Store(0)
			bad.Store(false)
			tr := &http.Transport{TLSClientConfig: tt.config, TLSHandshakeTimeout: time.Second, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				return corruptConn{c, &bad}, err
			}}
			defer tr.CloseIdleConnections()
			if tt.kind == "timeout" {
				tr.TLSHandshakeTimeout = time.Millisecond
			}
			resp, err := (&http.Client{Transport: tr}).Post(tt.url, "text/plain", strings.NewReader("mail"))
			if err == nil {
				resp.Body.Close()
				t.Fatalf("got %s, want an error", resp.Status)
			}
			kind, sent := read(err)
			if kind != tt.kind || sent != tt.sent {
				t.Errorf("given %v\ngot  %q sent %v\nwant %q sent %v", err, kind, sent, tt.kind, tt.sent)
			}
			if n := served.Load(); n != tt.served || n > 0 && !sent {
				t.Errorf("given %v\nthe request was served %d times, want %d; sent is %v", err, n, tt.served, sent)
			}
		})
	}
}

// What comes up at proxies and after redirects.
func TestOnTheWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "CONNECT" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Location", closed)
		w.WriteHeader(http.StatusSeeOther)
	}))
	defer srv.Close()
	socks, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socks.Close()
	go func() {
		c, err := socks.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.ReadFull(c, make([]byte, 3))
		c.Write([]byte{5, 0})
		io.ReadFull(c, make([]byte, 10))
		c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}) // RFC 1928, section 6: connection refused
	}()
	for _, tt := range []struct {
		name, proxy, url string
		kind             string
		sent             bool
	}{
		{"closed proxy", closed, "http://192.0.2.1", "connect", false},
		{"closed proxy, CONNECT", closed, "https://192.0.2.1", "connect", false},
		{"proxy that cannot connect", srv.URL, "https://192.0.2.1", "other", true},
		{"SOCKS proxy that cannot connect", "socks5://" + socks.Addr().String(), "http://192.0.2.1", "connect", false},
		// The request was carried out, which its error does not tell.
		{"redirect to a closed port", "", srv.URL, "connect", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			if tt.proxy != "" {
				u, err := url.Parse(tt.proxy)
				if err != nil {
					t.Fatal(err)
				}
				tr.Proxy = http.ProxyURL(u)
			}
			resp, err := (&http.Client{Transport: tr}).Post(tt.url, "text/plain", strings.NewReader("mail"))
			if err == nil {
				resp.Body.Close()
				t.Fatalf("got %s, want an error", resp.Status)
			}
			if kind, sent := read(err); kind != tt.kind || sent != tt.sent {
				t.Errorf("given %v\ngot  %q sent %v\nwant %q sent %v", err, kind, sent, tt.kind, tt.sent)
			}
		})
	}
}
