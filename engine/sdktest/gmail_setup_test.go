package sdktest

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// newGmail is Google's client above the engine; base is nil outside of tests.
func newGmail(ctx context.Context, eng *engine.Engine, base http.RoundTripper) (*gmail.Service, error) {
	client := &http.Client{Transport: eng.Transport(base)} // without a Timeout, which would end waits too
	return gmail.NewService(ctx, option.WithHTTPClient(client))
}

// getMessage gets a message of a mailbox. What became of the call is in the result, whatever
// error Google's client makes of it.
func getMessage(ctx context.Context, s *gmail.Service, mailbox, id string) (*gmail.Message, engine.Result, error) {
	var out engine.Result
	ctx = engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: mailbox}, Outcome: &out})
	m, err := s.Users.Messages.Get("me", id).Context(ctx).Do()
	return m, out, err
}

// sendMessage sends a message. Raw is in the body of one request. Media of more than a chunk
// would go by several, which Google's client repeats by itself: ChunkSize(0) sends it in one.
func sendMessage(ctx context.Context, s *gmail.Service, mailbox string, mail []byte) (engine.Result, error) {
	var out engine.Result
	ctx = engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: mailbox}, Outcome: &out})
	send := s.Users.Messages.Send("me", &gmail.Message{Raw: base64.URLEncoding.EncodeToString(mail)})
	if len(mail) > 3<<20 {
		send = s.Users.Messages.Send("me", &gmail.Message{}).
			Media(bytes.NewReader(mail), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(0))
	}
	_, err := send.Context(ctx).Do()
	return out, err
}

// With this set-up a call is sent as often as the policy says, and handed back without a sleep.
func TestGmailSetUp(t *testing.T) {
	get := func(ctx context.Context, s *gmail.Service) (engine.Result, error) {
		_, out, err := getMessage(ctx, s, "ann", "1")
		return out, err
	}
	send := func(size int) func(context.Context, *gmail.Service) (engine.Result, error) {
		return func(ctx context.Context, s *gmail.Service) (engine.Result, error) {
			return sendMessage(ctx, s, "ann", []byte("Subject: hello\r\n\r\n"+strings.Repeat("x", size)))
		}
	}
	chunks := func(ctx context.Context, s *gmail.Service) (out engine.Result, err error) {
		ctx = engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: "ann"}, Outcome: &out})
		_, err = s.Users.Messages.Send("me", &gmail.Message{}).Media(strings.NewReader(strings.Repeat("x", 600<<10)),
			googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(256<<10)).Context(ctx).Do()
		return out, err
	}
	for _, tt := range []struct {
		name   string
		call   func(context.Context, *gmail.Service) (engine.Result, error)
		status int
		header string
		want   int // requests; -1 = more than one
		as     string
		defers bool
	}{
		{name: "get, told to wait for long", call: get, status: 429, header: "600", want: 1, defers: true},
		{name: "get, used up", call: get, status: 503, want: 7, as: engine.AsExhausted},
		{name: "get, gone", call: get, status: 404, want: 1, as: "gone"},
		{name: "send, told to wait for long", call: send(10), status: 429, header: "600", want: 1, defers: true},
		{name: "send, lost", call: send(10), status: 503, want: 1, as: engine.AsAmbiguous},
		{name: "large send, told to wait for long", call: send(5 << 20), status: 429, header: "600", want: 1, defers: true},
		{name: "large send, lost", call: send(5 << 20), status: 503, want: 1, as: engine.AsAmbiguous},
		{name: "in chunks: repeated by Google's client", call: chunks, status: 503, want: -1, as: engine.AsAmbiguous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			under(t, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("uploadType") == "resumable" && r.URL.Query().Get("upload_id") == "" {
					rw.Header().Set("Location", "https://gmail.googleapis.com/upload/gmail/v1/users/me/messages/send?uploadType=resumable&upload_id=1")
					return
				}
				requests++
				rw.Header().Set("Content-Type", "application/json")
				if tt.header != "" {
					rw.Header().Set("Retry-After", tt.header)
				}
				rw.WriteHeader(tt.status)
			}, func(w *world) {
				s, err := newGmail(w.ctx, w.engine, w.base0)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				out, err := tt.call(w.ctx, s)
				took := time.Since(began)
				if err == nil || out.Decision.As != tt.as || out.Decision.Defer != tt.defers || tt.defers && took > time.Second {
					t.Errorf("error %v, outcome %q, handed back %v after %v; want an error, %q, %v", err, out.Decision.As, out.Decision.Defer, took, tt.as, tt.defers)
				}
				if tt.want < 0 && requests < 2 || tt.want >= 0 && requests != tt.want {
					t.Errorf("%d requests were sent, want %d (-1: more than one)", requests, tt.want)
				}
			})
		})
	}
}
