package engine

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// What is remembered of a response must not keep its whole body.
func TestRecentKeepsNoBodies(t *testing.T) {
	const calls, body = 500, 60 << 10
	e := testEngine(t, Options{Recent: calls}, bareYAML)
	tr := e.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		text := `{"error":{"code":"gone"},"x":"` + strings.Repeat("x", body) + `"}`
		return &http.Response{StatusCode: 404, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(text))}, nil
	}))
	before := heap()
	for i := range calls {
		req := request(t, t.Context(), "GET", "/items/1", "")
		resp, err := tr.RoundTrip(req.WithContext(WithAccount(t.Context(), fmt.Sprint(i))))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	after := heap()
	records := e.Recent()
	if len(records) != calls || records[0].Event.Code() != "gone" || records[0].Account != fmt.Sprint(calls-1) {
		t.Fatalf("%d records, the newest %+v", len(records), records[0])
	}
	if n := (after - before) / calls; n > body/10 {
		t.Errorf("a record keeps %d bytes alive, want far less than a body of %d", n, body)
	}
}

// heap is what is in use, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Nothing that is remembered is a part of a text of the call or of its failure.
func TestRecentCopies(t *testing.T) {
	text := "account operation method status network code as-" + strings.Repeat("é", 40)
	part := strings.Fields(text)
	e := testEngine(t, Options{Recent: 1})
	p, err := e.Provider("test")
	if err != nil {
		t.Fatal(err)
	}
	r := &run{
		p: p, c: p.live.Load(), op: &operation{name: part[1]}, call: Call{Keys: limiter.Keys{Account: part[0]}, Method: part[2]},
		event:    &rules.Event{IMAPStatus: part[3], Network: part[4], Codes: part[5:6]},
		decision: &Decision{Action: policy.Fail, As: part[6], Rule: decision.Success},
	}
	r.record(time.Now())
	got := e.Recent()[0]
	cut := part[6][:63] // an é takes two bytes
	for i, tt := range []struct{ got, want string }{
		{got.Account, part[0]}, {got.Operation, part[1]}, {got.Method, part[2]}, {got.Event.IMAPStatus, part[3]}, {got.Event.Network, part[4]},
		{got.Event.Code(), part[5]}, {got.Decision.As, cut},
	} {
		if tt.got != tt.want {
			t.Errorf("text %d: got %q, want %q", i, tt.got, tt.want)
		}
		from, at := uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(unsafe.Pointer(unsafe.StringData(tt.got)))
		if at >= from && at < from+uintptr(len(text)) {
			t.Errorf("%q is a part of the whole text, not a copy", tt.got)
		}
	}

	off := testEngine(t, Options{})
	if r.p, err = off.Provider("test"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { r.record(time.Time{}) }); n != 0 || off.Recent() != nil {
		t.Errorf("without Options.Recent: %v allocations and %v, want none", n, off.Recent())
	}
}

// The ring holds the newest, the newest first.
func TestRecentOrder(t *testing.T) {
	r := newRecent(3)
	e := &Engine{recent: r}
	for i := range 5 {
		if got, want := len(e.Recent()), min(i, 3); got != want {
			t.Errorf("after %d: %d records, want %d", i, got, want)
		}
		r.add(Notice{Attempt: i})
	}
	var got []int
	for _, rec := range e.Recent() {
		got = append(got, rec.Attempt)
	}
	if fmt.Sprint(got) != "[4 3 2]" {
		t.Errorf("got %v, want [4 3 2]", got)
	}
}
