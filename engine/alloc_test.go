package engine

import (
	"context"
	"net/http"
	"testing"

	"github.com/recourse-go/recourse/limiter"
)

// What a success costs is promised: nothing on the heap for Do, and for
// Transport no more than two allocations beside the base's own.
func TestSuccessAllocates(t *testing.T) {
	ctx := context.Background()
	ok := func(context.Context) error { return nil }
	for name, yaml := range map[string]string{"unlimited": unlimited, "limited": overLoop + "limits: [{name: requests, key: account, rate: 1000000/s, burst: 1000000}]\n"} {
		p, err := testEngine(t, Options{}, yaml).Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		call := Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}
		if n := testing.AllocsPerRun(200, func() {
			if err := p.Do(ctx, call, ok); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: Do allocates %v times, want 0", name, n)
		}
	}

	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	base := roundTripper(func(req *http.Request) (*http.Response, error) {
		resp.Body, resp.Request = http.NoBody, req
		return resp, nil
	})
	for name, yaml := range map[string]string{"unlimited": unlimited, "limited": overLoop + "limits: [{name: requests, key: account, rate: 1000000/s, burst: 1000000}]\n"} {
		tr := testEngine(t, Options{}, yaml).Transport(base)
		req := request(t, ctx, "GET", "/items/1", "")
		if n := testing.AllocsPerRun(200, func() {
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}); n > 2 {
			t.Errorf("%s: Transport allocates %v times, want at most 2", name, n)
		}
	}
}

// bareYAML has neither limits nor a budget.
const bareYAML = `
version: 1
provider: test
match: [{host: api.test}]
operations:
  - {method: GET, path: "/items/*", operation: items.get}
extract:
  codes: [{json: error.code}]
backoff:
  default: {initial: 1s, max: 8s, attempts: 4}
rules:
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m}
  - {name: server, when: status >= 500, action: retry}
default: fail
`

func BenchmarkDoSuccess(b *testing.B) {
	p, _ := testEngine(b, Options{}, bareYAML).Provider("test")
	ctx := context.Background()
	ok := func(context.Context) error { return nil }
	call := Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}
	b.ReportAllocs()
	for b.Loop() {
		p.Do(ctx, call, ok)
	}
}

func BenchmarkTransportSuccess(b *testing.B) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	base := roundTripper(func(req *http.Request) (*http.Response, error) { return resp, nil })
	tr := testEngine(b, Options{}, bareYAML).Transport(base)
	req := request(b, context.Background(), "GET", "/items/1", "")
	b.ReportAllocs()
	for b.Loop() {
		resp, _ := tr.RoundTrip(req)
		resp.Body.Close()
	}
}
