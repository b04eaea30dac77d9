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
	admitted bool // it counts against the concurrency that the provider allows
	lost     bool // the answer never leaves
	slow     bool // the answer leaves after a while
	refusal  int64
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

	s.mu.Lock()
	now := time.Now()
	s.requests++
	m := s.boxes[c.mailbox]
	if m == nil || c.op == opNone {
		s.mu.Unlock()
		write(w, s.refuse(missing, wait{}))
		return
	}
	cost := s.cost(c.op)
	m.inflight++
	m.peakInflight = max(m.peakInflight, m.inflight)
	m.peakUnits = max(m.peakUnits, m.recent.add(now, cost))
	s.countEarly(m, c, r.Header.Get(sentHeader))
	key := string(c.op) + " " + c.id + c.page
	m.attempts[key]++
	attempt := strconv.Itoa(m.attempts[key])
	v := s.decide(m, c, r, now, cost, attempt)
	if v.admitted {
		m.admitted++
	}
	s.mu.Unlock()

	// The mailbox is busy until the body's last part is ready, so that a client
	// which believes a request to be over at its headers is found out.
	leave := sync.OnceFunc(func() {
		s.mu.Lock()
		m.inflight--
		if v.admitted {
			m.admitted--
		}
		s.mu.Unlock()
	})
	defer leave()
	took := time.Duration((0.5 + chance(s.o.Seed, s.Name(), m.name, key, attempt, "latency")) * float64(s.o.Latency))
	if !v.admitted {
		took /= 4
	}
	if v.slow {
		took += 2 * slowness
	}
	if !pause(r, took/2) {
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
	if !pause(r, took/2) {
		return
	}
	leave()
	_, _ = w.Write(rest)
}

func (s *Server) cost(o op) int64 {
	if n, ok := s.limits().cost[o]; ok {
		return n
	}
	return 1
}

// decide says how a request is answered. The caller holds the lock.
func (s *Server) decide(m *mailbox, c call, r *http.Request, now time.Time, cost int64, attempt string) verdict {
	l := s.limits()
	form := chance(s.o.Seed, s.Name(), m.name, string(c.op), c.id, c.page, attempt, "form")
	refuse := func(why Fault, until time.Time) verdict {
		v := verdict{answer: s.refuse(why, wait{now: now, until: until, form: form})}
		s.refused[why]++
		if !until.IsZero() {
			if v.named.Before(until) {
				v.named = until
			}
			if !now.Before(m.until) {
				m.until = v.named
			}
			v.refusal = s.refusals.add(&m.refusals, v.named)
		}
		return v
	}

	// Whatever comes while the mailbox is throttled is refused with the same time.
	if now.Before(m.until) {
		return refuse(Throttled, m.until)
	}
	if l.concurrency > 0 && m.admitted >= l.concurrency {
		return refuse(OverConcurrency, now.Add(l.throttle))
	}
	if !m.bucket.take(now, cost) {
		return refuse(OverQuota, now.Add(l.throttle))
	}
	if !s.authorized(m, r) {
		return refuse(TokenExpired, time.Time{})
	}

	f, ok := s.befalls(m, c, attempt)
	if ok && f.Fault == ConnectionLost {
		return verdict{admitted: true, lost: true}
	}
	if ok && f.Fault != ReplyLost && f.Fault != FailedLate && f.Fault != Slow {
		var until time.Time
		if f.wait > 0 {
			until = now.Add(f.wait)
		}
		v := refuse(f.Fault, until)
		v.admitted = f.wait == 0 // a server that fails has worked on the request until then
		return v
	}

	v := verdict{admitted: true, answer: s.serve(m, c)}
	switch {
	case !ok:
	case f.Fault == Slow:
		v.slow = true
	case f.Fault == ReplyLost:
		s.lost++
		v.lost = true
	default:
		s.refused[FailedLate]++
		v.answer = s.refuse(ServerError, wait{now: now, form: form})
	}
	return v
}

// serve does what the request asks for. The caller holds the lock.
func (s *Server) serve(m *mailbox, c call) answer {
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
