package httpattempt

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/recourse-go/recourse/internal/redact"
)

// maxKeptBody bounds the copy of a request's body, in bytes. It is the largest
// request that Microsoft Graph takes; uploads beyond come in chunks.
const maxKeptBody = 4 << 20

// KeepBody returns a request whose body can be had again, if that can be done
// without reading ahead of a stream: of a body of known length, or one that
// can be sought, up to maxKeptBody a copy is made. SDKs need it: those of
// Google (Gmail's messages.send) and of Microsoft Graph (every body) make
// requests without GetBody. A request that is fine, or that cannot be helped,
// is returned as it is. The caller's request is not changed, but its body is
// read and closed. A body that does not come is waited for until ctx ends.
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
	// One byte more, so that net/http still notices a body longer than it should be.
	b, err := readAll(ctx, req.Body, n+1)
	if err != nil {
		return nil, redact.Wrap("engine: read the request's body", err)
	}
	kept := req.WithContext(req.Context())
	kept.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	kept.Body, _ = kept.GetBody()
	return kept, nil
}

// HadOnce reports whether req has a body that cannot be had again as it is.
func HadOnce(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
}

// readAll reads at most n bytes of a body, and closes it. It returns when ctx ends, as
// net/http does, also where to close the body does not end a read of it.
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
			panic(panicked) // where the caller of the round trip can see it
		}
		return read, failed
	case <-ctx.Done():
		body.Close()
		return nil, context.Cause(ctx)
	}
}

// errReaderGone is that of a reader which ends its goroutine.
var errReaderGone = redact.New("engine: the body's reader has ended its goroutine")

// left is how much can still be read of something that can be sought, in
// bytes; -1 = it cannot be told.
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
