package engine

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A body that nobody closes would hold its permit for ever.
func TestLeakedBodyIsReported(t *testing.T) {
	told := make(chan Notice, 8)
	e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
		if n.Kind == NoticeLeak {
			told <- *n
		}
	})})
	tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: &trackedBody{Reader: strings.NewReader("x"), s: newServer()}}, nil
	}))
	func() {
		for range 2 { // the limit is 2
			if _, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", "")); err != nil {
				t.Fatal(err)
			}
		}
	}()
	for range 2 {
		for n := 0; ; n++ {
			runtime.GC()
			select {
			case n := <-told:
				if n.Operation != "items.get" || n.Account != "a" {
					t.Errorf("told %+v", n)
				}
			case <-time.After(10 * time.Millisecond): // a cleanup runs some time after its collection
				if n < 1000 {
					continue
				}
				t.Fatal("nothing was told")
			}
			break
		}
	}
	resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
