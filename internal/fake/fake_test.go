package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is a server behind in-memory connections, and a client for it.
type world struct {
	t      *testing.T
	server *Server
	base   *http.Transport
	rt     http.RoundTripper
	tokens map[string]string
}

// inBubble runs f in a synctest bubble with a server of its own, whose clock is the bubble's.
func inBubble(t *testing.T, server func() *Server, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := server()
		network := ListenPipe(s)
		w := &world{t: t, server: s, base: network.Transport(), tokens: map[string]string{}}
		w.rt = Stamp(w.base, s)
		for _, m := range s.Mailboxes() {
			w.tokens[m] = s.Issue(m)
		}
		f(w)
		w.base.CloseIdleConnections()
		network.Close()
	})
}

// send sends a request and returns the response, unread.
func (w *world) send(mailbox string, r *http.Request) *http.Response {
	w.t.Helper()
	r.Header.Set("Authorization", "Bearer "+w.tokens[mailbox])
	resp, err := w.rt.RoundTrip(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return resp
}

// do sends a request, reads the answer to its end and closes it.
func (w *world) do(mailbox string, r *http.Request) (int, http.Header, string) {
	w.t.Helper()
	resp := w.send(mailbox, r)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: body: %v", r.Method, r.URL, err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// all runs the servers of every provider through f.
func all(t *testing.T, o Options, f func(t *testing.T, w *world)) {
	for _, make := range []func(Options) *Server{NewGmail, NewGraph, NewNylas, NewWarpflow} {
		t.Run(make(o).Name(), func(t *testing.T) {
			inBubble(t, func() *Server { return make(o) }, func(w *world) { f(w.t, w) })
		})
	}
}

func TestListGetSendFind(t *testing.T) {
	all(t, Options{Messages: 120, Faultless: true, TokenLife: -1}, func(t *testing.T, w *world) {
		s, mailbox := w.server, w.server.Mailboxes()[1]
		var ids []string
		pages := 0
		for page := ""; ; pages++ {
			status, _, body := w.do(mailbox, s.ListRequest(mailbox, page))
			if status != 200 {
				t.Fatalf("list page %q: status %d: %s", page, status, body)
			}
			got, next, err := s.ParseList([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, got...)
			if next == "" {
				break
			}
			page = next
			time.Sleep(time.Second) // stay inside Gmail's bucket
		}
		messages := s.Messages(mailbox)
		if len(ids) != len(messages) || pages != 2 {
			t.Errorf("listed %d messages on %d pages, want %d on 3", len(ids), pages+1, len(messages))
		}
		status, _, body := w.do(mailbox, s.GetRequest(mailbox, ids[7]))
		m, err := s.ParseMessage([]byte(body))
		if status != 200 || err != nil || m.ID != messages[7].ID || m.Subject != messages[7].Subject {
			t.Errorf("get: status %d, message %+v, err %v, want %+v", status, m, err, messages[7])
		}

		find := func() int {
			status, _, body := w.do(mailbox, s.FindRequest(mailbox, "a.b@c"))
			ids, _, err := s.ParseList([]byte(body))
			if status != 200 || err != nil {
				t.Fatalf("find: status %d, err %v: %s", status, err, body)
			}
			return len(ids)
		}
		if n := find(); n != 0 {
			t.Errorf("found %d messages before the send, want 0", n)
		}
		for want := 1; want <= 2; want++ {
			status, _, body := w.do(mailbox, s.SendRequest(mailbox, "a.b@c"))
			if status != 200 && status != 202 {
				t.Fatalf("send: status %d: %s", status, body)
			}
			if got := s.Sent(mailbox, "a.b@c"); got != want {
				t.Errorf("after send %d the server counts %d deliveries", want, got)
			}
			if n := find(); n != 1 {
				t.Errorf("found %d messages after send %d, want 1", n, want)
			}
		}
		c := s.Count()
		if c.DuplicateSend != 1 || c.RefusedTotal() != 0 || c.EarlyRetries != 0 {
			t.Errorf("count %+v, want 1 duplicate send, no refusal, no early retry", c)
		}
	})
}

func TestUnknown(t *testing.T) {
	all(t, Options{Faultless: true, TokenLife: -1}, func(t *testing.T, w *world) {
		s, mailbox := w.server, w.server.Mailboxes()[0]
		root := request(http.MethodGet, s.Host(), "/", nil, nil)
		for name, r := range map[string]*http.Request{
			"message": s.GetRequest(mailbox, "none"),
			"mailbox": s.ListRequest("nobody", ""),
			"path":    root,
		} {
			if status, _, body := w.do(mailbox, r); status != 404 {
				t.Errorf("unknown %s: status %d, want 404: %s", name, status, body)
			}
		}
		if status, _, body := w.do(mailbox, s.ListRequest(mailbox, "-5")); status != 400 {
			t.Errorf("page -5: status %d, want 400: %s", status, body)
		}
		bad := s.SendRequest(mailbox, "x")
		bad.Body = io.NopCloser(strings.NewReader("not JSON"))
		bad.ContentLength = 8
		if status, _, body := w.do(mailbox, bad); status != 400 {
			t.Errorf("send without an identity: status %d, want 400: %s", status, body)
		}
		r := s.ListRequest(mailbox, "")
		w.tokens[mailbox] = ""
		if status, _, body := w.do(mailbox, r); status != 401 {
			t.Errorf("no token: status %d, want 401: %s", status, body)
		}
	})
}

// Gmail lets 250 + 250·t units through, refuses with the instant in the
// message and no header, and everything until then.
func TestGmailQuota(t *testing.T) {
	inBubble(t, func() *Server { return NewGmail(Options{Faultless: true}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		id := s.Messages(mailbox)[0].ID
		for i := range 2 { // two sends at 100 units
			if status, _, body := w.do(mailbox, s.SendRequest(mailbox, fmt.Sprint(i))); status != 200 {
				t.Fatalf("send %d: status %d: %s", i, status, body)
			}
		}
		status, header, body := w.do(mailbox, s.SendRequest(mailbox, "3"))
		if status != 403 || header.Get("Retry-After") != "" {
			t.Fatalf("third send: status %d, Retry-After %q, want 403 without: %s", status, header.Get("Retry-After"), body)
		}
		var e gmailError
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		_, at, ok := strings.Cut(e.Error.Message, "Retry after ")
		named, err := time.Parse(time.RFC3339, at)
		if !ok || err != nil || e.Error.Errors[0].Reason != "rateLimitExceeded" || e.Error.Status != "PERMISSION_DENIED" {
			t.Fatalf("third send: %s", body)
		}
		if d := time.Until(named); d < 1900*time.Millisecond || d > 2*time.Second {
			t.Errorf("told to come back in %v, want about 2s", d)
		}
		time.Sleep(time.Until(named) - time.Millisecond)
		if status, _, body := w.do(mailbox, s.GetRequest(mailbox, id)); status != 403 {
			t.Errorf("a get before the time named: status %d, want 403: %s", status, body)
		}
		time.Sleep(time.Until(named))
		if status, _, body := w.do(mailbox, s.GetRequest(mailbox, id)); status != 200 {
			t.Errorf("a get at the time named: status %d, want 200: %s", status, body)
		}
		other := s.Mailboxes()[1]
		if status, _, body := w.do(other, s.ListRequest(other, "")); status != 200 {
			t.Errorf("another user: status %d, want 200: %s", status, body)
		}
		c := s.Count()
		if c.Refused["quota"] != 1 || c.Refused["throttled"] != 1 || c.EarlyRetries != 1 {
			t.Errorf("refused %v, early retries %d, want 1 quota, 1 throttled, 1 early", c.Refused, c.EarlyRetries)
		}
		if c.PeakUnitsPerSecond != 300 || c.UnitsLimit != 500 {
			t.Errorf("peak %d units of %d, want 300 of 500", c.PeakUnitsPerSecond, c.UnitsLimit)
		}
	})
}

// Graph serves four requests on a mailbox at once and refuses the fifth.
func TestGraphConcurrency(t *testing.T) {
	for n, want := range map[int]map[int]int{4: {200: 4}, 5: {200: 4, 429: 1}} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inBubble(t, func() *Server { return NewGraph(Options{Faultless: true}) }, func(w *world) {
				t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
				var mu sync.Mutex
				got := map[int]int{}
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						status, header, body := w.do(mailbox, s.GetRequest(mailbox, s.Messages(mailbox)[i].ID))
						mu.Lock()
						defer mu.Unlock()
						got[status]++
						if status == 429 && (header.Get("Retry-After") != "1" || !strings.Contains(body, `"ApplicationThrottled"`)) {
							t.Errorf("refused with Retry-After %q: %s", header.Get("Retry-After"), body)
						}
					})
				}
				wg.Wait()
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%d at once: answers by status %v, want %v", n, got, want)
				}
				if c := s.Count(); c.PeakConcurrency != n || c.ConcurrencyLimit != 4 || c.EarlyRetries != 0 {
					t.Errorf("peak %d of %d, %d early retries, want %d of 4, 0", c.PeakConcurrency, c.ConcurrencyLimit, c.EarlyRetries, n)
				}
			})
		})
	}
}

// A client that counts a request as over at its headers is found out.
func TestBusyUntilTheBodyEnds(t *testing.T) {
	inBubble(t, func() *Server { return NewGraph(Options{Faultless: true}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		var open []*http.Response
		for i := range 5 {
			open = append(open, w.send(mailbox, s.GetRequest(mailbox, s.Messages(mailbox)[i].ID)))
		}
		for _, r := range open {
			r.Body.Close()
		}
		if c := s.Count(); c.PeakConcurrency < 2 {
			t.Errorf("peak %d with every body unread, want more than 1", c.PeakConcurrency)
		}
	})
}

func TestNylasTokenExpires(t *testing.T) {
	inBubble(t, func() *Server { return NewNylas(Options{Faultless: true, TokenLife: 3}) }, func(w *world) {
		t, s, grant := w.t, w.server, w.server.Mailboxes()[0]
		for i := range 3 {
			if status, _, body := w.do(grant, s.ListRequest(grant, "")); status != 200 {
				t.Fatalf("request %d: status %d: %s", i+1, status, body)
			}
		}
		status, _, body := w.do(grant, s.ListRequest(grant, ""))
		if status != 401 || !strings.Contains(body, `"oauth2.invalid_token"`) {
			t.Fatalf("request 4: status %d, want 401 oauth2.invalid_token: %s", status, body)
		}
		status, _, body = w.do(grant, s.TokenRequest(grant))
		token, err := s.ParseToken([]byte(body))
		if status != 200 || err != nil {
			t.Fatalf("token endpoint: status %d, err %v: %s", status, err, body)
		}
		w.tokens[grant] = token
		if status, _, body := w.do(grant, s.ListRequest(grant, "")); status != 200 {
			t.Errorf("with the new token: status %d: %s", status, body)
		}
		if status, _, body := w.do(grant, s.TokenRequest("nobody")); status != 400 || !strings.Contains(body, "invalid_grant") {
			t.Errorf("token for an unknown grant: status %d, want 400 invalid_grant: %s", status, body)
		}
		c := s.Count()
		if want := len(s.Mailboxes()) + 1; c.Tokens != want || c.Refreshes != 1 || c.Refused["token"] != 1 || c.Requests != 5 {
			t.Errorf("%d tokens, %d refreshes, %d refused, %d requests, want %d, 1, 1, 5", c.Tokens, c.Refreshes, c.Refused["token"], c.Requests, want)
		}
	})
}

// Early retries are requests sent after the client had finished reading a
// refusal, and before the time that it named; no others.
func TestEarlyRetries(t *testing.T) {
	inBubble(t, func() *Server { return NewGmail(Options{Faultless: true}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		id := s.Messages(mailbox)[0].ID
		get := func() *http.Request { return s.GetRequest(mailbox, id) }
		expect := func(what string, want int) {
			t.Helper()
			if got := s.Count().EarlyRetries; got != want {
				t.Errorf("%s: %d early retries, want %d", what, got, want)
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

// A reply lost after processing closes the connection, as a connection lost
// before processing does; only in the first case is the message out.
func TestLostReply(t *testing.T) {
	all(t, Options{Seed: 3, Mailboxes: 8}, func(t *testing.T, w *world) {
		s := w.server
		broken, delivered, late := 0, 0, 0
		for _, mailbox := range s.Mailboxes() {
			for i := range 12 {
				id := fmt.Sprintf("m%d", i)
				r := s.SendRequest(mailbox, id)
				r.Header.Set("Authorization", "Bearer "+w.tokens[mailbox])
				before := s.Count().Refused["failed late"]
				resp, err := w.rt.RoundTrip(r)
				failedLate := s.Count().Refused["failed late"] > before
				switch {
				case err != nil:
					broken++
					delivered += s.Sent(mailbox, id)
				case failedLate:
					late++
					if resp.StatusCode < 500 || s.Sent(mailbox, id) != 1 {
						t.Errorf("%s %s: status %d, delivered %d times, want a 5xx, once", mailbox, id, resp.StatusCode, s.Sent(mailbox, id))
					}
				}
				if resp != nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				time.Sleep(3 * time.Second)
			}
		}
		c := s.Count()
		if delivered == 0 || delivered == broken || late == 0 || c.Unread != delivered || c.DuplicateSend != 0 {
			t.Errorf("%d connections broke, %d of the messages are out, %d failed late; want some of each kind; the server counts %d lost replies, %d duplicates", broken, delivered, late, c.Unread, c.DuplicateSend)
		}
	})
}

// The same seed brings the same faults, in whatever order requests come.
func TestSeed(t *testing.T) {
	run := func(seed uint64, backwards bool) string {
		var out bytes.Buffer
		synctest.Test(t, func(t *testing.T) {
			s := NewNylas(Options{Seed: seed, Messages: 400})
			network := ListenPipe(s)
			defer network.Close()
			base := network.Transport()
			defer base.CloseIdleConnections()
			w := &world{t: t, server: s, base: base, rt: base, tokens: map[string]string{}}
			mailbox := s.Mailboxes()[0]
			s.o.TokenLife = -1
			w.tokens[mailbox] = s.Issue(mailbox)
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
				if f, ok := s.befalls(m, call{op: o, id: fmt.Sprint(i)}, "1"); ok {
					got[string(f.trouble)]++
				}
			}
			want := map[string]float64{}
			for _, f := range s.Faults() {
				if f.Sends == (o == opSend) {
					want[f.Name] += f.Rate
				}
			}
			for name, rate := range want {
				if share := float64(got[name]) / n; share < 0.8*rate || share > 1.2*rate {
					t.Errorf("%s %s: %q befell %.2f %%, stated %.2f %%", s.Name(), o, name, 100*share, 100*rate)
				}
			}
			for i := range n {
				if f, ok := s.befalls(m, call{op: o, id: fmt.Sprint(i)}, "4"); ok {
					t.Fatalf("%s %s: the fourth attempt for %d met %q", s.Name(), o, i, f.trouble)
				}
			}
		}
	}
}

// A wait in any of its forms never ends before the time that it stands for.
func TestWaitForms(t *testing.T) {
	now := time.Date(2026, 9, 11, 20, 0, 0, 123_456_789, time.UTC)
	for _, d := range []time.Duration{1, time.Millisecond, 249 * time.Millisecond, time.Second, 1500 * time.Millisecond, 2*time.Second + 1} {
		w := wait{now: now, until: now.Add(d)}
		for name, form := range map[string]func() (string, time.Time){
			"seconds": w.seconds, "decimal": w.decimal, "date": w.date, "instant": w.instant,
		} {
			text, named := form()
			if named.Before(w.until) || named.Sub(w.until) > time.Second {
				t.Errorf("%s of %v is %q, which names %v after the true time", name, d, text, named.Sub(w.until))
			}
		}
	}
}

func TestBucketAndWindow(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	b := bucket{rate: 10, burst: 5}
	for i, step := range []struct {
		ms   int
		n    int64
		want bool
	}{{0, 5, true}, {0, 1, false}, {99, 1, false}, {100, 1, true}, {100, 1, false}, {50, 1, false}, {10_000, 5, true}, {10_000, 1, false}} {
		if got := b.take(at(step.ms), step.n); got != step.want {
			t.Errorf("step %d: take %d at %d ms: %t, want %t", i, step.n, step.ms, got, step.want)
		}
	}
	var w window
	for i, step := range []struct {
		ms   int
		n    int64
		want int64
	}{{0, 5, 5}, {500, 7, 12}, {999, 1, 13}, {1000, 1, 9}, {1500, 1, 3}, {9000, 2, 2}} {
		if got := w.add(at(step.ms), step.n); got != step.want {
			t.Errorf("step %d: %d at %d ms: sum %d, want %d", i, step.n, step.ms, got, step.want)
		}
	}
}

func TestReset(t *testing.T) {
	inBubble(t, func() *Server { return NewNylas(Options{}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		before := s.Messages(mailbox)
		w.do(mailbox, s.ListRequest(mailbox, ""))
		s.Reset()
		if c := s.Count(); c.Requests != 0 || c.Tokens != 0 || c.PeakConcurrency != 0 {
			t.Errorf("after Reset: %+v", c)
		}
		if after := s.Messages(mailbox); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("after Reset: messages %v, want %v", after, before)
		}
		if status, _, body := w.do(mailbox, s.ListRequest(mailbox, "")); status != 401 {
			t.Errorf("with a token from before Reset: status %d, want 401: %s", status, body)
		}
	})
}

// The same servers, over the loopback interface.
func TestLoopback(t *testing.T) {
	gmail, graph := NewGmail(Options{Faultless: true, Latency: time.Millisecond}), NewGraph(Options{Faultless: true, Latency: time.Millisecond})
	network, err := Listen(gmail, graph)
	if err != nil {
		t.Fatal(err)
	}
	defer network.Close()
	base := network.Transport()
	defer base.CloseIdleConnections()
	for _, s := range []*Server{gmail, graph} {
		mailbox := s.Mailboxes()[0]
		w := &world{t: t, server: s, rt: Stamp(base, gmail, graph), tokens: map[string]string{mailbox: "any"}}
		status, _, body := w.do(mailbox, s.ListRequest(mailbox, ""))
		ids, _, err := s.ParseList([]byte(body))
		if status != 200 || err != nil || len(ids) != 50 {
			t.Errorf("%s: status %d, %d messages, err %v", s.Name(), status, len(ids), err)
		}
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := base.RoundTrip(r); err == nil {
		resp.Body.Close()
		t.Error("a host that no server stands for was dialled")
	}
}

// FuzzServe: no request makes a server fail in a way that is not an answer.
func FuzzServe(f *testing.F) {
	f.Add("GET", "/gmail/v1/users/user1@gmail.example/messages", "pageToken=0", "")
	f.Add("POST", "/v1.0/users/user1@contoso.example/sendMail", "", `{"message":{"internetMessageId":"x"}}`)
	f.Add("POST", "/v3/connect/token", "", `{"refresh_token":"grant-1"}`)
	f.Add("GET", "/v1/tenants/tenant-1/leads/", "cursor=%zz", "{")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		synctest.Test(t, func(t *testing.T) {
			for _, s := range []*Server{NewGmail(Options{Messages: 3}), NewGraph(Options{Messages: 3}), NewNylas(Options{Messages: 3}), NewWarpflow(Options{Messages: 3})} {
				r, err := http.NewRequest("GET", "http://"+s.Host()+"/", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
				r.Header.Set("Authorization", "Bearer x")
				w := &recorder{header: http.Header{}}
				func() {
					defer func() {
						if v := recover(); v != nil && v != http.ErrAbortHandler {
							t.Fatalf("%s: %s %q?%q %q: panic: %v", s.Name(), method, path, query, body, v)
						}
					}()
					s.ServeHTTP(w, r)
				}()
				if w.status != 0 && (w.status < 200 || w.status > 599) {
					t.Errorf("%s: %s %q?%q %q: status %d", s.Name(), method, path, query, body, w.status)
				}
			}
		})
	})
}

// recorder is a ResponseWriter without a connection.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }
