package enginetest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestScript(t *testing.T) {
	broken := errors.New("broken")
	var s Script
	s.Add(Reply{Status: 503, Header: "Retry-After: 7", Body: "busy"}, Reply{Err: broken})
	s.Add(Reply{Status: 204})
	for i, want := range []struct {
		status     int
		retryAfter string
		body       string
		err        error
	}{{503, "7", "busy", nil}, {0, "", "", broken}, {204, "", "", nil}, {200, "", "", nil}} {
		req, err := http.NewRequest(http.MethodPost, "http://api.test/", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.RoundTrip(req)
		if err != want.err {
			t.Fatalf("request %d: error %v, want %v", i+1, err, want.err)
		}
		if err != nil {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want.status || resp.Header.Get("Retry-After") != want.retryAfter || string(body) != want.body || resp.Request != req {
			t.Errorf("request %d: %d, Retry-After %q, %q, %v, want %d, %q, %q", i+1, resp.StatusCode, resp.Header.Get("Retry-After"), body, err, want.status, want.retryAfter, want.body)
		}
	}
}
