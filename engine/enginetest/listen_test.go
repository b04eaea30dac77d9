package enginetest

import (
	"net/http"
	"testing"
	"time"
)

// The same servers, over the loopback interface, for one that knows their address, too.
func TestListen(t *testing.T) {
	gmail, graph := NewGmail(Options{Faultless: true, Latency: time.Millisecond}), NewGraph(Options{Faultless: true, Latency: time.Millisecond})
	base := NewTransport(gmail, graph)
	for _, s := range []*Server{gmail, graph} {
		defer s.Close()
		mailbox := s.Mailboxes()[0]
		w := &world{t: t, server: s, rt: base, tokens: map[string]string{mailbox: "any"}}
		list := func() {
			t.Helper()
			status, _, body := w.do(mailbox, s.ListRequest(mailbox, ""))
			ids, _, err := s.ParseList([]byte(body))
			if status != 200 || err != nil || len(ids) != 50 {
				t.Errorf("%s: status %d, %d messages, err %v, want 200, 50, none", s.Name(), status, len(ids), err)
			}
		}
		list() // in memory
		address, err := s.Listen()
		if again, err2 := s.Listen(); err != nil || err2 != nil || again != address {
			t.Fatalf("%s: listens on %q, %v and then on %q, %v, want one address", s.Name(), address, err, again, err2)
		}
		base.CloseIdleConnections()
		list() // over the port
		r := s.ListRequest(mailbox, "")
		r.URL.Host = address
		r.Header.Set("Authorization", "Bearer any")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("%s at %s: status %d, want 200", s.Name(), address, resp.StatusCode)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := base.RoundTrip(r); err == nil {
		resp.Body.Close()
		t.Error("a host that no server stands for was dialled")
	}
}

// A closed server answers nobody, whether it ever listened or not.
func TestClose(t *testing.T) {
	for name, prepare := range map[string]func(s *Server){
		"never dialled": func(*Server) {},
		"dialled": func(s *Server) {
			mailbox := s.Mailboxes()[0]
			w := &world{t: t, server: s, rt: NewTransport(s), tokens: map[string]string{mailbox: "any"}}
			w.do(mailbox, s.ListRequest(mailbox, ""))
		},
		"closed": (*Server).Close,
	} {
		s := NewGmail(Options{Latency: 1})
		prepare(s)
		s.Close()
		if resp, err := NewTransport(s).RoundTrip(s.ListRequest(s.Mailboxes()[0], "")); err == nil {
			resp.Body.Close()
			t.Errorf("%s: answered %s after Close", name, resp.Status)
		}
		if address, err := s.Listen(); err == nil {
			t.Errorf("%s: listens on %s after Close", name, address)
		}
	}
}
