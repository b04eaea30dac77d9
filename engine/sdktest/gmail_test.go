package sdktest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// gmailService is Google's own client, above the engine's transport.
func (w *world) gmailService(client *http.Client) *gmail.Service {
	w.t.Helper()
	s, err := gmail.NewService(w.ctx, option.WithHTTPClient(client), option.WithEndpoint("http://gmail.googleapis.com/"))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// syncGmail lists every mailbox and fetches its messages, as a sync worker does.
func (w *world) syncGmail(s *gmail.Service, workers int) {
	w.t.Helper()
	var boxes sync.WaitGroup
	for _, mailbox := range w.server.Mailboxes() {
		boxes.Go(func() {
			ctx := engine.WithAccount(w.ctx, mailbox)
			want := map[string]enginetest.Message{}
			for _, m := range w.server.Messages(mailbox) {
				want[m.ID] = m
			}
			var ids []string
			err := s.Users.Messages.List(mailbox).MaxResults(50).Pages(ctx, func(page *gmail.ListMessagesResponse) error {
				for _, m := range page.Messages {
					ids = append(ids, m.Id)
				}
				return nil
			})
			if err != nil || len(ids) != len(want) {
				w.t.Errorf("%s: listed %d messages, error %v, want %d", mailbox, len(ids), err, len(want))
			}
			each(workers, ids, func(id string) {
				m, err := s.Users.Messages.Get(mailbox, id).Format("full").Context(ctx).Do()
				switch {
				case want[id].Gone:
					if e, ok := errors.AsType[*googleapi.Error](err); !ok || e.Code != 404 || len(e.Errors) != 1 || e.Errors[0].Reason != "notFound" {
						w.t.Errorf("%s: deleted message %s: %#v, want a googleapi.Error 404", mailbox, id, err)
					}
				case err != nil:
					w.t.Errorf("%s: message %s: %v", mailbox, id, err)
				default:
					if subject := m.Payload.Headers[1].Value; m.Id != id || subject != want[id].Subject {
						w.t.Errorf("%s: message %s came as %s, subject %q, want %q", mailbox, id, m.Id, subject, want[id].Subject)
					}
				}
			})
		})
	}
	boxes.Wait()
}

func TestGmailSync(t *testing.T) {
	inBubble(t, func() *enginetest.Server {
		return enginetest.NewGmail(enginetest.Options{Seed: 1, Messages: 150, TokenLife: 60})
	}, func(w *world) {
		w.syncGmail(w.gmailService(w.client), 8)
		w.checkServer()
		if c := w.server.Counts(); c.Refreshes == 0 || w.told(engine.NoticeReauth) == 0 {
			t.Errorf("no token was refreshed: %+v", c)
		}
	})
}

// The client as Google's documentation builds it: oauth2.Transport above ours.
func TestGmailSyncWithOAuth2Transport(t *testing.T) {
	inBubble(t, func() *enginetest.Server { return enginetest.NewGmail(enginetest.Options{Seed: 2, Mailboxes: 1}) }, func(w *world) {
		client := &http.Client{Transport: &oauth2.Transport{
			Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"}),
			Base:   w.client.Transport,
		}}
		w.syncGmail(w.gmailService(client), 8)
		w.checkServer()
	})
}

// One connection a host: a failed body that is not closed would block all.
func TestGmailSyncOverOneConnection(t *testing.T) {
	inBubble(t, func() *enginetest.Server { return enginetest.NewGmail(enginetest.Options{Seed: 3, Mailboxes: 1}) }, func(w *world) {
		w.base.MaxConnsPerHost = 1
		w.syncGmail(w.gmailService(w.client), 8)
		w.checkServer()
	})
}

// Sends are repeated where the server refused them, although Google's client
// gives them no GetBody, and never where they may have been done.
func TestGmailSend(t *testing.T) {
	inBubble(t, func() *enginetest.Server { return enginetest.NewGmail(enginetest.Options{Seed: 4, Messages: 1}) }, func(w *world) {
		s := w.gmailService(w.client)
		var mu sync.Mutex
		ended := map[string]int{}
		var boxes sync.WaitGroup
		for _, mailbox := range w.server.Mailboxes() {
			boxes.Go(func() {
				ctx := engine.WithAccount(w.ctx, mailbox)
				var ids []string
				for i := range 60 {
					ids = append(ids, fmt.Sprintf("%d@%s", i, mailbox))
				}
				each(4, ids, func(id string) {
					raw := "From: <" + mailbox + ">\r\nMessage-ID: <" + id + ">\r\nSubject: hello\r\n\r\nhello\r\n"
					_, err := s.Users.Messages.Send(mailbox, &gmail.Message{Raw: base64.URLEncoding.EncodeToString([]byte(raw))}).Context(ctx).Do()
					n := w.server.Sent(mailbox, id)
					end := "sent"
					if e, ok := errors.AsType[*googleapi.Error](err); ok {
						end = fmt.Sprintf("HTTP %d", e.Code)
					} else if e, ok := errors.AsType[*engine.GiveUpError](err); ok {
						end = e.Decision.As
					} else if err != nil {
						end = err.Error()
					}
					if n > 1 || err == nil && n != 1 {
						t.Errorf("message %s was sent %d times, and the client was told %v", id, n, err)
					}
					mu.Lock()
					ended[end]++
					mu.Unlock()
				})
			})
		}
		boxes.Wait()
		c := w.server.Counts()
		if ended["sent"] == 0 || ended["HTTP 500"] == 0 || ended["ambiguous"] == 0 || len(ended) != 3 {
			t.Errorf("sends ended so: %v, want some sent, HTTP 500 and ambiguous, and nothing else", ended)
		}
		if c.Refused[enginetest.Throttled] == 0 {
			t.Errorf("no send was throttled, so none was repeated: %+v", c)
		}
		w.checkServer()
	})
}

// What Google's client makes of a final failure is its own error, whole.
func TestGmailErrors(t *testing.T) {
	body := func(code int, reason string) string {
		return fmt.Sprintf(`{"error":{"code":%d,"message":"No.","errors":[{"domain":"global","reason":%q,"message":"No."}]}}`, code, reason)
	}
	for _, tt := range []struct {
		name     string
		status   int
		reason   string
		header   string
		repeated bool
		as       string
		deferred time.Duration // at least
	}{
		{name: "permanent", status: 400, reason: "failedPrecondition", as: engine.AsPermanent},
		{name: "gone", status: 404, reason: "notFound", as: "gone"},
		{name: "used up", status: 503, reason: "backendError", repeated: true, as: engine.AsExhausted},
		{name: "deferred", status: 429, reason: "rateLimitExceeded", header: "600", deferred: 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			under(t, func(rw http.ResponseWriter, _ *http.Request) {
				requests++
				rw.Header().Set("Content-Type", "application/json; charset=UTF-8")
				if tt.header != "" {
					rw.Header().Set("Retry-After", tt.header)
				}
				rw.WriteHeader(tt.status)
				_, _ = rw.Write([]byte(body(tt.status, tt.reason)))
			}, func(w *world) {
				var out engine.Result
				_, err := w.gmailService(w.client).Users.Messages.Get("me", "1").Context(engine.WithCall(w.ctx, engine.Call{Keys: limiter.Keys{Account: "ann"}, Outcome: &out})).Do()
				e, ok := errors.AsType[*googleapi.Error](err)
				if !ok || e.Code != tt.status || e.Body != body(tt.status, tt.reason) || len(e.Errors) != 1 || e.Errors[0].Reason != tt.reason || e.Header.Get("Retry-After") != tt.header {
					t.Errorf("error %#v, want a googleapi.Error of %d with its header and body", err, tt.status)
				}
				if (requests > 1) != tt.repeated {
					t.Errorf("sent %d requests, want more than one: %v", requests, tt.repeated)
				}
				if out.Decision.As != tt.as || out.Decision.Defer != (tt.deferred > 0) || tt.deferred > 0 && time.Until(out.Until) < tt.deferred {
					t.Errorf("outcome %q, deferred %v until in %v, want %q, %v", out.Decision.As, out.Decision.Defer, time.Until(out.Until), tt.as, tt.deferred)
				}
			})
		})
	}
}

// A client's timeout is a deadline as any other: no sleep that outlasts it.
func TestGmailClientTimeout(t *testing.T) {
	under(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "30")
		rw.WriteHeader(429)
	}, func(w *world) {
		client := *w.client
		client.Timeout = 10 * time.Second
		start := time.Now()
		_, err := w.gmailService(&client).Users.Messages.Get("me", "1").Context(w.ctx).Do()
		if e, ok := errors.AsType[*googleapi.Error](err); !ok || e.Code != 429 {
			t.Errorf("error %v, want a googleapi.Error 429", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want none of the ten seconds", took)
		}
	})
}

// A call that is cancelled while it waits ends at once.
func TestGmailCancel(t *testing.T) {
	under(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Retry-After", "30")
		rw.WriteHeader(429)
	}, func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		time.AfterFunc(7*time.Second, cancel)
		start := time.Now()
		_, err := w.gmailService(w.client).Users.Messages.Get("me", "1").Context(ctx).Do()
		if took := time.Since(start); !errors.Is(err, context.Canceled) || took != 7*time.Second {
			t.Errorf("error %v after %v, want %v after 7s", err, took, context.Canceled)
		}
	})
}

// Google's client retries the chunks of an upload by itself. That is told once.
func TestGmailNestedRetries(t *testing.T) {
	var sizes []int
	refuse := 2 // chunks, each as often as the engine tries it
	under(t, func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("upload_id") == "":
			rw.Header().Set("Location", "http://gmail.googleapis.com/upload/gmail/v1/users/me/messages/send?uploadType=resumable&upload_id=1")
			return
		case refuse > 0:
			refuse--
			rw.WriteHeader(503)
			return
		}
		sizes = append(sizes, int(r.ContentLength))
		if strings.HasSuffix(r.Header.Get("Content-Range"), "/*") {
			rw.Header().Set("X-Http-Status-Code-Override", "308")
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(`{"id":"m1"}`))
	}, func(w *world) {
		mail := strings.NewReader("Subject: hello\r\n\r\n" + strings.Repeat("x", 600<<10))
		ctx := engine.WithCall(w.ctx, engine.Call{Keys: limiter.Keys{Account: "ann"}, MaxAttempts: 1})
		m, err := w.gmailService(w.client).Users.Messages.Send("me", &gmail.Message{}).
			Media(mail, googleapi.ChunkSize(256<<10), googleapi.ContentType("message/rfc822")).Context(ctx).Do()
		if err != nil || m.Id != "m1" {
			t.Fatalf("got %+v, %v", m, err)
		}
		sum := 0
		for _, n := range sizes {
			sum += n
		}
		if int64(sum) != mail.Size() {
			t.Errorf("the server got %d bytes in chunks of %v, want %d", sum, sizes, mail.Size())
		}
		if n := w.told(engine.NoticeNested); n != 1 {
			t.Errorf("nested retries were told %d times, want once", n)
		}
	})
}
