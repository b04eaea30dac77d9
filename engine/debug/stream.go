package debug

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

const (
	refresh = 2 * time.Second  // how often an open page is refreshed
	patient = 10 * time.Second // how long a reader may take for one refresh
)

// stream sends the page as a server-sent event whenever it has changed, until the request or the
// engine ends. The last event says that the engine is closed; then the page does not come back.
// The number of streams is bounded.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "recourse: too many pages refresh themselves already", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	out := eventStream{w, http.NewResponseController(w)}
	if r.Method == http.MethodHead || !out.send("retry: 5000\n\n") {
		return
	}
	var last []byte
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		page, err := h.sendPage(out, r, last)
		if err != nil {
			return
		}
		last = page
		select {
		case <-r.Context().Done():
			return
		case <-h.engine.Done():
			out.send("event: closed\ndata: {}\n\n")
			return
		case <-tick.C:
		}
	}
}

// errGone says that nobody reads a stream any more.
var errGone = errors.New("debug: the reader has gone")

// sendPage sends the page if it is not what was sent last, and returns it.
func (h *handler) sendPage(out eventStream, r *http.Request, last []byte) ([]byte, error) {
	var page bytes.Buffer
	if err := h.render(&page, "main", h.index(r)); err != nil {
		return nil, err
	}
	text := ": nothing new\n\n"
	if !bytes.Equal(page.Bytes(), last) {
		data, err := json.Marshal(page.String())
		if err != nil {
			return nil, err
		}
		text = "event: page\ndata: " + string(data) + "\n\n"
	}
	if !out.send(text) {
		return nil, errGone
	}
	return page.Bytes(), nil
}

// eventStream writes server-sent events.
type eventStream struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

// send writes a text at once. It returns false if nobody reads it any more. It ends the stream of
// a reader that is too slow; if the server does not support that deadline, its own timeouts must.
func (s eventStream) send(text string) bool {
	_ = s.out.SetWriteDeadline(time.Now().Add(patient))
	if _, err := s.w.Write([]byte(text)); err != nil {
		return false
	}
	return s.out.Flush() == nil
}
