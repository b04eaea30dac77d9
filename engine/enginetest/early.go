package enginetest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// moment is a time with its place in the order of things: a clock may stand
// still between two events, as it does in a synctest bubble. The zero value is never.
type moment struct {
	at  time.Time
	seq int64 // counts all moments of one server, from 1
}

func (m moment) String() string {
	return strconv.FormatInt(m.at.UnixNano(), 10) + " " + strconv.FormatInt(m.seq, 10)
}

// parseMoment reads what String wrote.
func parseMoment(s string) (moment, bool) {
	nanos, seq, ok := strings.Cut(s, " ")
	n, err := strconv.ParseInt(nanos, 10, 64)
	q, err2 := strconv.ParseInt(seq, 10, 64)
	if !ok || err != nil || err2 != nil {
		return moment{}, false
	}
	return moment{time.Unix(0, n), q}, true
}

// refusal is one answer that told the client when to come back.
type refusal struct {
	id    int64
	named time.Time // when it said
	read  moment    // when the client had read its last byte, or closed it
}

// early reports whether a request sent at m came after the client had finished
// reading r, and before the time that r named. Requests that were in flight
// when the refusal was read are not to blame, and are not counted.
func (r *refusal) early(m moment) bool {
	return r.read.seq != 0 && m.seq > r.read.seq && m.at.Before(r.named)
}

// maxEarlyTexts bounds how many early returns FailOnEarlyReturn describes.
const maxEarlyTexts = 10

// countEarly counts the request if it was sent although the client knew better.
// The caller holds the lock.
func (s *Server) countEarly(m *mailbox, c call, now time.Time, r *http.Request) {
	sent, ok := parseMoment(r.Header.Get(sentHeader))
	if !ok {
		return
	}
	keep := m.refusals[:0]
	var blamed *refusal
	for _, f := range m.refusals {
		if f.early(sent) && (blamed == nil || f.named.After(blamed.named)) {
			blamed = f
		}
		// A request may be on its way for long; nobody looks further back.
		if now.Sub(f.named) < 10*time.Second {
			keep = append(keep, f)
		} else {
			delete(s.refusals, f.id)
		}
	}
	clear(m.refusals[len(keep):])
	m.refusals = keep
	if blamed == nil {
		return
	}
	s.early++
	if len(s.earlyText) < maxEarlyTexts {
		s.earlyText = append(s.earlyText, fmt.Sprintf("%s of %s was sent %v too early: at %s, a refusal read at %s had named %s",
			c.op, m.name, blamed.named.Sub(sent.at), clock(sent.at), clock(blamed.read.at), clock(blamed.named)))
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// finished notes that the client has read a refusal to its end, or closed it.
func (s *Server) finished(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refusals[id]; r != nil {
		r.read = s.moment()
		delete(s.refusals, id)
	}
}

// moment is now.
func (s *Server) moment() moment { return moment{time.Now(), s.seq.Add(1)} }

// TB is what FailOnEarlyReturn needs of a test. A *testing.T, *testing.B and
// *testing.F have it; package testing itself is kept out of programs that use
// the servers.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
}

// FailOnEarlyReturn closes the server when the test ends, and then fails the
// test if a client came back early: if it sent a request after it had read a
// refusal for that mailbox, and before the time that the refusal named.
func (s *Server) FailOnEarlyReturn(tb TB) {
	tb.Helper()
	tb.Cleanup(func() {
		tb.Helper()
		s.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.early > 0 {
			tb.Errorf("%s: requests that came back early: %d; the first of them:\n\t%s", s.Name(), s.early, strings.Join(s.earlyText, "\n\t"))
		}
	})
}
