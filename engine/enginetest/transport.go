package enginetest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
)

// Headers between Transport and the servers. Nobody else sees or sends them.
const (
	sentHeader    = "Enginetest-Sent"    // on requests: when the client sent it, a moment
	refusalHeader = "Enginetest-Refusal" // on responses: the number of a refusal that named a time
)

// Transport is a base transport that reaches only the fake servers, by their providers' host
// names, in plain HTTP/1.1 whether a URL says http or https. It tells the servers when a
// request is sent and when a refusal has been read, so that they can tell an early return
// from a request that was already on its way. So it must be the last transport before the
// network. Its fields, such as MaxConnsPerHost, may be set before its first request.
type Transport struct {
	*http.Transport
	servers map[string]reachable // by host
}

// reachable is what a Transport needs of a server.
type reachable interface {
	Host() string
	dial(ctx context.Context) (net.Conn, error)
	moment() moment
	finished(refusal int64)
}

// NewTransport returns a transport that reaches these servers, and the endpoints
// that issue their tokens (Options.OAuth). Its idle connections end when their
// server is closed.
func NewTransport(servers ...*Server) *Transport {
	t := &Transport{servers: make(map[string]reachable, len(servers))}
	for _, s := range servers {
		t.servers[s.Host()] = s
		if s.o.OAuth != nil {
			t.servers[s.o.OAuth.Host()] = s.o.OAuth
		}
	}
	dial := func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("enginetest: dial %q: %w", address, err)
		}
		s := t.servers[host]
		if s == nil {
			return nil, fmt.Errorf("enginetest: dial %q: no such server", address)
		}
		return s.dial(ctx)
	}
	t.Transport = &http.Transport{
		DialContext:         dial,
		DialTLSContext:      dial, // a worker's URLs say https
		MaxIdleConns:        0,    // no limit
		MaxIdleConnsPerHost: 1024,
		DisableCompression:  true,
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	s := t.servers[req.URL.Host]
	if s == nil {
		return t.Transport.RoundTrip(req)
	}
	clone := *req
	clone.Header = req.Header.Clone()
	if clone.Header == nil {
		clone.Header = http.Header{}
	}
	clone.Header[sentHeader] = []string{s.moment().String()}
	resp, err := t.Transport.RoundTrip(&clone)
	if err != nil {
		return resp, err
	}
	resp.Request = req
	if id, err := strconv.ParseInt(resp.Header.Get(refusalHeader), 10, 64); err == nil {
		resp.Header.Del(refusalHeader)
		resp.Body = &refusalBody{ReadCloser: resp.Body, server: s, id: id}
	}
	return resp, nil
}

// refusalBody tells the server when a refusal has been read.
type refusalBody struct {
	io.ReadCloser
	server reachable
	id     int64
	once   sync.Once
}

func (b *refusalBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.once.Do(func() { b.server.finished(b.id) })
	}
	return n, err
}

func (b *refusalBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(func() { b.server.finished(b.id) })
	return err
}
