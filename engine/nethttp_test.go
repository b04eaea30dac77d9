package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// netHTTPErrors are the error texts of net/http, with something in the place of
// what is filled in.
func netHTTPErrors(t testing.TB) (texts []string) {
	t.Helper()
	f, err := os.Open("../internal/nethttp/nethttp.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if s := lines.Text(); !strings.HasPrefix(s, "#") {
			texts = append(texts, strings.ReplaceAll(s, "…", `"x"`))
		}
	}
	for _, code := range []string{"NO_ERROR", "PROTOCOL_ERROR", "FLOW_CONTROL_ERROR", "COMPRESSION_ERROR", "unknown error code 0xff"} {
		texts = append(texts, "connection error: "+code, "stream error: stream ID 7; "+code, "stream error: stream ID 7; "+code+"; received from peer",
			"http2: connection error: "+code+": bad", "http2: Transport received GOAWAY from server ErrCode:"+code,
			"stream error: stream ID 7; "+code+"; invalid header field name \"x y\"",
			"http2: Transport: cannot retry err [stream error: stream ID 7; "+code+"; received from peer] after Request.Body was written; define Request.GetBody to avoid this error")
	}
	return append(texts, "malformed HTTP response \"unsupported protocol scheme\"", "malformed HTTP response \"net/http: invalid method\"")
}

// outcomeOf puts what became of a call in a word.
func outcomeOf(err error, attempts int) string {
	if gave, ok := errors.AsType[*GiveUpError](err); ok {
		return fmt.Sprintf("%s after %d", gave.Decision.As, attempts)
	}
	return fmt.Sprintf("%v after %d", err, attempts)
}

// On equal facts Do and Transport agree, whatever net/http's words are and
// however they are wrapped; and what is not repeated is called ambiguous, but for
// what is about the request itself or was never looked at.
func TestDoAgreesWithTransport(t *testing.T) {
	texts := netHTTPErrors(t)
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		ways := []string{"Transport", "Do", "Do, wrapped", "Do, of http.Client", "Do, of http.Client, wrapped"}
		wraps := []func(error) error{
			nil,
			func(err error) error { return err },
			func(err error) error { return fmt.Errorf("sync: %w", err) },
			func(err error) error { return &url.Error{Op: "Post", URL: "https://api.test/x", Err: err} },
			func(err error) error {
				return fmt.Errorf("sync: %w", &url.Error{Op: "Post", URL: "https://api.test/x", Err: err})
			},
		}
		for _, text := range texts {
			for _, method := range []string{"GET", "POST"} {
				want := ""
				for i, wrap := range wraps {
					time.Sleep(time.Minute) // for the budget
					attempts := 0
					if wrap == nil {
						base := roundTripper(func(*http.Request) (*http.Response, error) {
							attempts++
							return nil, errors.New(text)
						})
						_, err := e.Transport(base).RoundTrip(request(t, t.Context(), method, "/things", ""))
						want = outcomeOf(err, attempts)
						continue
					}
					err := e.Do(t.Context(), Call{Provider: "http", Method: method}, func(context.Context) error {
						attempts++
						return wrap(errors.New(text))
					})
					if got := outcomeOf(err, attempts); got != want {
						t.Errorf("%s, %s\ngot  %s in %s\nwant %s as in %s", method, text, got, ways[i], want, ways[0])
					}
				}
			}
		}
	})
}

// A round trip that ended in an error is a lost request, whatever the words.
func TestLostInWhateverWords(t *testing.T) {
	for _, tt := range []struct {
		err  error
		get  string
		post string
	}{
		{errors.New("connection error: PROTOCOL_ERROR"), "exhausted after 4", "ambiguous after 1"},
		{errors.New("connection error: FLOW_CONTROL_ERROR"), "exhausted after 4", "ambiguous after 1"},
		{errors.New("connection error: COMPRESSION_ERROR"), "exhausted after 4", "ambiguous after 1"},
		{errors.New("http2: frame too large"), "exhausted after 4", "ambiguous after 1"},
		{errors.New("http2: failed reading the frame payload: http2: frame too large, note that the frame header looked like an HTTP/1.1 header"), "exhausted after 4", "ambiguous after 1"},
		{errors.New(`malformed HTTP response "net/http: invalid method"`), "exhausted after 4", "ambiguous after 1"},
		{errors.New(`stream error: stream ID 1; PROTOCOL_ERROR; invalid header field name "x y"`), "exhausted after 4", "ambiguous after 1"},
		{errors.New("the moon is in the wrong place"), "exhausted after 4", "ambiguous after 1"},
		{errors.New(""), "exhausted after 4", "ambiguous after 1"},
		{errors.New(`unsupported protocol scheme "ftp"`), "permanent after 1", "permanent after 1"},
		{errors.New("http: ContentLength=10 with Body length 3"), "permanent after 1", "permanent after 1"},
		{fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", errors.New("http: ContentLength=10 with Body length 3")), "permanent after 1", "permanent after 1"},
		{context.Canceled, "canceled after 1", "canceled after 1"},
		{&net.OpError{Op: "dial", Err: errors.New("x")}, "exhausted after 4", "exhausted after 4"},
	} {
		for method, want := range map[string]string{"GET": tt.get, "POST": tt.post} {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{})
				attempts := 0
				base := roundTripper(func(*http.Request) (*http.Response, error) {
					attempts++
					return nil, tt.err
				})
				_, err := e.Transport(base).RoundTrip(request(t, t.Context(), method, "/things", ""))
				if got := outcomeOf(err, attempts); got != want {
					t.Errorf("%s, %v\ngot  %s: %v\nwant %s", method, tt.err, got, err, want)
				}
			})
		}
	}
}
