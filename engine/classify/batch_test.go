package classify_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
)

var graph = load(`
provider: microsoft_graph
idempotent: messages.read
extract: {codes: {json: error.code}, message: {json: error.message}}
`)

// summary is what became of the items of a batch, in short.
func summary(items []classify.BatchItem) string {
	var b strings.Builder
	for _, it := range items {
		e := &it.Event
		fmt.Fprintf(&b, "%d:%s %s %s %d %s %v %s %q answered=%v idempotent=%v\n", it.Index, it.ID, e.Method, e.Operation, e.Status, e.Code(), e.RetryAfter, e.Network, e.Message, it.Answered, e.Idempotent)
	}
	return b.String()
}

const graphBatch = `{"responses":[
 {"id":"2","status":200,"headers":{"Content-Type":"application/json"},"body":{"error":{"code":"not an error"},"value":[]}},
 {"id":"1","status":429,"headers":{"Retry-After":"10","Content-Type":"application/json"},"body":{"error":{"code":"TooManyRequests","message":"Please retry"}}},
 {"id":"4","status":424,"body":{"error":{"code":"FailedDependency","message":"m"}}},
 {"id":"x","status":200},
 {"id":"3","status":503,"headers":{"retry-after":["Fri, 11 Sep 2026 20:00:00 GMT"]},"body":"eyJlcnJvciI6eyJjb2RlIjoiaW5CYXNlNjQifX0="}
]}`

var graphSent = []classify.BatchRequest{
	{ID: "1", Operation: "messages.list", Method: "GET"},
	{ID: "2", Operation: "sendMail", Method: "post"},
	{ID: "3", Operation: "messages.read", Method: "PATCH"},
	{ID: "4", Operation: "sendMail", Method: "POST"},
	{ID: "5", Operation: "sendMail", Method: "POST"},
}

func TestBatchGraph(t *testing.T) {
	r := &classify.Response{Operation: "$batch", Method: "POST", Status: 200, Header: headers("content-type", "application/json", "date", date), Body: []byte(graphBatch), Now: arrival}
	items, err := classify.Batch(graph, r, graphSent)
	want := `0:1 GET messages.list 429 TooManyRequests 10s  "Please retry" answered=true idempotent=true
1:2 POST sendMail 200  0s  "" answered=true idempotent=false
2:3 PATCH messages.read 503 inBase64 2m0s  "" answered=true idempotent=true
3:4 POST sendMail 424 FailedDependency 0s  "m" answered=true idempotent=false
4:5 POST sendMail 0  0s eof "" answered=false idempotent=false
`
	if got := summary(items); got != want || err != nil {
		t.Errorf("got  error %v\n%s\nwant none and\n%s", err, got, want)
	}
	items, err = classify.Batch(graph, r, nil)
	want = `0:2   200  0s  "" answered=true idempotent=false
1:1   429 TooManyRequests 10s  "Please retry" answered=true idempotent=false
2:4   424 FailedDependency 0s  "m" answered=true idempotent=false
3:x   200  0s  "" answered=true idempotent=false
4:3   503 inBase64 2m0s  "" answered=true idempotent=false
`
	if got := summary(items); got != want || err != nil {
		t.Errorf("with nothing known of what was sent\ngot  error %v\n%s\nwant none and\n%s", err, got, want)
	}
}

// What is cut short has no answer, even where its status was still there: the
// wait that the server asks for may be in what is missing.
func TestBatchCut(t *testing.T) {
	cut := graphBatch[:strings.Index(graphBatch, `,"headers":{"retry-after"`)]
	r := &classify.Response{Status: 200, Body: []byte(cut)}
	items, err := classify.Batch(graph, r, graphSent)
	if !errors.Is(err, classify.ErrBatch) {
		t.Errorf("got error %v, want %v", err, classify.ErrBatch)
	}
	if got := items[2]; got.Answered || got.Event.Status != 0 || got.Event.Network != "eof" {
		t.Errorf("got  %+v\nwant no answer", got)
	}
	if got := items[0].Event.Status; got != 429 {
		t.Errorf("got status %d, want 429", got)
	}
}

func TestBatchNone(t *testing.T) {
	for _, body := range []string{"", "<html>", "{}", `{"responses":{}}`, "[]", "null", "\x1f\x8b\x00"} {
		items, err := classify.Batch(graph, &classify.Response{Status: 200, Body: []byte(body)}, graphSent[:2])
		if !errors.Is(err, classify.ErrBatch) || len(items) != 2 || items[0].Answered || items[1].Answered {
			t.Errorf("given %q\ngot  %v %+v\nwant %v and no answers", body, err, items, classify.ErrBatch)
		}
		if items, _ := classify.Batch(graph, &classify.Response{Status: 200, Body: []byte(body)}, nil); len(items) != 0 {
			t.Errorf("given %q\ngot  %+v\nwant nothing", body, items)
		}
	}
}

const gmailBatch = "--batch_x\r\n" +
	"Content-Type: application/http\r\nContent-ID: <response-item1>\r\n\r\n" +
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n" +
	"--batch_x\r\n" +
	"Content-Type: application/http\r\nContent-ID: <response-item2>\r\n\r\n" +
	"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nretry-after: 3\r\n\r\n" +
	`{"error":{"errors":[{"reason":"rateLimitExceeded"}],"code":429,"message":"Too many concurrent requests for user"}}` + "\r\n" +
	"--batch_x\r\n" +
	"Content-Type: application/http\r\n\r\ngarbage\r\n" +
	"--batch_x--\r\n"

func TestBatchGmail(t *testing.T) {
	r := &classify.Response{Status: 200, Header: headers("Content-Type", "multipart/mixed; boundary=batch_x", "Date", date), Body: []byte(gmailBatch)}
	items, err := classify.Batch(google, r, []classify.BatchRequest{{ID: "item1", Method: "GET", Operation: "messages.get"}, {ID: "item2", Method: "GET", Operation: "messages.get"}, {ID: "item3", Method: "GET", Operation: "messages.get"}})
	want := `0:item1 GET messages.get 200  0s  "" answered=true idempotent=true
1:item2 GET messages.get 429 rateLimitExceeded 3s  "Too many concurrent requests for user" answered=true idempotent=true
2:item3 GET messages.get 0  0s eof "" answered=false idempotent=true
`
	if got := summary(items); got != want || err != nil {
		t.Errorf("got  error %v\n%s\nwant none and\n%s", err, got, want)
	}
	r.Body = r.Body[:strings.Index(gmailBatch, "Too many concurrent")]
	items, err = classify.Batch(google, r, nil)
	if !errors.Is(err, classify.ErrBatch) || len(items) != 1 {
		t.Errorf("cut short: got error %v and %+v, want %v and the first answer", err, items, classify.ErrBatch)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add("application/json", []byte(graphBatch))
	f.Add("multipart/mixed; boundary=batch_x", []byte(gmailBatch))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := &classify.Response{Status: 200, Header: headers("Content-Type", contentType), Body: body, Now: arrival}
		items, _ := classify.Batch(google, r, graphSent)
		if len(items) != len(graphSent) {
			t.Errorf("given %q\ngot  %d items for %d requests", body, len(items), len(graphSent))
		}
		for i := range items {
			if items[i].Index != i || items[i].ID != graphSent[i].ID || items[i].Answered == (items[i].Event.Network == "eof") {
				t.Errorf("given %q\ngot  %+v", body, items[i])
			}
			if items[i].Event.RetryAfter < 0 || items[i].Event.RetryAfter > 7*24*time.Hour {
				t.Errorf("given %q\ngot  wait %v", body, items[i].Event.RetryAfter)
			}
		}
	})
}
