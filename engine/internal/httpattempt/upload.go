package httpattempt

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
)

// Upload is the body of a request while it is sent. Each part that is read restarts the
// attempt's timer. An error of the caller's own reader is noted, so that it is not taken for
// one of the network: a repeat would fail in the same way. When the attempt's context ends,
// the body is closed, since over HTTP/1.1 net/http waits for a read of it that is under way,
// whatever has ended the request.
type Upload struct {
	io.ReadCloser
	timer  *Timer
	unhook func() bool // detaches it from the attempt's context; nil = that never ends
	closed atomic.Bool
	err    atomic.Pointer[error]  // the reader's error
	again  atomic.Pointer[Upload] // the body of a repeat by net/http itself
}

// minUpload is the size, in bytes, of the longest body in memory that needs no Upload: it
// cannot fail, and net/http reads it in one piece, as io.Copy does. So an upload must send at
// least that much in each attempt_timeout to count as progressing.
const minUpload = 32 << 10

// NeedsUpload reports whether the body of req has to be an Upload. timed says that the attempt
// has a timeout.
func NeedsUpload(req *http.Request, timed bool) bool {
	body := req.Body
	if body == nil || body == http.NoBody {
		return false
	}
	return !inMemory(body) || timed && req.ContentLength > minUpload
}

// NewUpload puts an Upload in the place of the body of req, which is a copy of the
// caller's request.
func NewUpload(req *http.Request, t *Timer) *Upload {
	up := newUpload(req, req.Body, t)
	req.Body = up
	if get := req.GetBody; get != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := get()
			if err != nil {
				return nil, err
			}
			again := newUpload(req, body, t)
			up.again.Store(again)
			return again, nil
		}
	}
	return up
}

func newUpload(req *http.Request, body io.ReadCloser, t *Timer) *Upload {
	u := &Upload{ReadCloser: body, timer: t}
	if !inMemory(body) {
		//lint:ignore SA1019 it ends a request as its context does
		u.unhook = whenOver(req.Context(), req.Cancel, func() { u.end() })
	}
	return u
}

// Read implements io.Reader.
func (u *Upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if n > 0 {
		u.timer.Progress()
	}
	if err != nil && err != io.EOF && !u.closed.Load() { // after Close an error is not the reader's own
		u.err.CompareAndSwap(nil, &err)
	}
	return n, err
}

// Close implements io.Closer.
func (u *Upload) Close() error {
	if u.unhook != nil {
		u.unhook()
	}
	return u.end()
}

func (u *Upload) end() error {
	if u.closed.Swap(true) {
		return nil
	}
	return u.ReadCloser.Close()
}

// Failed reports whether the caller's reader has failed. It is false for a nil Upload.
func (u *Upload) Failed() bool {
	if u != nil && u.again.Load() != nil {
		u = u.again.Load()
	}
	return u != nil && u.err.Load() != nil
}

// UploadError is the error of an attempt whose request body could not be read.
type UploadError struct{ Err error }

func (e *UploadError) Error() string { return e.Err.Error() }
func (e *UploadError) Unwrap() error { return e.Err }

// inMemory reports whether body is one of the in-memory readers that http.NewRequest knows.
// net/http recognises them in the same way.
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

// The two types that io.NopCloser returns.
var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)
