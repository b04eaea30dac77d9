package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// recourse is a client whose transport decides by the built-in policies.
type recourse struct {
	engine    *engine.Engine
	transport *enginetest.Transport
	client    *http.Client
	calls     map[string]engine.Call            // by mailbox
	tokens    atomic.Pointer[enginetest.Tokens] // of the running pass; each pass begins with new ones
}

func newRecourse(transport *enginetest.Transport, servers []*enginetest.Server) (*recourse, error) {
	c := &recourse{transport: transport, calls: map[string]engine.Call{}}
	eng, err := engine.New(engine.Options{
		Reauth: engine.Reauth{
			Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
				return c.tokens.Load().Renew(ctx, r.Account)
			},
			// These tokens live for seconds, where real ones live for an hour.
			Interval: 100 * time.Millisecond,
		},
		Authorize: func(r *http.Request, mailbox string) error { return c.tokens.Load().Authorize(r, mailbox) },
	})
	if err != nil {
		return nil, err
	}
	c.engine, c.client = eng, &http.Client{Transport: eng.Transport(transport)}
	for _, s := range servers {
		for _, mailbox := range s.Mailboxes() {
			call := engine.Call{Keys: limiter.Keys{Account: mailbox}}
			// The engine finds the policy by the host, except where every customer has a
			// host of its own.
			if eng.Policies().Lookup(s.Host(), "/") == nil {
				call.Provider = s.Name()
			}
			c.calls[mailbox] = call
		}
	}
	return c, nil
}

// close closes the engine and the idle connections.
func (c *recourse) close() {
	_ = c.engine.Close() // the error says only that the engine is closed already
	c.transport.CloseIdleConnections()
}

func (c *recourse) do(ctx context.Context, mailbox string, r *http.Request) answer {
	resp, err := c.client.Do(r.WithContext(engine.WithCall(ctx, c.calls[mailbox])))
	if err != nil {
		a := answer{err: err}
		var gaveUp *engine.GiveUpError
		var later *engine.DeferError
		switch {
		case errors.As(err, &later):
			a.deferred = later.Until
		case errors.As(err, &gaveUp):
			a.ambiguous = gaveUp.Decision.As == engine.AsAmbiguous
		}
		return a
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if o, decided := engine.Outcome(resp); decided {
		a.ambiguous = o.Decision.As == engine.AsAmbiguous
		a.deferred = o.Until
		if a.err == nil && !a.ok() {
			a.err = fmt.Errorf("demo: status %d: %s", a.status, o.Decision.Reason)
		}
	}
	return a
}
