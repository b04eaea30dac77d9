package engine

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

const learningPolicy = `
version: 1
provider: test
match: [{host: api.test}]
operations:
  - {method: GET, path: /search, operation: search}
  - {path: /**, operation: any}
limits:
  - name: core
    key: account
    quota: 5000/1h
    window: fixed
    operations: ['*', '!search']
    learn:
      remaining: {header: X-RateLimit-Remaining}
      reset: {header: X-RateLimit-Reset, as: epoch}
      limit: {header: X-RateLimit-Limit}
      when: header("X-RateLimit-Resource") == "core"
  - name: units
    key: account
    rate: 100/s
    learn: {remaining: {header: X-Left, match: 'left=(\d+)', when: method == "GET"}, unit: 5}
rules: [{name: bad, when: status >= 400, action: fail}]
default: fail
`

// headerServer is a base transport that answers each request with these headers.
type headerServer struct {
	status int
	header http.Header
}

func (a *headerServer) RoundTrip(req *http.Request) (*http.Response, error) {
	status := a.status
	if status == 0 {
		status = 200
	}
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: a.header.Clone(), Body: io.NopCloser(strings.NewReader("{}")), Request: req,
	}, nil
}

// call is one of ann's.
func call(operation, method string) Call {
	c := Call{Method: method}
	c.Account, c.Operation = "ann", operation
	return c
}

// told are headers, given as "Name: value" lines. An epoch of @10s is ten seconds from now.
func told(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if after, ok := strings.CutPrefix(value, "@"); ok {
			d, err := time.ParseDuration(after)
			if err != nil {
				panic(err)
			}
			value = fmt.Sprint(time.Now().Add(d).Unix())
		}
		h.Add(name, value)
	}
	return h
}

// The ways of a call whose responses tell about limits.
var listening = []struct {
	name string
	make func(ctx context.Context, p *Provider, a *headerServer, method, path string) error
}{
	{"Transport", func(ctx context.Context, p *Provider, a *headerServer, method, path string) error {
		req, err := http.NewRequestWithContext(WithAccount(ctx, "ann"), method, "https://api.test"+path, nil)
		if err != nil {
			return err
		}
		resp, err := p.engine.Transport(a).RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}},
	{"Do with CheckResponse", func(ctx context.Context, p *Provider, a *headerServer, method, path string) error {
		operation := "any"
		if path == "/search" {
			operation = "search"
		}
		_ = p.Do(ctx, call(operation, method), func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, method, "https://api.test"+path, nil)
			if err != nil {
				return err
			}
			resp, err := a.RoundTrip(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return p.CheckResponse(ctx, resp)
		})
		return nil
	}},
	{"Do with an error that has the headers", func(ctx context.Context, p *Provider, a *headerServer, method, path string) error {
		operation := "any"
		if path == "/search" {
			operation = "search"
		}
		_ = p.Do(ctx, call(operation, method), func(ctx context.Context) error {
			return &ResponseError{Status: max(a.status, 400), Header: a.header, Provider: p.name, Operation: operation, Method: method}
		})
		return nil
	}},
	{"Transport inside Do", func(ctx context.Context, p *Provider, a *headerServer, method, path string) error {
		operation := "any"
		if path == "/search" {
			operation = "search"
		}
		_ = p.Do(ctx, call(operation, method), func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(WithAccount(ctx, "ann"), method, "https://api.test"+path, nil)
			if err != nil {
				return err
			}
			resp, err := p.engine.Transport(a).RoundTrip(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return p.CheckResponse(ctx, resp)
		})
		return nil
	}},
}

// TestLearn holds what the headers of responses do to limits, by each way of a call.
func TestLearn(t *testing.T) {
	for _, way := range listening {
		for _, tt := range []struct {
			name         string
			method, path string
			status       int
			headers      []string
			core, units  float64 // the levels afterwards
		}{
			{name: "nothing is told", core: 4999, units: 99},
			{name: "fewer are left", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 30", "X-RateLimit-Reset: @10m"}, core: 30, units: 99},
			{name: "on a failure too", status: 404, headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 30", "X-RateLimit-Reset: @10m"}, core: 30, units: 99},
			{name: "of another resource", headers: []string{"X-RateLimit-Resource: search", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: @10m"}, core: 4999, units: 99},
			{name: "a limit that does not count the call", path: "/search", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: @10m"}, core: 5000, units: 99},
			{name: "a lower limit", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 59", "X-RateLimit-Limit: 60", "X-RateLimit-Reset: @10m"}, core: 59, units: 99},
			{name: "units of five", headers: []string{"X-Left: a=1, left=7"}, core: 4999, units: 35},
			{name: "a condition of the extractor", method: "POST", headers: []string{"X-Left: left=7"}, core: 4999, units: 99},
			{name: "no number", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: NaN", "X-RateLimit-Reset: @10m", "X-Left: left=-7"}, core: 4999, units: 99},
			{name: "a negative number", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: -1", "X-RateLimit-Reset: @10m"}, core: 4999, units: 99},
			{name: "a huge number", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 999999999999999999999999", "X-RateLimit-Limit: 1e99", "X-RateLimit-Reset: @10m", "X-Left: left=9223372036854775807"}, core: 4999, units: 99},
			{name: "no reset", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 3"}, core: 4999, units: 99},
			{name: "a reset that is past", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: @-10s"}, core: 4999, units: 99},
			{name: "a reset in eight days", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: @192h"}, core: 4999, units: 99},
			{name: "a reset that is no time", headers: []string{"X-RateLimit-Resource: core", "X-RateLimit-Remaining: 3", "X-RateLimit-Reset: soon"}, core: 4999, units: 99},
		} {
			if way.name == "Do with an error that has the headers" && tt.status == 0 {
				tt.status = 400
			}
			t.Run(way.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, err := testEngine(t, Options{}, learningPolicy).Provider("test")
					if err != nil {
						t.Fatal(err)
					}
					method, path := tt.method, tt.path
					if method == "" {
						method = "GET"
					}
					if path == "" {
						path = "/things"
					}
					if err := way.make(t.Context(), p, &headerServer{tt.status, told(tt.headers...)}, method, path); err != nil {
						t.Fatal(err)
					}
					ann := limiter.Keys{Account: "ann"}
					core, units := p.Limiter().Peek("core", ann), p.Limiter().Peek("units", ann)
					if core.Level != tt.core || units.Level != tt.units {
						t.Errorf("given %s %s, %d, %v\ngot  core %v, units %v\nwant core %v, units %v", method, path, tt.status, tt.headers, core.Level, units.Level, tt.core, tt.units)
					}
				})
			})
		}
	}
}

// With nothing left calls wait until the reset, and then the limit is what it was.
func TestLearnNothingLeft(t *testing.T) {
	for _, way := range listening[:2] {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := testEngine(t, Options{MaxInline: time.Hour}, learningPolicy).Provider("test")
				if err != nil {
					t.Fatal(err)
				}
				a := &headerServer{header: told("X-RateLimit-Resource: core", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: @10m")}
				if err := way.make(t.Context(), p, a, "GET", "/things"); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				a.header = nil
				if err := way.make(t.Context(), p, a, "GET", "/things"); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != 10*time.Minute {
					t.Errorf("given nothing left for 10m\ngot  %v\nwant 10m", took)
				}
				if got := p.Limiter().Peek("core", limiter.Keys{Account: "ann"}); got.Level != 4999 {
					t.Errorf("given a reset that has come\ngot  %+v\nwant 4999 left", got)
				}
			})
		})
	}
}
