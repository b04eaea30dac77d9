package enginetest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The same seed brings the same faults, in whatever order requests come.
func TestSeed(t *testing.T) {
	run := func(seed uint64, backwards bool) string {
		var out bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			s := NewNylas(Options{Seed: seed, Messages: 400})
			defer s.Close()
			w := &world{t: t, server: s, rt: NewTransport(s), tokens: map[string]string{}}
			mailbox := s.Mailboxes()[0]
			s.o.TokenLife = -1
			w.tokens[mailbox] = s.issue(mailbox)
			n := len(s.Messages(mailbox))
			answers := make([]string, n)
			for i := range n {
				if backwards {
					i = n - 1 - i
				}
				r := s.GetRequest(mailbox, s.Messages(mailbox)[i].ID)
				r.Header.Set("Authorization", "Bearer "+w.tokens[mailbox])
				resp, err := w.rt.RoundTrip(r)
				if err != nil {
					answers[i] = "lost"
					continue
				}
				answers[i] = resp.Status
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				time.Sleep(3 * time.Second) // until no throttle lasts
			}
			fmt.Fprint(&out, answers)
		})
		return out.String()
	}
	first := run(7, false)
	if again := run(7, true); again != first {
		t.Errorf("seed 7 forwards:  %s\nseed 7 backwards: %s", first, again)
	}
	if other := run(8, false); other == first {
		t.Errorf("seeds 7 and 8 bring the same faults: %s", other)
	}
	for _, want := range []string{"202", "429", "504", "lost"} {
		if !strings.Contains(first, want) {
			t.Errorf("seed 7 brings no %s: %s", want, first)
		}
	}
}

// Faults come about as often as stated, and no message meets more than three.
func TestFaultRates(t *testing.T) {
	for _, s := range []*Server{NewGmail(Options{}), NewGraph(Options{}), NewNylas(Options{}), NewWarpflow(Options{})} {
		m := s.boxes[s.Mailboxes()[0]]
		for _, o := range []op{opGet, opSend} {
			const n = 50_000
			got := map[string]int{}
			for i := range n {
				if f, ok := s.befallsLocked(m, call{op: o, id: fmt.Sprint(i)}, "1"); ok {
					got[string(f.Fault)]++
				}
			}
			want := map[string]float64{}
			for _, f := range s.Faults() {
				if f.Sends == (o == opSend) {
					want[string(f.Fault)] += f.Rate
				}
			}
			for name, rate := range want {
				if share := float64(got[name]) / n; share < 0.8*rate || share > 1.2*rate {
					t.Errorf("%s %s: %q befell %.2f %%, stated %.2f %%", s.Name(), o, name, 100*share, 100*rate)
				}
			}
			for i := range n {
				if f, ok := s.befallsLocked(m, call{op: o, id: fmt.Sprint(i)}, "4"); ok {
					t.Fatalf("%s %s: the fourth attempt for %d met %q", s.Name(), o, i, f.Fault)
				}
			}
		}
	}
}

// Injected faults come first and in order, one a request, also where chance has none.
func TestInject(t *testing.T) {
	for _, tt := range []struct {
		fault  Fault
		status int // 0 = no answer
		sent   int
		count  func(c Counts) int
	}{
		{OverQuota, 403, 0, nil},
		{Throttled, 403, 0, nil},
		{Overloaded, 429, 0, nil},
		{Unavailable, 503, 0, nil},
		{ServerError, 500, 0, nil},
		{TokenExpired, 401, 0, nil},
		{"no such fault", 400, 0, nil},
		{ConnectionLost, 0, 0, func(Counts) int { return 1 }},
		{ReplyLost, 0, 1, func(c Counts) int { return c.RepliesLost }},
		{FailedLate, 500, 1, nil},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			inBubble(t, func() *Server { return NewGmail(Options{Faultless: true}) }, func(w *world) {
				s, mailbox := w.server, w.server.Mailboxes()[0]
				s.Inject(tt.fault, Unavailable)
				send := func(id string) (status int) {
					r := s.SendRequest(mailbox, id)
					r.Header.Set("Authorization", "Bearer x")
					resp, err := w.rt.RoundTrip(r)
					if err != nil {
						return 0
					}
					defer resp.Body.Close()
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						t.Fatal(err)
					}
					return resp.StatusCode
				}
				first := send("1")
				time.Sleep(3 * time.Second)
				second, third := send("2"), send("3")
				if first != tt.status || second != 503 || third != 200 {
					w.t.Errorf("%q, then %q, then nothing injected: answered %d, %d, %d, want %d, 503, 200 (0 = not at all)", tt.fault, Unavailable, first, second, third, tt.status)
				}
				if n := s.Sent(mailbox, "1"); n != tt.sent {
					w.t.Errorf("%q: sent %d times, want %d", tt.fault, n, tt.sent)
				}
				c := s.Counts()
				n := c.Refused[tt.fault]
				if tt.count != nil {
					n = tt.count(c)
				}
				if tt.fault == Unavailable {
					n--
				}
				if n != 1 {
					w.t.Errorf("%q: counted %d times, want once: %+v", tt.fault, n, c)
				}
			})
		})
	}
	inBubble(t, func() *Server { return NewGraph(Options{Faultless: true}) }, func(w *world) {
		s, mailbox := w.server, w.server.Mailboxes()[0]
		s.Inject(Unavailable)
		s.Reset()
		if status, _, body := w.do(mailbox, s.ListRequest(mailbox, "")); status != 200 {
			w.t.Errorf("after Reset: status %d, want 200: %s", status, body)
		}
	})
}
