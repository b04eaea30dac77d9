package main

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// This file tells the provider and the parent when the store was asked and what it granted, so
// that they can tell a request that came too early from one that was under way. A worker of
// your own needs none of it.

// stamps are the times of one call.
type stamps struct {
	mu    sync.Mutex
	asked time.Time // when the store was last asked for it
	asOf  time.Time // as of when the store granted it, by the store's clock
}

type stampsKey struct{}

// asked is a store that records what it is asked.
type asked struct {
	limiter.Store
	say           func(line)
	places        sync.Map // of keys, by StoreKey
	takes, grants atomic.Int64
}

func (a *asked) Key(place, name string) limiter.StoreKey {
	key := a.Store.Key(place, name)
	a.places.Store(key, place)
	return key
}

func (a *asked) Take(ctx context.Context, t *limiter.StoreTake) (limiter.StoreAnswer, error) {
	now := time.Now()
	a.takes.Add(1)
	answer, err := a.Store.Take(ctx, t)
	if answer.Granted {
		a.grants.Add(1)
	}
	if s, ok := ctx.Value(stampsKey{}).(*stamps); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked, s.asOf = now, time.Time{}
		if answer.Granted {
			s.asOf = answer.Now.Add(answer.Wait)
		}
	}
	return answer, err
}

func (a *asked) Change(ctx context.Context, c *limiter.StoreChange) (limiter.StoreState, error) {
	state, err := a.Store.Change(ctx, c)
	if place, known := a.places.Load(c.Key); known && err == nil && c.Kind == limiter.StoreRefused {
		_, mailbox, _ := strings.Cut(place.(string), "account=")
		a.say(line{Refused: mailbox, At: time.Now()})
	}
	return state, err
}

// stamping writes a call's times, and the worker's process ID, into its request's headers.
type stamping struct{ base http.RoundTripper }

func (s stamping) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	set := func(name string, t time.Time) {
		if !t.IsZero() {
			r.Header.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	set("X-Granted", time.Now())
	if s, ok := r.Context().Value(stampsKey{}).(*stamps); ok {
		s.mu.Lock()
		set("X-Asked", s.asked)
		set("X-As-Of", s.asOf)
		s.asked, s.asOf = time.Time{}, time.Time{} // the next attempt asks anew, or has a share
		s.mu.Unlock()
	}
	r.Header.Set("X-Worker", strconv.Itoa(os.Getpid()))
	return s.base.RoundTrip(r)
}
