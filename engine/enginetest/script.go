package enginetest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// Reply is one answer of a Script.
type Reply struct {
	Status int
	Header string // one header, as "Name: value"; "" = none
	Body   string // JSON, unless Header is a Content-Type that says otherwise; "" = none
	Err    error  // the error that is returned instead of a response; nil = none
}

// Script is a base transport that answers from a list, at once and without a connection.
// After the end of the list it answers 200. The zero value is an empty list. A Script is
// safe for concurrent use.
type Script struct {
	mu      sync.Mutex
	replies []Reply
}

// Add adds replies to the list's end.
func (s *Script) Add(replies ...Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies = append(s.replies, replies...)
}

// RoundTrip implements http.RoundTripper.
func (s *Script) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	s.mu.Lock()
	r := Reply{Status: http.StatusOK}
	if len(s.replies) > 0 {
		r, s.replies = s.replies[0], s.replies[1:]
	}
	s.mu.Unlock()
	if r.Err != nil {
		return nil, r.Err
	}
	h := http.Header{}
	if r.Body != "" {
		h.Set("Content-Type", "application/json")
	}
	if name, value, ok := strings.Cut(r.Header, ": "); ok {
		h.Set(name, value)
	}
	return &http.Response{
		Status: strconv.Itoa(r.Status) + " " + http.StatusText(r.Status), StatusCode: r.Status, Header: h, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(r.Body)), Body: io.NopCloser(strings.NewReader(r.Body)),
	}, nil
}
