package debug

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
)

// listener is who reads a stream, in memory.
type listener struct {
	mu     sync.Mutex
	text   strings.Builder
	header http.Header
	status int
}

func (l *listener) Header() http.Header    { return l.header }
func (l *listener) WriteHeader(status int) { l.status = status }
func (l *listener) Flush()                 {}
func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns what has come since the last time.
func (l *listener) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.text.String()
	l.text.Reset()
	return s
}

// listen opens a stream; ended is closed at its end.
func (w *world) listen(ctx context.Context, target string) (l *listener, ended chan struct{}) {
	l, ended = &listener{header: http.Header{}, status: http.StatusOK}, make(chan struct{})
	go func() {
		defer close(ended)
		w.page.ServeHTTP(l, request("GET", "/debug/recourse/"+target, nil).WithContext(ctx))
	}()
	synctest.Wait()
	return l, ended
}

// A stream sends the page when it has changed, and ends with the request or the engine.
func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{}, engine.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		l, ended := w.listen(ctx, "stream?account=ann")
		first := l.take()
		if l.header.Get("Content-Type") != "text/event-stream; charset=utf-8" || !strings.Contains(first, "event: page\ndata: ") || !strings.Contains(first, "Account u-") {
			t.Fatalf("%v: %.400s", l.header, first)
		}
		if err := w.engine.PauseAccount("ann", time.Now().Add(time.Hour), "a <b>reason</b>\nin two lines"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(refresh)
		synctest.Wait()
		second := l.take()
		lines := strings.Split(strings.TrimSpace(second), "\n")
		if len(lines) != 2 || lines[0] != "event: page" {
			t.Fatalf("an event of %d lines: %.300s", len(lines), second)
		}
		var page string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(lines[1], "data: ")), &page); err != nil {
			t.Fatal(err)
		}
		if text := section(page, "result"); !strings.Contains(text, "paused") || strings.Contains(page, "<b>reason") {
			t.Errorf("the refreshed page says: %s", text)
		}
		cancel()
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("the stream goes on after its request")
		}
		for _, opened := range []string{"before Engine.Close", "after it"} {
			l, ended = w.listen(t.Context(), "stream")
			w.engine.Close()
			synctest.Wait()
			select {
			case <-ended:
			default:
				t.Fatalf("opened %s, the stream goes on", opened)
			}
			if text := l.take(); !strings.HasSuffix(text, "event: closed\ndata: {}\n\n") {
				t.Errorf("opened %s, the stream does not tell the end: …%s", opened, text[max(0, len(text)-80):])
			}
		}
	})
}

// There are no more streams than allowed, and the place of one that has ended is free.
func TestStreamsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Streams: 3}, engine.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var ends []chan struct{}
		for range 3 {
			_, ended := w.listen(ctx, "stream")
			ends = append(ends, ended)
		}
		l, _ := w.listen(t.Context(), "stream")
		if l.status != http.StatusServiceUnavailable || l.header.Get("Retry-After") == "" {
			t.Errorf("the fourth of three: status %d, want 503", l.status)
		}
		cancel()
		for _, ended := range ends {
			<-ended
		}
		again, stop := context.WithCancel(t.Context())
		if l, _ := w.listen(again, "stream"); l.status != http.StatusOK {
			t.Errorf("after the others have ended: status %d, want 200", l.status)
		}
		stop()
	})
}

// A real server and client: a reader that reads nothing is let go, and does not keep its place for
// ever, since writing has a deadline.
func TestStreamOverTheNetwork(t *testing.T) {
	w := newWorld(t, Options{}, engine.Options{})
	server := httptest.NewServer(w.page)
	defer server.Close()
	resp, err := http.Get(server.URL + "/debug/recourse/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for line, err := range lines(resp) {
		if err != nil {
			t.Fatal(err)
		}
		if line == "event: page" {
			break
		}
	}
	w.engine.Close()
	for line, err := range lines(resp) {
		if err != nil {
			t.Fatal(err)
		}
		if line == "event: closed" {
			return
		}
	}
	t.Error("the stream ended without saying so")
}

// lines are the lines of a response.
func lines(resp *http.Response) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		r := bufio.NewReaderSize(resp.Body, 1<<20)
		for {
			line, err := r.ReadString('\n')
			if !yield(strings.TrimSpace(line), err) || err != nil {
				return
			}
		}
	}
}
