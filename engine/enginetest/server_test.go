package enginetest

import (
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
	rt     *Transport
	tokens map[string]string
}

// inBubble runs f in a synctest bubble with a server of its own, whose clock is the bubble's.
func inBubble(t *testing.T, server func() *Server, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := server()
		w := &world{t: t, server: s, rt: NewTransport(s), tokens: map[string]string{}}
		for _, m := range s.Mailboxes() {
			w.tokens[m] = s.issue(m)
		}
		f(w)
		s.Close()
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
		c := s.Counts()
		if c.DuplicateSends != 1 || c.RefusedTotal() != 0 || c.EarlyReturns != 0 {
			t.Errorf("count %+v, want 1 duplicate send, no refusal, no early return", c)
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
		c := s.Counts()
		if c.Refused["quota"] != 1 || c.Refused["throttled"] != 1 || c.EarlyReturns != 1 {
			t.Errorf("refused %v, early returns %d, want 1 quota, 1 throttled, 1 early", c.Refused, c.EarlyReturns)
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
				if c := s.Counts(); c.PeakConcurrency != n || c.ConcurrencyLimit != 4 || c.EarlyReturns != 0 {
					t.Errorf("peak %d of %d, %d early returns, want %d of 4, 0", c.PeakConcurrency, c.ConcurrencyLimit, c.EarlyReturns, n)
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
		if c := s.Counts(); c.PeakConcurrency < 2 {
			t.Errorf("peak %d with every body unread, want more than 1", c.PeakConcurrency)
		}
	})
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
				before := s.Counts().Refused["failed late"]
				resp, err := w.rt.RoundTrip(r)
				failedLate := s.Counts().Refused["failed late"] > before
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
		c := s.Counts()
		if delivered == 0 || delivered == broken || late == 0 || c.RepliesLost != delivered || c.DuplicateSends != 0 {
			t.Errorf("%d connections broke, %d of the messages are out, %d failed late; want some of each kind; the server counts %d lost replies, %d duplicates", broken, delivered, late, c.RepliesLost, c.DuplicateSends)
		}
	})
}

func TestReset(t *testing.T) {
	inBubble(t, func() *Server { return NewNylas(Options{}) }, func(w *world) {
		t, s, mailbox := w.t, w.server, w.server.Mailboxes()[0]
		before := s.Messages(mailbox)
		w.do(mailbox, s.ListRequest(mailbox, ""))
		s.Reset()
		if c := s.Counts(); c.Requests != 0 || c.Refreshes != 0 || c.PeakConcurrency != 0 {
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
					s.answer(w, r)
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
