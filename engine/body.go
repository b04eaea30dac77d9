package engine

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// guardedBody is a response's body that gives the call's permit back, and ends
// its watchdog, at the end of the body or when it is closed. With an Observer,
// one that is collected without either is reported, and gives them back after
// all. So does one whose caller's context ends: net/http frees the connection
// then, whoever reads.
type guardedBody struct {
	io.ReadCloser
	permit limiter.Permit
	dog    *watchdog
	failed bool // only Close ends it: the failure is being decided
	done   atomic.Bool
	use    *bodyUse        // nil = the call is made inside no other
	leak   runtime.Cleanup // reports a body that nobody closed
	unhook func() bool     // from the caller's context; nil where that cannot end
}

// guard ties what the attempt holds to the response's body.
func (x *exchange) guard(r *run, failed bool) {
	switch body := x.resp.Body.(type) {
	case io.ReadWriteCloser:
		if x.resp.StatusCode >= 200 {
			break
		}
		// 101 Switching Protocols: the body is a connection, which is the
		// caller's for as long as they like.
		r.permit.Complete()
		if x.dog != nil {
			x.resp.Body = upgraded(body, x.dog)
		}
		return
	}
	if x.resp.StatusCode < 200 || x.resp.Body == nil || x.resp.Body == http.NoBody {
		// Nothing comes any more, and nobody need close it. After a failure
		// settle releases the permit.
		if !failed {
			r.permit.Complete()
		}
		x.dog.end()
		return
	}
	if len(r.op.uses) == 0 && x.dog == nil {
		return
	}
	if !failed {
		r.permit.Succeeded()
	}
	b := &guardedBody{ReadCloser: x.resp.Body, permit: r.permit, dog: x.dog, failed: failed}
	if failed {
		x.body = b
	} else {
		b.use = r.watchUse()
		b.watch(r)
	}
	x.resp.Body = b
}

// watch gives back what b holds when the caller's context ends, and tells the
// observer should b be collected without being closed. What the context refers
// to must not be b, which would live as long.
func (b *guardedBody) watch(r *run) {
	if ctx := r.x.req.Context(); ctx.Done() != nil && len(r.op.uses) > 0 {
		permit, dog := b.permit, b.dog
		b.unhook = context.AfterFunc(ctx, func() {
			permit.Release()
			dog.end()
		})
	}
	if o := r.p.engine.o.Observer; o != nil {
		b.leak = runtime.AddCleanup(b, leaked, &leak{
			observer: o, permit: b.permit, dog: b.dog, unhook: b.unhook,
			notice: Notice{
				Kind: NoticeLeak, Provider: r.c.policy.Name, Version: r.c.policy.Version,
				Account: r.call.Account, Operation: r.op.name, Method: r.call.Method,
			},
		})
	}
}

// leak is what a body that was collected without being closed leaves behind:
// its permit would be held for ever. Its connection ends with the attempt's
// context, where there is a watchdog. The body itself must not be here: that
// of net/http leads to its response when it is chunked (for the trailers), the
// response to the guardedBody, which then would never be collected.
type leak struct {
	observer Observer
	permit   limiter.Permit
	dog      *watchdog
	unhook   func() bool
	notice   Notice
}

func leaked(l *leak) {
	go func() { // cleanups must not block
		if l.unhook != nil {
			l.unhook()
		}
		l.permit.Release()
		l.dog.end()
		l.notice.Time = time.Now()
		defer func() { _ = recover() }() // there is no caller here whom an observer's panic could tell
		l.observer.Observe(context.Background(), &l.notice)
	}()
}

// Read implements io.Reader.
func (b *guardedBody) Read(p []byte) (int, error) {
	b.dog.resume()
	b.use.begin()
	n, err := b.ReadCloser.Read(p)
	b.use.end()
	b.dog.pause()
	if err == nil {
		return n, nil
	}
	if err != io.EOF && b.dog.fired() {
		err = &attemptError{err}
	}
	if !b.failed {
		b.release()
	}
	return n, err
}

// Close implements io.Closer.
func (b *guardedBody) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}

func (b *guardedBody) release() {
	if b.done.CompareAndSwap(false, true) {
		b.leak.Stop()
		if b.unhook != nil {
			b.unhook()
		}
		b.permit.Release()
		b.dog.end()
	}
}

// upgraded ties an attempt's watchdog to a connection that the server has
// switched to another protocol; it still is all that the connection was.
func upgraded(c io.ReadWriteCloser, dog *watchdog) io.ReadCloser {
	u := upgradedBody{c, dog}
	if h, ok := c.(closeWriter); ok {
		return &struct {
			upgradedBody
			closeWriter
		}{u, h}
	}
	return &u
}

type closeWriter interface{ CloseWrite() error }

type upgradedBody struct {
	io.ReadWriteCloser
	dog *watchdog
}

// Close implements io.Closer.
func (b *upgradedBody) Close() error {
	err := b.ReadWriteCloser.Close()
	b.dog.end()
	return err
}

// idleBody is a body read inside Do's function: each read has the attempt's
// timeout to itself.
type idleBody struct {
	io.ReadCloser
	dog   *watchdog
	reads atomic.Int32 // under way
	over  atomic.Bool
}

// Read implements io.Reader.
func (b *idleBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	defer b.reads.Add(-1)
	b.dog.resume()
	n, err := b.ReadCloser.Read(p)
	b.dog.pause()
	if err == nil {
		return n, nil
	}
	if err != io.EOF && b.dog.fired() {
		err = &attemptError{err}
	}
	b.end()
	return n, err
}

// Close implements io.Closer.
func (b *idleBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

func (b *idleBody) end() {
	if b.over.CompareAndSwap(false, true) {
		b.dog.closed(b)
	}
}

// maxHeadTime bounds how long a body that is to be classified is waited for: a
// failed response's, or a success's that the policy inspects. The rest of one
// that only drips is not worth a worker.
const maxHeadTime = 10 * time.Second

// read takes the head of the response's body for classification.
func (x *exchange) read() {
	if x.resp.Body == nil {
		x.whole = true
		return
	}
	body, cut := io.Closer(x.resp.Body), make(chan struct{})
	if x.body != nil {
		body = x.body.ReadCloser // its permit goes back later
	}
	t := time.AfterFunc(maxHeadTime, func() { body.Close(); close(cut) })
	defer func() {
		if !t.Stop() {
			<-cut
			x.rerr, x.whole = io.ErrUnexpectedEOF, false
		}
	}()
	// One byte more than the head tells a body that ends here from a longer one.
	x.head, x.rerr = io.ReadAll(io.LimitReader(x.resp.Body, int64(x.most)+1))
	x.whole = len(x.head) <= x.most
}

// text is the part of the body that is classified.
func (x *exchange) text() []byte {
	return x.head[:min(len(x.head), x.most)]
}

// replay puts the response's body together again.
func (x *exchange) replay() {
	if x.resp.Body == nil {
		return
	}
	head := bytes.NewReader(x.head)
	switch {
	case x.rerr != nil:
		x.resp.Body = replayedBody{io.MultiReader(head, failingReader{x.rerr}), x.resp.Body}
	case x.whole:
		x.resp.Body = replayedBody{head, x.resp.Body}
	default:
		x.resp.Body = replayedBody{io.MultiReader(head, x.resp.Body), x.resp.Body}
	}
}

type replayedBody struct {
	io.Reader
	io.Closer
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// drain closes the body before the request is repeated: one left open keeps
// its connection from everybody else. A short one was read to its end, so that
// its connection can be used again; the rest of a longer one is cheaper to throw
// away with the connection than to wait for. What has been read is kept, for
// the case that nothing better comes.
func (x *exchange) drain() {
	if x.resp.Body == nil {
		return
	}
	if !x.whole {
		x.rerr = io.ErrUnexpectedEOF // if it is returned after all, it is not whole
	}
	x.resp.Body.Close()
}

// discard lets go of a failed attempt before the call waits or goes on.
func (r *run) discard() {
	if r.x != nil && r.x.resp != nil {
		r.x.drain()
		r.err = r.x.responseError(r.event)
	}
}

// settle gives back what a finished attempt may still hold: after the hold, so
// that nobody who gets it runs into the same wall.
func (r *run) settle() {
	switch {
	case r.x == nil || r.x.resp == nil:
		if !r.event.Sent {
			r.permit.Refund() // the provider has not seen it
		}
		r.permit.Release()
	case r.x.whole:
		if r.x.resp.Body != nil {
			r.x.resp.Body.Close()
		}
		r.permit.Release()
	}
	if r.doubt != nil {
		r.doubt.leave()
		r.doubt = nil
	}
}
