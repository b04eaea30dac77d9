package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// onceBody is a request's body that counts how often it is closed.
type onceBody struct {
	io.Reader
	closed int
}

func (b *onceBody) Close() error { b.closed++; return nil }

// soughtBody can also be sought.
type soughtBody struct {
	onceBody
	io.Seeker
}

// SDKs make requests without GetBody; they are repeated all the same.
func TestRequestWithoutGetBody(t *testing.T) {
	const text = "mail"
	large := strings.Repeat("x", 4<<20+1)
	for _, tt := range []struct {
		name   string
		body   string
		length int64 // Content-Length; -1 = not known
		seeks  bool
		failed error // of reading the body
		sent   int
		status int
	}{
		{name: "known length", body: text, length: 4, sent: 2, status: 200},
		{name: "known length, and more than that", body: text + "more", length: 4, sent: 2, status: 200},
		{name: "a stream", body: text, length: -1, sent: 1, status: 429},
		{name: "unknown length, can be sought", body: text, length: -1, seeks: true, sent: 2, status: 200},
		{name: "unknown length as zero, can be sought", body: text, length: 0, seeks: true, sent: 2, status: 200},
		{name: "too large", body: large, length: int64(len(large)), sent: 1, status: 429},
		{name: "too large, can be sought", body: large, length: -1, seeks: true, sent: 1, status: 429},
		{name: "unreadable", body: text, length: 10, failed: errors.New("disk gone"), sent: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(reply{status: 429}, reply{status: 200})
				req := request(t, t.Context(), "POST", "/send", "")
				rd := strings.NewReader(tt.body)
				once := &onceBody{Reader: rd}
				req.Body = once
				if tt.failed != nil {
					once.Reader = io.MultiReader(rd, iotest.ErrReader(tt.failed))
				}
				if tt.seeks {
					sought := &soughtBody{onceBody: onceBody{Reader: rd}, Seeker: rd}
					req.Body, once = sought, &sought.onceBody
				}
				req.ContentLength = tt.length
				before := *req
				resp, err := testEngine(t, Options{}).Transport(s).RoundTrip(req)
				if !errors.Is(err, tt.failed) || (err == nil) != (tt.failed == nil) {
					t.Fatalf("error %v, want %v", err, tt.failed)
				}
				if err == nil {
					resp.Body.Close()
					if resp.StatusCode != tt.status {
						t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
					}
				}
				if len(s.sent) != tt.sent {
					t.Errorf("sent %d requests, want %d", len(s.sent), tt.sent)
				}
				for i, got := range s.sent {
					if want := "POST /send " + tt.body; !strings.HasPrefix(want, got) || got != s.sent[0] {
						t.Errorf("request %d is %.40q, want %.40q", i+1, got, want)
					}
				}
				if once.closed == 0 {
					t.Error("the body was not closed")
				}
				if req.Body != before.Body || req.GetBody != nil || req.ContentLength != before.ContentLength {
					t.Error("the caller's request was changed")
				}
			})
		})
	}
}

// A stream is sent as it comes: nothing waits for its end.
func TestRequestStreamIsNotReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		req := request(t, t.Context(), "POST", "/send", "")
		req.Body, req.ContentLength = r, -1
		tr := testEngine(t, Options{}).Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			go io.WriteString(w, "first")
			b := make([]byte, 5)
			if _, err := io.ReadFull(req.Body, b); err != nil {
				return nil, err
			}
			go w.Close() // only now, when the server has begun to answer
			rest, err := io.ReadAll(req.Body)
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(b) + string(rest)))}, err
		}))
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "first" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
	})
}

// A request's body that does not come ends with the context.
func TestBodyThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		var out Result
		ctx, cancel := context.WithTimeout(WithCall(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, Outcome: &out}), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "POST", "http://api.test/send", pr)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 10
		start := time.Now()
		_, err = testEngine(t, Options{}).Transport(newServer()).RoundTrip(req)
		gave, ok := errors.AsType[*GiveUpError](err)
		if took := time.Since(start); !ok || gave.Decision.As != AsDeadline || !errors.Is(err, context.DeadlineExceeded) || took != time.Second || out.Decision.As != AsDeadline {
			t.Errorf("after %v: %v, outcome %q", took, err, out.Decision.As)
		}
	})
}
