package enginetest

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// moment is a time with a sequence number, since the clock may stand still between two
// events, as it does in a synctest bubble. The zero value means never.
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

// moments hands out the moments of one server.
type moments struct{ seq atomic.Int64 }

// moment returns the current moment.
func (m *moments) moment() moment { return moment{time.Now(), m.seq.Add(1)} }

// refusal is one answer that told the client when to come back.
type refusal struct {
	id    int64
	named time.Time // the time that it told
	read  moment    // when the client had read its last byte, or closed its body
}

// early reports whether a request sent at m came after the client had finished reading r,
// and before the time that r named. Requests that were in flight when the refusal was read
// do not count.
func (r *refusal) early(m moment) bool {
	return r.read.seq != 0 && m.seq > r.read.seq && m.at.Before(r.named)
}

// maxEarlyTexts bounds how many early returns FailOnEarlyReturn describes.
const maxEarlyTexts = 10

// refusals are the refusals of one server that named a time. The server's lock guards them.
type refusals struct {
	lastID int64
	unread map[int64]*refusal // by number, the refusals that the client may still be reading
	early  int                // requests that came back early
	texts  []string           // descriptions of the first of them
}

// reset forgets all refusals, but not lastID, so that no number is used twice.
func (r *refusals) reset() {
	r.unread, r.early, r.texts = map[int64]*refusal{}, 0, nil
}

// add notes a refusal among those of its mailbox.
func (r *refusals) add(mailbox *[]*refusal, named time.Time) (id int64) {
	r.lastID++
	f := &refusal{id: r.lastID, named: named}
	r.unread[f.id] = f
	*mailbox = append(*mailbox, f)
	return f.id
}

// finish notes that the client has read a refusal to its end, or closed it.
func (r *refusals) finish(id int64, m moment) {
	if f := r.unread[id]; f != nil {
		f.read = m
		delete(r.unread, id)
	}
}

// count counts a request, which what describes, if it was sent before the time that a
// refusal of its mailbox had named, although the client had read that refusal.
func (r *refusals) count(mailbox *[]*refusal, sent moment, what string) {
	keep := (*mailbox)[:0]
	var blamed *refusal
	now := time.Now()
	for _, f := range *mailbox {
		if f.early(sent) && (blamed == nil || f.named.After(blamed.named)) {
			blamed = f
		}
		// Keep the refusal for a while, since a request may be on its way for long.
		if now.Sub(f.named) < 10*time.Second {
			keep = append(keep, f)
		} else {
			delete(r.unread, f.id)
		}
	}
	clear((*mailbox)[len(keep):])
	*mailbox = keep
	if blamed == nil {
		return
	}
	r.early++
	if len(r.texts) < maxEarlyTexts {
		r.texts = append(r.texts, fmt.Sprintf("%s was sent %v too early: at %s, a refusal read at %s had named %s",
			what, blamed.named.Sub(sent.at), clock(sent.at), clock(blamed.read.at), clock(blamed.named)))
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// TB is what FailOnEarlyReturn needs of a test. *testing.T, *testing.B and *testing.F
// implement it. It is used so that programs with the servers do not import package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
}

// failOnEarlyReturn closes the server when the test ends, and then fails the test if a client
// came back early. mu is the server's lock.
func (r *refusals) failOnEarlyReturn(tb TB, server string, mu *sync.Mutex, closeServer func()) {
	tb.Helper()
	tb.Cleanup(func() {
		tb.Helper()
		closeServer()
		mu.Lock()
		defer mu.Unlock()
		if r.early > 0 {
			tb.Errorf("%s: requests that came back early: %d; the first of them:\n\t%s", server, r.early, strings.Join(r.texts, "\n\t"))
		}
	})
}

// countEarlyLocked counts the request if it came back early.
func (s *Server) countEarlyLocked(m *mailbox, c call, marked string) {
	if sent, ok := parseMoment(marked); ok {
		s.refusals.count(&m.refusals, sent, fmt.Sprintf("%s of %s", c.op, m.name))
	}
}

// finished notes that the client has read a refusal to its end, or closed it.
func (s *Server) finished(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.finish(id, s.moment())
}

// FailOnEarlyReturn closes the server when the test ends, and then fails the
// test if a client came back early: if it sent a request after it had read a
// refusal for that mailbox, and before the time that the refusal named.
func (s *Server) FailOnEarlyReturn(tb TB) {
	tb.Helper()
	s.refusals.failOnEarlyReturn(tb, s.Name(), &s.mu, s.Close)
}
