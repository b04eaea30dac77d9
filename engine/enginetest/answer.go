package enginetest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// begin writes an answer's headers and the first half of its body, and returns
// the rest.
func begin(w http.ResponseWriter, a answer) (rest []byte) {
	var body []byte
	contentType := "application/json; charset=UTF-8"
	switch b := a.body.(type) {
	case nil:
	case string:
		body, contentType = []byte(b), "text/plain"
	default:
		body, _ = json.Marshal(b) // maps and structs of strings and numbers: it cannot fail
	}
	h := w.Header()
	for k, v := range a.header {
		h.Set(k, v)
	}
	if len(body) > 0 {
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	half := len(body) / 2
	if half > 0 {
		_, _ = w.Write(body[:half])
		_ = http.NewResponseController(w).Flush()
	}
	return body[half:]
}

func write(w http.ResponseWriter, a answer) {
	_, _ = w.Write(begin(w, a))
}

// pause waits, and reports whether done was not closed meanwhile.
func pause(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

// latency returns how long an answer takes: from 0.5 to 1.5 times the average, by u in [0,1).
func latency(average time.Duration, u float64) time.Duration {
	return time.Duration((0.5 + u) * float64(average))
}

// hangUp closes the connection in the middle of the status line. If it closed the
// connection without sending a byte, the loss could go unnoticed: net/http then repeats a
// GET by itself if the connection was used before.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's own way to close the connection
	}
	_, _ = conn.Write([]byte("HTTP/1.1 "))
	_ = conn.Close()
}

// request builds a request of plain HTTP to a provider; body nil = none, else JSON.
func request(method, host, path string, query url.Values, body any) *http.Request {
	u := url.URL{Scheme: "http", Host: host, Path: path, RawQuery: query.Encode()}
	var r *http.Request
	var err error
	if body == nil {
		r, err = http.NewRequest(method, u.String(), nil)
	} else {
		data, _ := json.Marshal(body)
		if r, err = http.NewRequest(method, u.String(), bytes.NewReader(data)); err == nil {
			r.Header.Set("Content-Type", "application/json")
		}
	}
	if err != nil {
		// The methods are constants and the URL is escaped by package url.
		panic("enginetest: " + err.Error())
	}
	return r
}

// segments splits an unescaped URL path.
func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// seconds returns the time until w.until as Retry-After writes it: whole seconds, rounded up.
func (w wait) seconds() (header string, named time.Time) {
	d := w.until.Sub(w.now)
	n := int64((d + time.Second - 1) / time.Second)
	return strconv.FormatInt(n, 10), w.now.Add(time.Duration(n) * time.Second)
}

// decimal returns the time until w.until in seconds with a fraction, rounded up to
// milliseconds. Graph has sent such values although RFC 9110 does not allow them.
func (w wait) decimal() (header string, named time.Time) {
	ms := int64((w.until.Sub(w.now) + time.Millisecond - 1) / time.Millisecond)
	return strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64), w.now.Add(time.Duration(ms) * time.Millisecond)
}

// date returns w.until as an HTTP-date, rounded up to seconds.
func (w wait) date() (header string, named time.Time) {
	t := w.until.Truncate(time.Second)
	if t.Before(w.until) {
		t = t.Add(time.Second)
	}
	return t.UTC().Format(http.TimeFormat), t
}

// instant returns w.until as RFC 3339 writes it, rounded up to milliseconds.
func (w wait) instant() (text string, named time.Time) {
	t := w.until.Truncate(time.Millisecond)
	if t.Before(w.until) {
		t = t.Add(time.Millisecond)
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z"), t
}

// unmarshal decodes JSON into a new value of type T.
func unmarshal[T any](body []byte) (T, error) {
	var v T
	err := json.Unmarshal(body, &v)
	return v, err
}
