package classify_test

import (
	"fmt"
	"net/http"
	"net/textproto"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Gmail answers most throttling with 403 and puts the time to come back into
// the message.
func ExampleHTTP() {
	gmail, _ := policy.Builtin().Policy("gmail")
	var e rules.Event
	classify.HTTP(gmail, &classify.Response{
		Operation: "messages.get",
		Method:    "GET",
		Status:    403,
		Header:    http.Header{"Date": {"Fri, 11 Sep 2026 19:59:30 GMT"}},
		Body: []byte(`{"error": {"code": 403, "status": "PERMISSION_DENIED",
			"message": "User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z",
			"errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}}`),
	}, &e)
	fmt.Println(e.Type, e.Codes, e.RetryAfter)
	// Output: PERMISSION_DENIED [rateLimitExceeded] 30s
}

func ExampleSMTP() {
	smtp, _ := policy.Builtin().Policy("smtp")
	var e rules.Event
	classify.SMTP(smtp, &classify.Reply{Command: "DATA", Text: "550 5.4.5 Daily user sending quota exceeded.", Now: time.Now()}, &e)
	fmt.Println(e.Status, e.Code(), e.Message)
	// Output: 550 5.4.5 Daily user sending quota exceeded.
}

func ExampleIMAP() {
	imap, _ := policy.Builtin().Policy("imap")
	var e rules.Event
	classify.IMAP(imap, &classify.Reply{Command: "SELECT", Text: "A7 NO [UNAVAILABLE] Mailbox is being moved", Now: time.Now()}, &e)
	fmt.Println(e.IMAPStatus, e.Code(), e.Message)
	// Output: NO UNAVAILABLE Mailbox is being moved
}

func ExampleError() {
	smtp, _ := policy.Builtin().Policy("smtp")
	err := fmt.Errorf("send: %w", &textproto.Error{Code: 450, Msg: "4.2.0 Greylisted"})
	e := rules.Event{Method: "RCPT"}
	classify.Error(smtp, &classify.Failure{Err: err}, &e)
	fmt.Println(e.Protocol, e.Status, e.Code(), e.Message)
	// Output: smtp 450 4.2.0 Greylisted
}

// A batch succeeds as a whole; what is in it need not.
func ExampleBatch() {
	graph, _ := policy.Builtin().Policy("microsoft_graph")
	sent := []classify.BatchRequest{
		{ID: "1", Method: "GET", Operation: "messages.get"},
		{ID: "2", Method: "POST", Operation: "sendMail"},
	}
	items, err := classify.Batch(graph, &classify.Response{Status: 200, Body: []byte(`{"responses": [
		{"id": "1", "status": 429, "headers": {"Retry-After": "10"}, "body": {"error": {"code": "TooManyRequests"}}},
		{"id": "2", "status": 202}
	]}`)}, sent)
	for _, it := range items {
		fmt.Println(it.ID, it.Event.Status, it.Event.RetryAfter)
	}
	fmt.Println(err)
	// Output:
	// 1 429 10s
	// 2 202 0s
	// <nil>
}
