package fake

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Headers between Stamp and the servers. No other client sees or sends them.
const (
	sentHeader    = "Fake-Sent"    // on requests: when the client sent it, in Unix nanoseconds
	refusalHeader = "Fake-Refusal" // on responses: the number of a refusal that named a time
)

// leaked is how long after a body's last byte its reading counts as finished
// although nobody closed it.
const leaked = 100 * time.Millisecond

// refusal is one answer that told the client when to come back.
type refusal struct {
	id     int64
	named  time.Time // when it said
	end    time.Time // when the client read its last byte; zero = not yet
	closed time.Time // when the client closed its body; zero = not yet
}

// finished returns when the client had finished reading the refusal: when it
// closed the body. Up to then it may be making up its mind about what it read.
func (r *refusal) finished() (time.Time, bool) {
	switch {
	case !r.end.IsZero() && (r.closed.IsZero() || r.closed.Sub(r.end) > leaked):
		return r.end.Add(leaked), true
	case !r.closed.IsZero():
		return r.closed, true
	}
	return time.Time{}, false
}

// early reports whether a request sent at t came after the client had finished
// reading r, and before the time that r named. Requests that were in flight
// when the refusal was read are not to blame, and are not counted.
func (r *refusal) early(t time.Time) bool {
	f, ok := r.finished()
	return ok && t.After(f) && t.Before(r.named)
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
	clone.Header[sentHeader] = []string{strconv.FormatInt(srv.now().UnixNano(), 10)}
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
	srv    *Server
	id     int64
	end    sync.Once
	closed sync.Once
}

func (b *refusalBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.end.Do(func() { b.srv.finished(b.id, false) })
	}
	return n, err
}

func (b *refusalBody) Close() error {
	err := b.ReadCloser.Close()
	b.closed.Do(func() { b.srv.finished(b.id, true) })
	return err
}
