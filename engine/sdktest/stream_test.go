package sdktest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
)

// large is a body of n bytes that no compression would make smaller.
func large(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// overLoopback runs f with a client of an engine whose every connection goes
// to a real server with that handler.
func overLoopback(t *testing.T, handler http.HandlerFunc, f func(w *world)) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	base := server.Client().Transport.(*http.Transport).Clone()
	base.MaxConnsPerHost = 1
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}
	defer base.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a hang ends the test
	defer cancel()
	w := &world{t: t, ctx: ctx}
	w.newEngine(base)
	f(w)
}

func TestGmailLargeMessage(t *testing.T) {
	raw := base64.URLEncoding.EncodeToString(large(3 << 20))
	overLoopback(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json; charset=UTF-8")
		_ = json.NewEncoder(rw).Encode(map[string]string{"id": "1", "raw": raw})
	}, func(w *world) {
		s := w.gmailService(w.client)
		for range 3 { // one connection: it must have come back
			m, err := s.Users.Messages.Get("me", "1").Format("raw").Context(w.ctx).Do()
			if err != nil {
				t.Fatal(err)
			}
			if m.Raw != raw {
				t.Errorf("got %d bytes, want the %d of the message", len(m.Raw), len(raw))
			}
		}
	})
}

// A download comes through as it is sent. The server sends its second half
// only when the client has read the first, so a body that is read ahead of its
// reader would wait for ever.
func TestDownloadIsStreamed(t *testing.T) {
	const half = 4 << 20
	data := large(2 * half)
	firstRead := make(chan struct{})
	overLoopback(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/octet-stream")
		rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = rw.Write(data[:half])
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-firstRead:
		case <-r.Context().Done():
			return
		}
		_, _ = rw.Write(data[half:])
	}, func(w *world) {
		ctx := engine.WithAccount(w.ctx, "ann")
		req, err := http.NewRequestWithContext(ctx, "GET", "http://graph.microsoft.com/v1.0/users/ann/messages/1/$value", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.ContentLength != int64(len(data)) {
			t.Errorf("Content-Length %d, want %d", resp.ContentLength, len(data))
		}
		got := sha256.New()
		if _, err := io.CopyN(got, resp.Body, half); err != nil {
			t.Fatal(err)
		}
		close(firstRead)
		if _, err := io.Copy(got, resp.Body); err != nil {
			t.Fatal(err)
		}
		if want := sha256.Sum256(data); string(got.Sum(nil)) != string(want[:]) {
			t.Error("the bytes differ")
		}
	})
}

// slowBody is a body of one byte a read, which is there at once while the
// attempt's context lasts.
type slowBody struct {
	ctx context.Context
	n   int
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	if b.n == 0 {
		return 0, io.EOF
	}
	b.n--
	p[0] = 'x'
	return 1, nil
}

func (*slowBody) Close() error { return nil }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A reader that takes its time between reads is not cut off: attempt_timeout
// runs only while somebody waits for the server.
func TestSlowReaderIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ctx: t.Context()}
		w.newEngine(roundTripper(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: &slowBody{req.Context(), 20}, Request: req}, nil
		}))
		req, err := http.NewRequestWithContext(w.ctx, "GET", "http://gmail.googleapis.com/gmail/v1/users/me/messages/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		for b := make([]byte, 16); ; {
			time.Sleep(10 * time.Minute)
			if _, err := resp.Body.Read(b); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		resp.Body.Close()
		w.idle()
	})
}
