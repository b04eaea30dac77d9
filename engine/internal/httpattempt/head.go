package httpattempt

import (
	"bytes"
	"io"
	"time"
)

// MaxHeadTime bounds the time in which a head is read. The rest of a body that comes byte by
// byte is not worth a worker.
const MaxHeadTime = 10 * time.Second

// Head is the start of a response's body, which is read to decide about the response. The
// zero value is one of which nothing was read.
type Head struct {
	read  []byte
	most  int   // how many bytes of read count
	whole bool  // read is all of the body
	err   error // what ended reading, if not its length or the end
}

// ReadHead reads the first most bytes of body, which may be nil, for at most MaxHeadTime.
// closer ends a read that takes longer.
func ReadHead(body io.ReadCloser, closer io.Closer, most int) (h Head) {
	if body == nil {
		return Head{whole: true}
	}
	cut := make(chan struct{})
	t := time.AfterFunc(MaxHeadTime, func() { closer.Close(); close(cut) })
	defer func() {
		if !t.Stop() {
			<-cut
			h.err, h.whole = io.ErrUnexpectedEOF, false
		}
	}()
	h.most = most
	// One byte more than the head tells a body that ends here from a longer one.
	h.read, h.err = io.ReadAll(&headReader{io.LimitedReader{R: body, N: int64(most) + 1}, cut})
	h.whole = len(h.read) <= most
	return h
}

// headReader reads until cut is closed. It is for bodies whose reads do not end when the
// body is closed, such as those within an io.NopCloser.
type headReader struct {
	io.LimitedReader
	cut <-chan struct{}
}

// Read implements io.Reader.
func (r *headReader) Read(p []byte) (int, error) {
	select {
	case <-r.cut:
		return 0, io.ErrUnexpectedEOF
	default:
		return r.LimitedReader.Read(p)
	}
}

// Text returns the head.
func (h *Head) Text() []byte { return h.read[:min(len(h.read), h.most)] }

// Whole reports whether the head is all of the body.
func (h *Head) Whole() bool { return h.whole }

// Cut notes that body will be closed, so that what was not read of it is lost.
func (h *Head) Cut() {
	if !h.whole {
		h.err = io.ErrUnexpectedEOF
	}
}

// Replay returns body with what has been read of it put back, so that all of it can be read.
func (h *Head) Replay(body io.ReadCloser) io.ReadCloser {
	read := bytes.NewReader(h.read)
	switch {
	case h.err != nil:
		return replayedBody{io.MultiReader(read, failingReader{h.err}), body}
	case h.whole:
		return replayedBody{read, body}
	}
	return replayedBody{io.MultiReader(read, body), body}
}

type replayedBody struct {
	io.Reader
	io.Closer
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }
