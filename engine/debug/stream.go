package debug

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"
)

const (
	refresh = 2 * time.Second  // how often an open page is refreshed
	patient = 10 * time.Second // how long a reader may take for one refresh
)

// stream sends the page as a server-sent event whenever it has changed, until the request or the
// engine ends. The number of streams is bounded.
func (h *handler) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case <-h.engine.Done():
		w.WriteHeader(http.StatusNoContent) // by which an EventSource does not come back
		return
	default:
	}
	select {
	case h.streams <- struct{}{}:
		defer func() { <-h.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "recourse: too many pages refresh themselves already", http.StatusServiceUnavailable)
		return
	}
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	send := func(text string) bool {
		// End the stream of a reader that is too slow. If the server does not support this deadline,
		// its own timeouts must do that.
		_ = out.SetWriteDeadline(time.Now().Add(patient))
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if r.Method == http.MethodHead || !send("retry: 5000\n\n") {
		return
	}
	var last []byte
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		var page bytes.Buffer
		if err := h.render(&page, "main", h.index(r)); err != nil {
			return
		}
		text := ": nothing new\n\n"
		if !bytes.Equal(page.Bytes(), last) {
			last = page.Bytes()
			data, err := json.Marshal(page.String())
			if err != nil {
				return
			}
			text = "event: page\ndata: " + string(data) + "\n\n"
		}
		if !send(text) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-h.engine.Done():
			send("event: closed\ndata: {}\n\n")
			return
		case <-tick.C:
		}
	}
}
