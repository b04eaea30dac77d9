package fake

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Headers between Stamp and the servers. No other client sees or sends them.
const (
	sentHeader    = "Fake-Sent"    // on requests: when the client sent it, a moment
	refusalHeader = "Fake-Refusal" // on responses: the number of a refusal that named a time
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

// Stamp wraps the transport that a client under test sends by (nil =
// http.DefaultTransport), so that the servers can tell an early retry from a
// request that was already on its way: it marks every request with the time at
// which it is sent, and tells the servers when the client has finished reading a
// refusal. It must be the last transport before the network. Servers that it is
// not given see a client without stamps, whose early retries are not counted.
func Stamp(base http.RoundTripper, servers ...*Server) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	s := &stamp{base: base, servers: make(map[string]*Server, len(servers))}
	for _, srv := range servers {
		s.servers[srv.Host()] = srv
	}
	return s
}

type stamp struct {
	base    http.RoundTripper
	servers map[string]*Server // by host
}

func (s *stamp) RoundTrip(req *http.Request) (*http.Response, error) {
	srv := s.servers[req.URL.Host]
	if srv == nil {
		return s.base.RoundTrip(req)
	}
	clone := *req
	clone.Header = req.Header.Clone()
	if clone.Header == nil {
		clone.Header = http.Header{}
	}
	clone.Header[sentHeader] = []string{srv.moment().String()}
	resp, err := s.base.RoundTrip(&clone)
	if err != nil {
		return resp, err
	}
	resp.Request = req
	if id, err := strconv.ParseInt(resp.Header.Get(refusalHeader), 10, 64); err == nil {
		resp.Header.Del(refusalHeader)
		resp.Body = &refusalBody{ReadCloser: resp.Body, srv: srv, id: id}
	}
	return resp, nil
}

// refusalBody tells the server when a refusal has been read.
type refusalBody struct {
	io.ReadCloser
	srv  *Server
	id   int64
	once sync.Once
}

func (b *refusalBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.once.Do(func() { b.srv.finished(b.id) })
	}
	return n, err
}

func (b *refusalBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.srv.finished(b.id) })
	return err
}
