package classify_test

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
	"syscall"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
)

type timeoutError struct{}

func (timeoutError) Error() string   { return "slow" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestNetwork(t *testing.T) {
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
		{"idle connection", errors.New("http: server closed idle connection"), "eof", true},
		{"unknown authority", &url.Error{Op: "Get", URL: "https://x", Err: x509.UnknownAuthorityError{}}, "tls", false},
		{"verification", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}}, "tls", false},
		{"expired", x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}}, "tls", false},
		{"plain HTTP on the TLS port", tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "tls", false},
		{"alert", op("remote error", tls.AlertError(40)), "tls", false},
		{"alert as text", errors.New("remote error: tls: handshake failure"), "tls", false},
		{"handshake timeout", errors.New("net/http: TLS handshake timeout"), "timeout", false},
		{"client timeout", errors.New(`Get "https://x": net/http: request canceled (Client.Timeout exceeded while awaiting headers)`), "timeout", true},
		{"GOAWAY", errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"), "reset", true},
		{"other, in an operation", op("read", errors.New("x")), "other", true},
		{"other, in a request", &url.Error{Op: "Get", URL: "https://x", Err: errors.New("malformed HTTP response")}, "other", true},
		{"joined", errors.Join(errors.New("x"), op("dial", sys("connect", syscall.ECONNREFUSED))), "connect", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind, sent := classify.Network(tt.err)
			if kind != tt.kind || sent != tt.sent {
				t.Errorf("given %v\ngot  %q sent %v\nwant %q sent %v", tt.err, kind, sent, tt.kind, tt.sent)
			}
			var e = newEvent()
			classify.Error(google, tt.err, e)
			if e.Network != tt.kind || e.Sent != tt.sent || e.Status != 0 || e.Provider != "gmail" {
				t.Errorf("given %v\ngot  %+v\nwant %q sent %v", tt.err, e, tt.kind, tt.sent)
			}
		})
	}
}

// What net/http really returns.
func TestNetworkReal(t *testing.T) {
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
			kind, sent := classify.Network(err)
			if kind != tt.kind || tt.ctx.Err() == nil && sent != tt.sent {
				t.Errorf("given %v (%T)\ngot  %q sent %v\nwant %q sent %v", err, err, kind, sent, tt.kind, tt.sent)
			}
			if err == nil {
				return
			}
			// The text alone tells the same.
			if kind, sent := classify.NetworkText(err.Error()); kind != tt.kind || tt.ctx.Err() == nil && sent != tt.sent {
				t.Errorf("given the text %q\ngot  %q sent %v\nwant %q sent %v", err, kind, sent, tt.kind, tt.sent)
			}
		})
	}
}

func TestNetworkText(t *testing.T) {
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
		{"x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025-01-01T00:00:00Z", "tls", false},
		{"remote error: tls: bad certificate", "tls", false},
		{"net/http: TLS handshake timeout", "timeout", false},
		{"http: server gave HTTP response to HTTPS client", "tls", false},
		{"use of closed network connection", "reset", true},
		{"socket hang up", "eof", true},
		{"ECONNRESET", "reset", true},
		{"getaddrinfo ENOTFOUND api.nylas.com", "dns", false},
		{"timeout", "timeout", true},
		{"dns", "dns", false},
		{"tls", "tls", false},
		{"gremlins", "other", true},
	} {
		kind, sent := classify.NetworkText(tt.text)
		if kind != tt.kind || sent != tt.sent {
			t.Errorf("given %q\ngot  %q sent %v\nwant %q sent %v", tt.text, kind, sent, tt.kind, tt.sent)
		}
	}
}
