package bench

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"
	kiota "github.com/microsoft/kiota-http-go"

	"github.com/recourse-go/recourse/engine"
)

const throttledBody = `{"error":{"code":"slowDown","message":"Application is over its MailboxConcurrency limit.","innerError":{"date":"2026-11-22T10:00:00","request-id":"02403262-4063-455c-9c8f-54f442b31343"}}}`

// wire answers at once: what is measured is the wrapper around it. With
// throttle set, every other request is a 429.
type wire struct {
	throttle bool
	n        int
	header   http.Header
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.n++
	if w.throttle && w.n%2 == 1 {
		return &http.Response{StatusCode: 429, Header: w.header, Body: io.NopCloser(strings.NewReader(throttledBody)), Request: req}, nil
	}
	return &http.Response{StatusCode: 200, Header: w.header, Body: http.NoBody, Request: req}, nil
}

func newWire(throttle bool) *wire {
	return &wire{throttle: throttle, header: http.Header{"Content-Type": {"application/json"}}}
}

func roundTrips(b *testing.B, wrap func(http.RoundTripper) http.RoundTripper) {
	for _, name := range []string{"success", "429"} {
		b.Run(name, func(b *testing.B) {
			w := newWire(name == "429")
			rt := wrap(w)
			_, ends := rt.(final)
			retries := !ends && rt != http.RoundTripper(w)
			req, err := http.NewRequest("GET", "https://work.example/items/1", nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := rt.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 && retries {
					b.Fatalf("HTTP %d", resp.StatusCode)
				}
			}
		})
	}
}

func BenchmarkTransport(b *testing.B) {
	eng := workEngine(b, engine.Options{})
	roundTrips(b, func(base http.RoundTripper) http.RoundTripper { return eng.Transport(base) })
}

func BenchmarkPeerTransport(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		roundTrips(b, func(base http.RoundTripper) http.RoundTripper { return base })
	})
	b.Run("retryablehttp", func(b *testing.B) {
		roundTrips(b, func(base http.RoundTripper) http.RoundTripper {
			c := retryablehttp.NewClient()
			c.HTTPClient = &http.Client{Transport: base}
			c.Logger = nil
			c.RetryWaitMin, c.RetryWaitMax = 0, 0
			c.Backoff = func(time.Duration, time.Duration, int, *http.Response) time.Duration { return 0 }
			return &retryablehttp.RoundTripper{Client: c}
		})
	})
	b.Run("failsafehttp", func(b *testing.B) {
		p := failsafehttp.NewRetryPolicyBuilder().WithDelay(0).WithMaxRetries(3).Build()
		roundTrips(b, func(base http.RoundTripper) http.RoundTripper {
			return failsafehttp.NewRoundTripperWithExecutor(base, failsafe.With(p))
		})
	})
	b.Run("kiota", func(b *testing.B) {
		// The pipeline that a Graph client gets. Kiota waits whole seconds, so
		// its 429 is the decision not to retry, which ShouldRetry makes.
		pipeline, err := kiota.GetDefaultMiddlewaresWithOptions(&kiota.RetryHandlerOptions{
			MaxRetries: 3, DelaySeconds: 1,
			ShouldRetry: func(time.Duration, int, *http.Request, *http.Response) bool { return false },
		})
		if err != nil {
			b.Fatal(err)
		}
		roundTrips(b, func(base http.RoundTripper) http.RoundTripper {
			return final{kiota.NewCustomTransportWithParentTransport(base, pipeline...)}
		})
	})
}

// final is a transport whose failures are final.
type final struct{ http.RoundTripper }
