package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/enginetest"
)

// maxBody is the most that is read of a response, in bytes.
const maxBody = 1 << 20

// client is one way to call a provider.
type client interface {
	do(ctx context.Context, mailbox string, r *http.Request) answer
}

// answer is the outcome of a call.
type answer struct {
	status    int // of the last response; 0 = none
	body      []byte
	err       error
	ambiguous bool      // the client cannot know whether the provider carried out the request
	deferred  time.Time // when to call again; zero = not deferred
}

// ok reports whether the call succeeded.
func (a *answer) ok() bool {
	return a.err == nil && a.deferred.IsZero() && a.status >= 200 && a.status <= 299
}

// naive is the loop that Warpflow's error page recommends ("Retry strategy"),
// line by line:
//
//	async function fetchWithRetry(url, options, maxRetries = 3) {
//	  for (let attempt = 0; attempt <= maxRetries; attempt++) {
//	    const response = await fetch(url, options)
//	    if (response.ok) return response.json()
//	    if (response.status === 429 || response.status >= 500) {
//	      const retryAfter = response.headers.get('Retry-After')
//	      const delay = retryAfter
//	        ? parseInt(retryAfter) * 1000
//	        : Math.min(1000 * Math.pow(2, attempt), 30000)
//	      await new Promise((resolve) => setTimeout(resolve, delay))
//	      continue
//	    }
//	    throw new Error(`API error: ${response.status}`)
//	  }
//	  throw new Error('Max retries exceeded')
//	}
//
// As the page says, the loop does not retry 400, 401, 403 or 404. The worker around
// the loop renews a refused token before its next message, so that an expired token
// costs one message and not the rest of the mailbox.
type naive struct {
	client   *http.Client
	tokens   *enginetest.Tokens
	accounts map[string]*naiveAccount
}

// naiveAccount is what the worker around the loop knows of a mailbox's token.
type naiveAccount struct {
	mu    sync.Mutex // held while the token is being renewed
	stale bool
}

const (
	naiveRetries  = 3
	naiveMaxDelay = 30 * time.Second
)

func newNaive(transport http.RoundTripper, tokens *enginetest.Tokens, servers []*enginetest.Server) *naive {
	n := &naive{client: &http.Client{Transport: transport}, tokens: tokens, accounts: map[string]*naiveAccount{}}
	for _, s := range servers {
		for _, m := range s.Mailboxes() {
			n.accounts[m] = &naiveAccount{}
		}
	}
	return n
}

// refused marks the mailbox's token for renewal, unless it has been renewed since r
// was sent.
func (n *naive) refused(r *http.Request, mailbox string) error {
	a := n.accounts[mailbox]
	a.mu.Lock()
	defer a.mu.Unlock()
	now := &http.Request{Header: http.Header{}}
	if err := n.tokens.Authorize(now, mailbox); err != nil {
		return err
	}
	a.stale = a.stale || r.Header.Get("Authorization") == now.Header.Get("Authorization")
	return nil
}

// renewStale renews the mailbox's token if it is marked.
func (n *naive) renewStale(ctx context.Context, mailbox string) error {
	a := n.accounts[mailbox]
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stale {
		return nil
	}
	if err := n.tokens.Renew(ctx, mailbox); err != nil {
		return err
	}
	a.stale = false
	return nil
}

func (n *naive) do(ctx context.Context, mailbox string, r *http.Request) answer {
	if err := n.renewStale(ctx, mailbox); err != nil {
		return answer{err: err}
	}
	var a answer
	for attempt := range naiveRetries + 1 {
		try := r.Clone(ctx)
		if r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return answer{err: err}
			}
			try.Body = body
		}
		if err := n.tokens.Authorize(try, mailbox); err != nil {
			return answer{err: err}
		}
		resp, err := n.client.Do(try)
		if err != nil {
			return answer{err: err} // fetch rejects, and nothing catches it
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		resp.Body.Close()
		if err != nil {
			return answer{err: err}
		}
		a = answer{status: resp.StatusCode, body: body}
		switch {
		case a.status >= 200 && a.status <= 299:
			return a
		case a.status == http.StatusTooManyRequests || a.status >= 500:
			if err := sleep(ctx, naiveDelay(resp.Header.Get("Retry-After"), attempt)); err != nil {
				return answer{err: err}
			}
			continue
		case a.status == http.StatusUnauthorized:
			if err := n.refused(try, mailbox); err != nil {
				return answer{err: err}
			}
		}
		a.err = fmt.Errorf("demo: API error: %d", a.status)
		return a
	}
	a.err = fmt.Errorf("demo: max retries exceeded, last status %d", a.status)
	return a
}

// naiveDelay returns the loop's delay after an attempt; the first attempt is 0.
func naiveDelay(retryAfter string, attempt int) time.Duration {
	if retryAfter == "" {
		return min(time.Second<<attempt, naiveMaxDelay)
	}
	// parseInt reads the digits at the beginning of a text. If there are none, as in
	// an HTTP-date, it returns NaN, which setTimeout takes for one millisecond.
	digits := len(retryAfter) - len(strings.TrimLeft(retryAfter, "0123456789"))
	n, err := strconv.Atoi(retryAfter[:digits])
	if err != nil {
		return time.Millisecond
	}
	return time.Duration(n) * time.Second
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
