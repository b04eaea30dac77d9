package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// A call that waits for responses which its own caller has opened and does not
// read fails, and names them.
func TestNestedStalled(t *testing.T) {
	for _, c := range []struct {
		name  string
		slots int
		open  []string                     // what is requested before, and left open
		then  func(bodies []io.ReadCloser) // done with these before the last request
		wrap  func(*Engine, http.RoundTripper) http.RoundTripper
		took  time.Duration
		names []string // of the error; nil = the last request succeeds
	}{
		{name: "one of one", slots: 1, open: []string{"items"}, took: time.Second, names: []string{"items.get"}},
		{name: "two of two", slots: 2, open: []string{"items", "big"}, took: time.Second, names: []string{"items.get", "big.get"}},
		{name: "one of two", slots: 2, open: []string{"items"}},
		{name: "closed", slots: 1, open: []string{"items"}, then: func(bs []io.ReadCloser) { bs[0].Close() }},
		{name: "read to its end", slots: 1, open: []string{"items"}, then: func(bs []io.ReadCloser) { io.ReadAll(bs[0]) }},
		{name: "read in part", slots: 1, open: []string{"items"}, took: time.Second, names: []string{"items.get"},
			then: func(bs []io.ReadCloser) { time.Sleep(700 * time.Millisecond); bs[0].Read(make([]byte, 1)) }},
		{name: "open for long", slots: 1, open: []string{"items"}, took: 0, names: []string{"items.get"},
			then: func([]io.ReadCloser) { time.Sleep(3 * time.Second) }},
		{name: "Transport around Transport", slots: 1, open: []string{"items"}, took: time.Second, names: []string{"items.get"},
			wrap: func(e *Engine, base http.RoundTripper) http.RoundTripper { return e.Transport(base) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, c.slots)
				base := &busyBase{}
				tr := e.Transport(base)
				if c.wrap != nil {
					tr = c.wrap(e, tr)
				}
				attempts, took := 0, time.Duration(0)
				err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
					attempts++
					var bodies []io.ReadCloser
					for _, path := range c.open {
						resp, err := getURL(ctx, tr, "https://one.example/"+path+"/1")
						if err != nil {
							return err
						}
						defer resp.Body.Close()
						bodies = append(bodies, resp.Body)
					}
					if c.then != nil {
						c.then(bodies)
					}
					start := time.Now()
					defer func() { took = time.Since(start) }()
					return getAll(ctx, tr, "https://one.example/items/2")
				})
				var stalled *limiter.StalledError
				if errors.As(err, &stalled) != (c.names != nil) || took != c.took || attempts != 1 {
					t.Fatalf("%v after %v and %d attempts, want a StalledError %v after %v and 1", err, took, attempts, c.names != nil, c.took)
				}
				var gaveUp *GiveUpError
				if c.names != nil && (stalled.Limit != "inflight" || !slices.Equal(stalled.Open, c.names) ||
					!errors.As(err, &gaveUp) || gaveUp.Decision.As != AsPermanent || !strings.Contains(err.Error(), `"inflight"`)) {
					t.Errorf("%v (limit %q, open %q), want permanent, %q, %q", err, stalled.Limit, stalled.Open, "inflight", c.names)
				}
				if _, slots := levels(t, e, "one", "ann"); slots != 0 {
					t.Errorf("%d slots in use at the end, want 0", slots)
				}
			})
		})
	}
}

// Who waits for a response that another goroutine of the same call reads, or for
// somebody else's, goes on waiting.
func TestNestedNotStalled(t *testing.T) {
	for _, c := range []struct {
		name string
		busy func(ctx context.Context, e *Engine, tr http.RoundTripper) // keeps the slot for five seconds
	}{
		{"read slowly", func(ctx context.Context, e *Engine, tr http.RoundTripper) {
			resp, err := getURL(ctx, tr, "https://one.example/items/1")
			if err != nil {
				t.Error(err)
				return
			}
			for range 6 { // each piece takes its reader less than a second
				resp.Body.Read(make([]byte, 0))
				time.Sleep(900 * time.Millisecond)
			}
			resp.Body.Close()
		}},
		{"a read that takes long", func(ctx context.Context, e *Engine, tr http.RoundTripper) {
			resp, err := getURL(ctx, e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: io.NopCloser(slowReader(5 * time.Second))}, nil
			})), "https://one.example/items/1")
			if err != nil {
				t.Error(err)
				return
			}
			io.ReadAll(resp.Body)
			resp.Body.Close()
		}},
		{"an attempt that takes long", func(ctx context.Context, e *Engine, tr http.RoundTripper) {
			if err := getAll(ctx, e.Transport(&busyBase{takes: 5 * time.Second}), "https://one.example/items/1"); err != nil {
				t.Error(err)
			}
		}},
		{"somebody else's body", func(ctx context.Context, e *Engine, tr http.RoundTripper) {
			resp, err := getURL(ctx, tr, "https://one.example/items/1")
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(5 * time.Second)
			resp.Body.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := lendEngine(t, 1)
				tr := e.Transport(&busyBase{})
				var wg sync.WaitGroup
				if c.name == "somebody else's body" {
					wg.Go(func() { c.busy(WithAccount(t.Context(), "ann"), e, tr) })
					synctest.Wait()
				}
				err := e.Do(WithAccount(t.Context(), "ann"), Call{Provider: "one", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
					if c.name != "somebody else's body" {
						wg.Go(func() { c.busy(ctx, e, tr) })
						synctest.Wait()
					}
					return getAll(ctx, tr, "https://one.example/items/2")
				})
				wg.Wait()
				if err != nil {
					t.Errorf("%v, want nil", err)
				}
			})
		})
	}
}

// slowReader takes so long for each read, and ends with the first.
type slowReader time.Duration

func (r slowReader) Read([]byte) (int, error) {
	time.Sleep(time.Duration(r))
	return 0, io.EOF
}
