package httpattempt

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/recourse-go/recourse/internal/redact"
)

// maxKeptBody bounds the copy of a request's body, in bytes. It is the size of the largest
// request that Microsoft Graph takes; larger uploads are sent in chunks.
const maxKeptBody = 4 << 20

// KeepBody returns a request with a GetBody, so that it can be sent again, if it can do that
// without reading a stream ahead: it copies a body of up to maxKeptBody bytes whose length is
// known or that can be sought. SDKs need this: those of Google (Gmail's messages.send) and of
// Microsoft Graph (every body) make requests without GetBody. Other requests are returned as
// they are. The caller's request is not changed, but its body is read and closed. If reading
// blocks, KeepBody waits until ctx ends.
func KeepBody(ctx context.Context, req *http.Request) (*http.Request, error) {
	if !HadOnce(req) {
		return req, nil
	}
	n := req.ContentLength
	if n <= 0 { // not known
		n = left(req.Body)
	}
	if n < 0 || n > maxKeptBody {
		return req, nil
	}
	// Read one byte more, so that net/http still notices a body that is longer than the
	// request says.
	b, err := readAll(ctx, req.Body, n+1)
	if err != nil {
		return nil, redact.Wrap("engine: read the request's body", err)
	}
	kept := req.WithContext(req.Context())
	kept.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	kept.Body, _ = kept.GetBody()
	return kept, nil
}

// HadOnce reports whether req has a body that can be read only once.
func HadOnce(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
}

// readAll reads at most n bytes of a body, and closes it. It returns when ctx ends, as
// net/http does, even if closing the body does not end a read that is under way.
func readAll(ctx context.Context, body io.ReadCloser, n int64) (b []byte, err error) {
	if ctx.Done() == nil || inMemory(body) {
		defer body.Close()
		return io.ReadAll(io.LimitReader(body, n))
	}
	var read []byte
	failed := errReaderGone
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer body.Close()
		defer func() { panicked = recover() }()
		read, failed = io.ReadAll(io.LimitReader(body, n))
	}()
	select {
	case <-done:
		if panicked != nil {
			panic(panicked) // in the goroutine of the caller, which may recover
		}
		return read, failed
	case <-ctx.Done():
		body.Close()
		return nil, context.Cause(ctx)
	}
}

// errReaderGone is the error if the body's reader calls runtime.Goexit.
var errReaderGone = redact.New("engine: the body's reader has ended its goroutine")

// left returns how many bytes of a reader that can be sought are still to be read; -1 = it
// cannot tell.
func left(r io.Reader) int64 {
	s, ok := r.(io.Seeker)
	if !ok {
		return -1
	}
	at, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return -1
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return -1
	}
	if _, err := s.Seek(at, io.SeekStart); err != nil {
		return -1
	}
	return end - at
}
