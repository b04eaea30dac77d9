package enginetest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Early returns are requests sent after the client had finished reading a
// refusal, and before the time that it named; no others.
func TestEarlyReturns(t *testing.T) {
	inBubble(t, func() *Server { return NewGmail(Options{Faultless: true}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		id := s.Messages(mailbox)[0].ID
		get := func() *http.Request { return s.GetRequest(mailbox, id) }
		expect := func(what string, want int) {
			t.Helper()
			if got := s.Counts().EarlyReturns; got != want {
				t.Errorf("%s: %d early returns, want %d", what, got, want)
			}
		}
		for i := range 2 {
			w.do(mailbox, s.SendRequest(mailbox, fmt.Sprint(i)))
		}
		refused := w.send(mailbox, s.SendRequest(mailbox, "over"))
		if refused.StatusCode != 403 {
			t.Fatalf("status %d, want 403", refused.StatusCode)
		}
		if h := refused.Header.Get(refusalHeader); h != "" {
			t.Errorf("the client sees %s: %q", refusalHeader, h)
		}
		w.do(mailbox, get())
		expect("the refusal's body is unread", 0) // though the get was refused, too, and that was read
		// This one knows of the get's refusal.
		w.do(mailbox, get())
		expect("after a refusal was read", 1)
		io.Copy(io.Discard, refused.Body)
		refused.Body.Close()
		other := s.Mailboxes()[1]
		w.do(other, s.ListRequest(other, ""))
		expect("another mailbox", 1)
		time.Sleep(3 * time.Second)
		w.do(mailbox, get())
		expect("after the time named", 1)
	})
}

func TestRefusalEarly(t *testing.T) {
	never := moment{}
	at := func(ms int, seq int64) moment {
		return moment{time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond), seq}
	}
	tests := []struct {
		name       string
		read, sent moment
		want       bool
	}{
		{"before it was read", at(20, 2), at(15, 1), false},
		{"at that moment, before", at(20, 2), at(20, 1), false},
		{"at that moment, after", at(20, 1), at(20, 2), true},
		{"after it was read", at(20, 1), at(21, 2), true},
		{"just before the time named", at(20, 1), at(999, 2), true},
		{"at the time named", at(20, 1), at(1000, 2), false},
		{"never read", never, at(500, 1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &refusal{named: at(1000, 0).at, read: tt.read}
			if got := r.early(tt.sent); got != tt.want {
				t.Errorf("read %v, sent %v: early %t, want %t", tt.read, tt.sent, got, tt.want)
			}
			if got, ok := parseMoment(tt.sent.String()); !ok || got != tt.sent {
				t.Errorf("moment %q reads as %v, %t", tt.sent, got, ok)
			}
		})
	}
}

// recordedTB is a test that may fail.
type recordedTB struct {
	cleanups []func()
	failures []string
}

func (*recordedTB) Helper()            {}
func (r *recordedTB) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *recordedTB) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestFailOnEarlyReturn(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wait  time.Duration
		times int
		want  []string // in the failure; nil = none
	}{
		{"at the time named", time.Second, 1, nil},
		{"early", 400 * time.Millisecond, 1, []string{"microsoft_graph: requests that came back early: 1", "list of user1@contoso.example was sent 600ms too early: at 00:00:00.4", "had named 00:00:01"}},
		{"early, often", 0, 30, []string{"early: 30", "sent 1s too early"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func() *Server { return NewGraph(Options{Faultless: true, Latency: 1}) }, func(w *world) {
				s, mailbox := w.server, w.server.Mailboxes()[0]
				tb := &recordedTB{}
				s.FailOnEarlyReturn(tb)
				s.Inject(Throttled)
				w.do(mailbox, s.ListRequest(mailbox, ""))
				time.Sleep(tt.wait)
				for range tt.times {
					w.do(mailbox, s.ListRequest(mailbox, ""))
				}
				for _, f := range tb.cleanups {
					f()
				}
				text := strings.Join(tb.failures, "\n")
				if (text == "") != (tt.want == nil) || strings.Count(text, "\n") > maxEarlyTexts {
					w.t.Errorf("failed with %q, want %q", text, tt.want)
				}
				for _, want := range tt.want {
					if !strings.Contains(text, want) {
						w.t.Errorf("failed with %q, want %q in it", text, want)
					}
				}
				if _, err := w.rt.RoundTrip(s.ListRequest(mailbox, "")); err == nil {
					w.t.Error("the server is open after the test's end")
				}
			})
		})
	}
}
