package engine

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
)

// upload is the body of a request on its way. As long as it progresses the
// attempt's time does not run out; and an error of the caller's own reader is told
// from one of the network, since it comes again whatever is repeated.
type upload struct {
	io.ReadCloser
	dog    *watchdog
	closed atomic.Bool
	err    atomic.Pointer[error]
	again  atomic.Pointer[upload] // of a repeat of net/http's own
}

// minUpload is the longest body in memory, in bytes, that is not watched: it
// cannot fail, and net/http reads it in one piece, as io.Copy does. That much in an
// attempt_timeout is the slowest upload that counts as progressing.
const minUpload = 32 << 10

// watched reports whether the body of x's next attempt has to be an upload.
func (x *exchange) watched() bool {
	body := x.req.Body
	if body == nil || body == http.NoBody {
		return false
	}
	return !inMemory(body) || x.dog != nil && x.req.ContentLength > minUpload
}

// watchUpload puts an upload in the place of the body of req, which is a copy of
// the caller's request.
func (x *exchange) watchUpload(req *http.Request) *upload {
	up := &upload{ReadCloser: req.Body, dog: x.dog}
	req.Body = up
	if get := req.GetBody; get != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := get()
			if err != nil {
				return nil, err
			}
			again := &upload{ReadCloser: body, dog: up.dog}
			up.again.Store(again)
			return again, nil
		}
	}
	return up
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if n > 0 {
		u.dog.progress()
	}
	if err != nil && err != io.EOF && !u.closed.Load() { // else it is net/http that ended it
		u.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Close implements io.Closer.
func (u *upload) Close() error {
	u.closed.Store(true)
	return u.ReadCloser.Close()
}

// failed reports whether the caller's reader has failed. A nil upload has not.
func (u *upload) failed() bool {
	if u != nil && u.again.Load() != nil {
		u = u.again.Load()
	}
	return u != nil && u.err.Load() != nil
}

// uploadError is the error of an attempt whose own body could not be read.
type uploadError struct{ error }

func (e *uploadError) Unwrap() error { return e.error }

// inMemory reports whether body is one of the readers of memory that
// http.NewRequest knows, as net/http itself does.
func inMemory(body io.ReadCloser) bool {
	switch reflect.TypeOf(body) {
	case nopCloser, nopCloserWriterTo:
	default:
		return false
	}
	switch reflect.ValueOf(body).Field(0).Interface().(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		return true
	}
	return false
}

// What io.NopCloser returns.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)
