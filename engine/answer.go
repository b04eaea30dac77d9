package engine

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// answer is a response and what has been read of its body to decide about it.
type answer struct {
	resp     *http.Response
	body     *httpattempt.Body // that of resp, where an attempt of Transport holds something for it
	most     int               // how many bytes of its body count
	head     httpattempt.Head  // the start of its body
	stranger bool              // its host must not have the account's credentials
	known    *rules.Event      // the facts that need no body
}

// forget drops the response of the attempt before.
func (a *answer) forget() {
	a.resp, a.body, a.head = nil, nil, httpattempt.Head{}
}

// notFinal reports whether a response, which should be final, has a status that no final
// response can have: one below 200, other than 101 to a request that asks for another
// protocol (RFC 9110, 15.2.2). Where req is nil, it may have asked.
func notFinal(resp *http.Response, req *http.Request) bool {
	return resp.StatusCode < 200 &&
		(resp.StatusCode != http.StatusSwitchingProtocols || req != nil && req.Header.Get("Upgrade") == "")
}

// needsDecision reports whether a response needs a decision: its status is an error, or a
// rule that does more than accept it matches the facts that need no body, or the policy says
// that an error may hide in a body like this.
func (a *answer) needsDecision(c *compiled, operation, method string, attempt int) bool {
	status := a.resp.StatusCode
	if status < 200 {
		return false // 101 that was asked for: the connection is the caller's now
	}
	a.most = classify.MaxBody
	if status >= 400 {
		return true
	}
	if len(c.policy.Inspect) > 0 {
		if ct := a.resp.Header.Get("Content-Type"); c.policy.InspectFor(status, operation, ct) != nil {
			a.most = classify.BodyLimit(c.policy, status, operation, ct)
			return true
		}
	}
	e := a.known
	e.Provider, e.Operation, e.Method, e.Protocol = c.policy.Name, operation, method, "http"
	e.Status, e.Header = status, a.resp.Header
	e.Attempt, e.Sent, e.Idempotent = attempt, true, true
	needs := false
	if i := c.policy.Matcher.Match(e); i >= 0 {
		rule := &c.policy.Rules[i]
		needs = rule.Action != policy.Accept || len(rule.Hold) > 0
	}
	return needs
}

// responseError returns the response as an error.
func (a *answer) responseError(e *rules.Event) *ResponseError {
	err := &ResponseError{
		Status: a.resp.StatusCode, Header: a.resp.Header, Body: a.head.Text(),
		Provider: e.Provider, Operation: e.Operation, Method: e.Method, Code: e.Code(), foreign: a.stranger,
	}
	if err.Code == "" {
		err.Code = e.Type
	}
	return err
}

// read reads the head of the response's body, which is what is classified of it.
func (a *answer) read() {
	closer := io.Closer(a.resp.Body)
	if a.body != nil {
		closer = a.body.ReadCloser // its permit goes back later
	}
	a.head = httpattempt.ReadHead(a.resp.Body, closer, a.most)
}

// replay puts back what has been read of the response's body, so that the caller reads all of it.
func (a *answer) replay() {
	if a.resp.Body != nil {
		a.resp.Body = a.head.Replay(a.resp.Body)
	}
}

// drain closes the body before the request is repeated, since an open body keeps its
// connection from other requests. A short body was read to its end, so its connection can be
// used again. The rest of a longer one is not waited for: the connection is closed with it.
// What has been read is kept, for the case that no better response comes.
func (a *answer) drain() {
	if a.resp.Body == nil {
		return
	}
	a.head.Cut() // if it is returned after all, it may not be whole
	a.resp.Body.Close()
}

// decided returns the error of a response that Transport has decided about; nil = a rule
// accepts it.
func (a *answer) decided(ctx context.Context, out Result) error {
	if out.Decision.Action == policy.Accept {
		return nil
	}
	a.most = classify.MaxBody
	a.read()
	a.drain()
	err := a.responseError(out.Event)
	if out.Decision.Defer {
		return &DeferError{
			Until: out.Until, State: out.Decision.State, Decision: out.Decision,
			Operation: out.Event.Operation, Event: out.Event, Err: err, provider: out.Event.Provider,
		}
	}
	gave := &GiveUpError{
		Decision: out.Decision, Operation: out.Event.Operation, Attempts: out.Attempts, Until: out.Until, Event: out.Event, Err: err,
	}
	if as := out.Decision.As; as == AsDeadline || as == AsCanceled {
		gave.Cause = contextError(ctx)
	}
	return gave
}

// answersBatch reports whether the response, as far as it was read, is the answer to
// a batch of requests. Microsoft Graph documents 424 for one beside 200.
func (a *answer) answersBatch(c *compiled) bool {
	if s := a.resp.StatusCode; s >= 300 && s != http.StatusFailedDependency {
		return false
	}
	items, _ := classify.Batch(c.policy, &classify.Response{
		Status: a.resp.StatusCode, Header: a.resp.Header, Body: a.head.Text(), Now: time.Now(),
	}, nil)
	return len(items) > 0
}

// readBatch reads the head of a response that Transport returned, and reports whether it
// answers a batch. If it does not, its body can be read as before.
func (a *answer) readBatch(c *compiled, operation string) bool {
	a.most = classify.BodyLimit(c.policy, a.resp.StatusCode, operation, a.resp.Header.Get("Content-Type"))
	a.read()
	if a.answersBatch(c) {
		return true
	}
	a.replay()
	a.head = httpattempt.Head{}
	return false
}
