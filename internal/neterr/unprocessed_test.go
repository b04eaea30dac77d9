package neterr_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/internal/h2test"
	"github.com/recourse-go/recourse/internal/neterr"
)

func TestMain(m *testing.M) {
	h2test.Warm()
	os.Exit(m.Run())
}

// onceReader is a body that can be had once only.
func onceReader() io.ReadCloser {
	return io.NopCloser(struct{ io.Reader }{strings.NewReader("mail")})
}

// Each error by which net/http says that the server never looked at a request,
// and those that look alike, as the real net/http returns them.
func TestUnprocessed(t *testing.T) {
	reset := func(code uint32) func(*h2test.Conn) {
		return func(c *h2test.Conn) {
			c.Settle()
			for id, ok := c.Request(); ok; id, ok = c.Request() {
				c.Send(h2test.Reset(id, code))
			}
		}
	}
	away := func(last, code uint32) func(*h2test.Conn) {
		return func(c *h2test.Conn) {
			c.Settle()
			c.Request()
			c.Send(h2test.Away(last, code))
			c.Request()
		}
	}
	// The second request gets the connection just before it is closed.
	kept := func(end func(*h2test.Conn)) func(*h2test.Conn) {
		return func(c *h2test.Conn) {
			c.Settle()
			id, _ := c.Request()
			c.Send(h2test.OK(id)...)
			time.Sleep(2 * time.Second)
			end(c)
		}
	}
	for _, tt := range []struct {
		name  string
		serve func(*h2test.Conn)
		body  io.ReadCloser
		late  bool   // a request before, and this one finds its connection while it is being closed
		slow  bool   // the first request finds its connection being closed
		words string // of the error
		want  bool
	}{
		{name: "a refused stream", serve: reset(h2test.CodeRefusedStream),
			words: "stream error: stream ID 15; REFUSED_STREAM; received from peer", want: true},
		{name: "a refused stream, with a body", serve: reset(h2test.CodeRefusedStream), body: onceReader(),
			words: "http2: Transport: cannot retry err [stream error: stream ID 1; REFUSED_STREAM; received from peer] after Request.Body was written; define Request.GetBody to avoid this error", want: true},
		{name: "GOAWAY below the stream", serve: away(0, 0), body: onceReader(),
			words: "http2: Transport: cannot retry err [http2: Transport received Server's graceful shutdown GOAWAY] after Request.Body was written; define Request.GetBody to avoid this error", want: true},
		{name: "GOAWAY with a code, before the first stream", serve: away(0, 11),
			words: "http2: Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM", want: true},
		{name: "the connection ended before it was used", serve: func(*h2test.Conn) {}, slow: true,
			words: "http2: client conn could not be established", want: true},
		{name: "GOAWAY before it is used again", late: true, body: onceReader(),
			serve: kept(func(c *h2test.Conn) { c.Send(h2test.Away(1, 0)); c.Next() }),
			words: "net/http: cannot rewind body after connection loss", want: true},
		{name: "closed before it is used again", late: true, body: onceReader(), serve: kept(func(*h2test.Conn) {}),
			words: "net/http: cannot rewind body after connection loss", want: true},

		{name: "a reset that is no refusal", serve: reset(2), words: "stream error: stream ID 1; INTERNAL_ERROR; received from peer"},
		{name: "a protocol error, with a body", serve: reset(h2test.CodeProtocol), body: onceReader(),
			words: "http2: Transport: cannot retry err [stream error: stream ID 1; PROTOCOL_ERROR; received from peer] after Request.Body was written; define Request.GetBody to avoid this error"},
		{name: "GOAWAY above the stream, and closed", body: onceReader(),
			serve: func(c *h2test.Conn) { c.Settle(); c.Request(); c.Send(h2test.Away(1, 0)) },
			words: `http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug=""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := h2test.TLS(tt.serve)
				defer s.Close()
				base := s.Transport()
				defer base.CloseIdleConnections()
				trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
					if tt.late || tt.slow {
						time.Sleep(5 * time.Second)
					}
				}}
				if tt.late {
					resp, err := base.RoundTrip(post(t, t.Context(), s.URL(), nil))
					if err != nil {
						t.Fatal(err)
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				resp, err := base.RoundTrip(post(t, httptrace.WithClientTrace(t.Context(), trace), s.URL(), tt.body))
				if err == nil {
					resp.Body.Close()
					t.Fatal("no error")
				}
				checkUnprocessed(t, err, tt.words, tt.want)
			})
		})
	}
}

// Over HTTP/1.1 net/http says so of a connection that the server has closed before
// the request was written.
func TestUnprocessedHTTP1(t *testing.T) {
	for _, tt := range []struct {
		name  string
		late  bool // the request is read before the connection is closed
		words string
		want  bool
	}{
		{name: "closed before it is used again", words: "http: server closed idle connection", want: true},
		{name: "closed when the request was read", late: true, words: "EOF"},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				go func() {
					defer server.Close()
					r := bufio.NewReader(server)
					http.ReadRequest(r)
					io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					if tt.late {
						if req, err := http.ReadRequest(r); err == nil {
							io.Copy(io.Discard, req.Body)
						}
						return
					}
					time.Sleep(time.Second)
				}()
				return client, nil
			}}
			defer base.CloseIdleConnections()
			resp, err := base.RoundTrip(post(t, t.Context(), "http://example.com", nil))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
				if !tt.late {
					time.Sleep(5 * time.Second)
				}
			}}
			_, err = base.RoundTrip(post(t, httptrace.WithClientTrace(t.Context(), trace), "http://example.com", onceReader()))
			if err == nil {
				t.Fatal("no error")
			}
			checkUnprocessed(t, err, tt.words, tt.want)
		})
	}
}

// What net/http says is believed as it came, as http.Client returns it, and with
// words before it that tell of no loss.
func TestUnprocessedWrapped(t *testing.T) {
	refused := errors.New("stream error: stream ID 3; REFUSED_STREAM; received from peer")
	unusable := errors.New("http2: client conn not usable")
	for _, tt := range []struct {
		err           error
		instead, bare bool // Unprocessed, and not sent to Of
	}{
		{refused, true, false}, // it may have come after the response's headers
		{&url.Error{Op: "Post", URL: "https://x", Err: refused}, true, true},
		{fmt.Errorf("send: %w", &url.Error{Op: "Post", URL: "https://x", Err: refused}), true, true},
		{unusable, true, true},
		{&url.Error{Op: "Post", URL: "https://x", Err: fmt.Errorf("base: %w", unusable)}, true, true},
		{fmt.Errorf("primary: unexpected EOF; backup: %w", unusable), false, false},
		{errors.Join(io.EOF, unusable), false, false},
		{errors.Join(unusable, unusable), false, true},
		{fmt.Errorf("the server says: %v", unusable), false, false},
		{errors.New("http2: Transport: cannot retry err [] after Request.Body was written; define Request.GetBody to avoid this error"), false, false},
		{errors.New("stream error: stream ID ; REFUSED_STREAM; received from peer"), false, false},
		{errors.New("stream error: stream ID 3; REFUSED_STREAM"), false, false}, // the client's own
		{io.EOF, false, false},
		{nil, false, false},
	} {
		if got := neterr.Unprocessed(tt.err); got != tt.instead {
			t.Errorf("given %v\ngot  %v, want %v", tt.err, got, tt.instead)
		}
		if _, sent := read(tt.err); sent == tt.bare {
			t.Errorf("given %v\ngot  sent %v of Of, want %v", tt.err, sent, !tt.bare)
		}
	}
}

func checkUnprocessed(t *testing.T, err error, words string, want bool) {
	t.Helper()
	if err.Error() != words {
		t.Errorf("got  %v\nwant %s", err, words)
	}
	if got := neterr.Unprocessed(err); got != want {
		t.Errorf("given %v\ngot  %v, want %v", err, got, want)
	}
	err = &url.Error{Op: "Post", URL: "https://example.com", Err: err}
	if kind, sent := read(err); sent == want || kind == "" {
		t.Errorf("given %v\ngot  %q sent %v, want a kind and sent %v", err, kind, sent, !want)
	}
}

func post(t *testing.T, ctx context.Context, u string, body io.ReadCloser) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", u, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Body, req.ContentLength = body, 4
	}
	return req
}
