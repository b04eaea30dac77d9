package sdktest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
)

// world is an engine above a fake provider, in a synctest bubble: time costs
// nothing there, and a goroutine that is left behind, or that hangs, fails the
// test.
type world struct {
	t       *testing.T
	ctx     context.Context
	server  *enginetest.Server
	base    *enginetest.Transport
	base0   http.RoundTripper // what the engine's transport is above
	tokens  *enginetest.Tokens
	engine  *engine.Engine
	client  *http.Client // of Transport alone
	mu      sync.Mutex
	claims  []string // that the engine was challenged for
	notices []engine.Notice
}

// inBubble runs f with a fake provider behind an engine.
func inBubble(t *testing.T, server func() *enginetest.Server, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ctx: t.Context(), server: server()}
		w.server.FailOnEarlyReturn(t)
		w.base, w.tokens = enginetest.NewTransport(w.server), enginetest.NewTokens(w.server)
		w.newEngine(inflater{w.base})
		f(w)
		w.idle()
	})
}

// under runs f with a handler in the provider's place, over no connection at all.
func under(t *testing.T, handler http.HandlerFunc, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, ctx: t.Context()}
		w.newEngine(direct{handler})
		f(w)
		w.idle()
	})
}

func (w *world) newEngine(base http.RoundTripper) {
	w.t.Helper()
	o := engine.Options{
		Rand: func() float64 { return 0.5 },
		Reauth: engine.Reauth{
			Interval: 100 * time.Millisecond, // the fake tokens do not live long
			Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
				if r.Claims != "" {
					w.mu.Lock()
					w.claims = append(w.claims, r.Claims)
					w.mu.Unlock()
				}
				if w.tokens == nil {
					return nil
				}
				return w.tokens.Renew(ctx, r.Account)
			},
		},
		Authorize: func(req *http.Request, account string) error {
			if w.tokens == nil {
				req.Header.Set("Authorization", "Bearer any")
				return nil
			}
			return w.tokens.Authorize(req, account)
		},
		Observer: engine.ObserverFunc(func(_ context.Context, n *engine.Notice) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notices = append(w.notices, *n)
		}),
	}
	var err error
	w.base0 = base
	if w.engine, err = engine.New(o); err != nil {
		w.t.Fatal(err)
	}
	w.client = &http.Client{Transport: w.engine.Transport(base)}
}

// idle checks that every permit was given back.
func (w *world) idle() {
	w.t.Helper()
	synctest.Wait()
	for _, pol := range w.engine.Policies().Policies() {
		p, err := w.engine.Provider(pol.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		for s := range p.Limiter().All() {
			if s.InFlight != 0 || s.Waiting != 0 {
				w.t.Errorf("%s: limit %q of %+v has %d permits out and %d calls waiting, want none", pol.Name, s.Limit, s.Keys, s.InFlight, s.Waiting)
			}
		}
	}
	if n := w.told(engine.NoticeLeak); n > 0 {
		w.t.Errorf("%d response bodies were never closed", n)
	}
}

// told counts the notices of a kind.
func (w *world) told(kind engine.NoticeKind) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.notices {
		if w.notices[i].Kind == kind {
			n++
		}
	}
	return n
}

// each runs f for every item, by several workers, in no order.
func each[T any](workers int, items []T, f func(T)) {
	var wg sync.WaitGroup
	next := make(chan T)
	for range workers {
		wg.Go(func() {
			for item := range next {
				f(item)
			}
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	wg.Wait()
}

// checkServer holds what the fake provider saw to what it should have seen.
func (w *world) checkServer() {
	w.t.Helper()
	c := w.server.Counts()
	if c.RefusedTotal() == 0 {
		w.t.Errorf("the server refused nothing: %+v", c)
	}
	if c.DuplicateSends != 0 {
		w.t.Errorf("%d duplicate sends, want none: %+v", c.DuplicateSends, c)
	}
	if n := w.told(engine.NoticeNested); n != 0 {
		w.t.Errorf("retries above were told %d times, but there are none", n)
	}
}

// direct answers requests by a handler, at once.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := httptest.NewRecorder()
	d.handler.ServeHTTP(rec, r)
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// inflater unpacks compressed requests, which the fake providers do not know.
type inflater struct{ base http.RoundTripper }

func (i inflater) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("Content-Encoding") != "gzip" {
		return i.base.RoundTrip(req)
	}
	defer req.Body.Close()
	z, err := gzip.NewReader(req.Body)
	if err != nil {
		return nil, fmt.Errorf("compressed body: %w", err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("compressed body: %w", err)
	}
	plain := req.Clone(req.Context())
	plain.Header.Del("Content-Encoding")
	plain.Body, plain.ContentLength, plain.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	resp, err := i.base.RoundTrip(plain)
	if err == nil {
		resp.Request = req
	}
	return resp, err
}
