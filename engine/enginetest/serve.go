package enginetest

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// pageSize is the number of messages in a page of a list.
const pageSize = 50

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 1 << 20

// verdict is what the server makes of a request: an answer, and what becomes of it.
type verdict struct {
	answer
	admitted bool  // it counts against the concurrency that the provider allows
	lost     bool  // the answer never leaves
	slow     bool  // the answer leaves after a while
	refusal  int64 // the number of a refusal that names a time; 0 = it names none
}

// answer answers a request as the provider would.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if id, read, ok := finishedThere(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refusals.finish(id, read)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		write(w, s.refuse(malformed, wait{}))
		return
	}
	if r.URL.Path == s.tokenPath() {
		s.serveToken(w, body)
		return
	}
	c := s.parse(r, body)
	m, v, takes := s.receive(r, c)
	if m == nil {
		write(w, s.refuse(missing, wait{}))
		return
	}
	// The mailbox is busy until the body's last part is ready, so that a client
	// which believes a request to be over at its headers is found out.
	leave := sync.OnceFunc(func() { s.leave(m, v.admitted) })
	defer leave()
	if !pause(r.Context().Done(), takes/2) {
		return
	}
	if v.lost {
		leave()
		hangUp(w)
		return
	}
	if v.refusal != 0 {
		w.Header().Set(refusalHeader, strconv.FormatInt(v.refusal, 10))
	}
	rest := begin(w, v.answer)
	if !pause(r.Context().Done(), takes/2) {
		return
	}
	leave()
	_, _ = w.Write(rest)
}

// receive counts a request, and returns its mailbox, how it is answered, and how long that
// takes. The mailbox is nil if there is none, or the request asks for nothing that is known.
func (s *Server) receive(r *http.Request, c call) (m *mailbox, v verdict, takes time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.requests++
	m = s.boxes[c.mailbox]
	if m == nil || c.op == opNone {
		return nil, v, 0
	}
	cost := s.cost(c.op)
	m.inflight++
	m.peakInflight = max(m.peakInflight, m.inflight)
	m.peakUnits = max(m.peakUnits, m.recent.add(now, cost))
	s.countEarlyLocked(m, c, r.Header.Get(sentHeader))
	key := string(c.op) + " " + c.id + c.page
	m.attempts[key]++
	attempt := strconv.Itoa(m.attempts[key])
	v = s.decideLocked(m, c, r, now, cost, attempt)
	if v.admitted {
		m.admitted++
	}
	takes = latency(s.o.Latency, chance(s.o.Seed, s.Name(), m.name, key, attempt, "latency"))
	if !v.admitted {
		takes /= 4
	}
	if v.slow {
		takes += 2 * slowness // half of it passes before the first byte
	}
	return m, v, takes
}

// leave ends a request.
func (s *Server) leave(m *mailbox, admitted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.inflight--
	if admitted {
		m.admitted--
	}
}

func (s *Server) cost(o op) int64 {
	if n, ok := s.limits().cost[o]; ok {
		return n
	}
	return 1
}

// decideLocked says how a request is answered.
func (s *Server) decideLocked(m *mailbox, c call, r *http.Request, now time.Time, cost int64, attempt string) verdict {
	l := s.limits()
	form := chance(s.o.Seed, s.Name(), m.name, string(c.op), c.id, c.page, attempt, "form")
	refuse := func(why Fault, until time.Time) verdict {
		return s.refuseLocked(m, why, wait{now: now, until: until, form: form})
	}
	// Whatever comes while the mailbox is throttled is refused with the same time.
	switch {
	case now.Before(m.until):
		return refuse(Throttled, m.until)
	case l.concurrency > 0 && m.admitted >= l.concurrency:
		return refuse(OverConcurrency, now.Add(l.throttle))
	case !m.bucket.take(now, cost):
		return refuse(OverQuota, now.Add(l.throttle))
	case !s.authorizedLocked(m, r):
		return refuse(TokenExpired, time.Time{})
	}

	f, _ := s.befallsLocked(m, c, attempt)
	switch f.Fault {
	case "", Slow:
		return verdict{admitted: true, answer: s.serveLocked(m, c), slow: f.Fault == Slow}
	case ConnectionLost:
		return verdict{admitted: true, lost: true}
	case ReplyLost:
		s.lost++
		return verdict{admitted: true, answer: s.serveLocked(m, c), lost: true}
	case FailedLate:
		s.serveLocked(m, c)
		s.refused[FailedLate]++
		return verdict{admitted: true, answer: s.refuse(ServerError, wait{now: now, form: form})}
	}
	var until time.Time
	if f.wait > 0 {
		until = now.Add(f.wait)
	}
	v := refuse(f.Fault, until)
	v.admitted = f.wait == 0 // a server that fails has worked on the request until then
	return v
}

// refuseLocked refuses a request of a mailbox. If the refusal names a time to come back, the
// mailbox is throttled until then.
func (s *Server) refuseLocked(m *mailbox, why Fault, w wait) verdict {
	v := verdict{answer: s.refuse(why, w)}
	s.refused[why]++
	if w.until.IsZero() {
		return v
	}
	if v.named.Before(w.until) {
		v.named = w.until
	}
	if !w.now.Before(m.until) {
		m.until = v.named
	}
	v.refusal = s.refusals.add(&m.refusals, v.named)
	return v
}

// serveLocked does what the request asks for.
func (s *Server) serveLocked(m *mailbox, c call) answer {
	switch c.op {
	case opList:
		from, err := strconv.Atoi(c.page)
		if c.page == "" {
			from, err = 0, nil
		}
		if err != nil || from < 0 || from > len(m.messages) {
			return s.refuse(malformed, wait{})
		}
		to, next := from+pageSize, strconv.Itoa(from+pageSize)
		if to >= len(m.messages) {
			to, next = len(m.messages), ""
		}
		return answer{status: http.StatusOK, body: s.list(m, m.messages[from:to], next)}
	case opFind:
		var found []Message
		if m.sent[c.id] > 0 {
			found = []Message{{ID: hexID(s.o.Seed, s.Name(), m.name, "sent", c.id), Subject: c.id}}
		}
		return answer{status: http.StatusOK, body: s.list(m, found, "")}
	case opGet:
		i, ok := m.byID[c.id]
		if !ok || m.messages[i].Gone {
			return s.refuse(missing, wait{})
		}
		return answer{status: http.StatusOK, body: s.get(m, m.messages[i])}
	case opSend:
		if c.id == "" {
			return s.refuse(malformed, wait{})
		}
		m.sent[c.id]++
		status, body := s.sent(m, c.id)
		return answer{status: status, body: body}
	}
	return s.refuse(missing, wait{})
}
