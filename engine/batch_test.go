package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// batchItem is the answer to one request of a batch.
func batchItem(operation, method string, status int, f ...func(*rules.Event)) classify.BatchItem {
	e := rules.Event{Protocol: "http", Operation: operation, Method: method, Status: status, Sent: true, Idempotent: method != "POST"}
	for _, f := range f {
		f(&e)
	}
	return classify.BatchItem{Event: e, Answered: status != 0}
}

func TestDecideBatch(t *testing.T) {
	hint := func(d time.Duration) func(*rules.Event) { return func(e *rules.Event) { e.RetryAfter = d } }
	code := func(c string) func(*rules.Event) { return func(e *rules.Event) { e.Codes = []string{c} } }
	lost := func(e *rules.Event) { e.Network = rules.NetworkEOF }
	for _, tt := range []struct {
		name   string
		call   Call
		items  []classify.BatchItem
		states []State
		again  string
		delay  time.Duration
		defers bool
		as     string // of the items, "-" = none
		holds  string
	}{
		{name: "nothing", again: "[]", as: "", holds: "[]"},
		{name: "all succeeded", items: []classify.BatchItem{batchItem("items.get", "GET", 200), batchItem("send", "POST", 201)},
			again: "[]", as: "- -", holds: "[]"},
		{name: "one refused, one done, one dead", items: []classify.BatchItem{
			batchItem("items.get", "GET", 200), batchItem("items.get", "GET", 429, hint(7*time.Second)), batchItem("items.get", "GET", 404)},
			again: "[1]", delay: 7 * time.Second, as: "- - permanent", holds: "[requests 7s]"},
		{name: "the longest hint counts, once", items: []classify.BatchItem{
			batchItem("items.get", "GET", 429, hint(7*time.Second)), batchItem("mark", "POST", 429, hint(9*time.Second)), batchItem("items.get", "GET", 429)},
			again: "[0 1 2]", delay: 9 * time.Second, as: "- - -", holds: "[requests 9s]"},
		{name: "without a hint a batch is one refusal", items: []classify.BatchItem{
			batchItem("items.get", "GET", 429), batchItem("items.get", "GET", 429), batchItem("items.get", "GET", 429)},
			again: "[0 1 2]", delay: time.Second, as: "- - -", holds: "[requests 1s]"},
		{name: "each rule its limit", items: []classify.BatchItem{
			batchItem("items.get", "GET", 429, hint(3*time.Second)), batchItem("send", "POST", 403, code("sendQuota"), hint(40*time.Second))},
			again: "[0 1]", delay: 40 * time.Second, as: "- -", holds: "[requests 3s sending 40s]"},
		{name: "what may have been done is not done again", items: []classify.BatchItem{
			batchItem("send", "POST", 500), batchItem("send", "POST", 0, lost), batchItem("items.get", "GET", 0, lost), batchItem("mark", "POST", 500, func(e *rules.Event) { e.Idempotent = true })},
			again: "[2 3]", delay: time.Second, as: "ambiguous ambiguous - -", holds: "[]"},
		{name: "a failed dependency goes again with what failed it", items: []classify.BatchItem{
			batchItem("items.get", "GET", 429, hint(2*time.Second)), batchItem("send", "POST", 424), batchItem("items.get", "GET", 404)},
			again: "[0 1]", delay: 2 * time.Second, as: "- permanent permanent", holds: "[requests 2s]"},
		{name: "but not where one before it failed for good", items: []classify.BatchItem{
			batchItem("items.get", "GET", 404), batchItem("send", "POST", 424), batchItem("items.get", "GET", 503)},
			again: "[2]", delay: time.Second, as: "permanent permanent -", holds: "[]"},
		{name: "nor after it as well", items: []classify.BatchItem{
			batchItem("items.get", "GET", 503), batchItem("items.get", "GET", 404), batchItem("mark", "POST", 424), batchItem("items.get", "GET", 503)},
			again: "[0 3]", delay: time.Second, as: "- permanent permanent -", holds: "[]"},
		{name: "nor where what it depends on may have been done", items: []classify.BatchItem{
			batchItem("items.get", "GET", 503), batchItem("send", "POST", 500), batchItem("mark", "POST", 424)},
			again: "[0]", delay: time.Second, as: "- ambiguous permanent", holds: "[]"},
		{name: "nor where only what comes later does", items: []classify.BatchItem{
			batchItem("mark", "POST", 424), batchItem("items.get", "GET", 503), batchItem("mark", "POST", 424)},
			again: "[1]", delay: time.Second, as: "permanent - permanent", holds: "[]"},
		{name: "a chain goes again as a whole", items: []classify.BatchItem{
			batchItem("items.get", "GET", 200), batchItem("items.get", "GET", 503), batchItem("mark", "POST", 424), batchItem("items.get", "GET", 410), batchItem("send", "POST", 424)},
			again: "[1 2 4]", delay: time.Second, as: "- - permanent - permanent", holds: "[]"},
		{name: "and not when nothing does", items: []classify.BatchItem{batchItem("items.get", "GET", 404), batchItem("send", "POST", 424)},
			again: "[]", as: "permanent permanent", holds: "[]"},
		{name: "deferred", items: []classify.BatchItem{batchItem("items.get", "GET", 429, hint(10*time.Minute))},
			again: "[0]", delay: 10 * time.Minute, defers: true, as: "-", holds: "[requests 10m0s]"},
		{name: "credentials", items: []classify.BatchItem{batchItem("items.get", "GET", 401), batchItem("items.get", "GET", 200)},
			again: "[0]", as: "- -", holds: "[]"},
		{name: "states go on", items: []classify.BatchItem{batchItem("items.get", "GET", 500), batchItem("items.get", "GET", 500)},
			states: []State{failedThrice(t)},
			again:  "[1]", delay: time.Second, as: "exhausted -", holds: "[]"},
		{name: "the call bounds every item", call: Call{MaxAttempts: 1}, items: []classify.BatchItem{batchItem("items.get", "GET", 500)},
			again: "[]", as: "exhausted", holds: "[]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				seen := &notices{}
				e := testEngine(t, Options{Observer: seen, Rand: func() float64 { return 0 }})
				p, _ := e.Provider("test")
				call := tt.call
				call.Account = "a"
				b := p.DecideBatch(t.Context(), call, time.Now().Add(-time.Second), tt.items, tt.states)
				var as, holds []string
				for i, d := range b.Items {
					as = append(as, d.As)
					if d.As == "" {
						as[i] = "-"
					}
					if d.Rule == nil || d.State.Attempts == 0 {
						t.Errorf("item %d: %+v", i, d)
					}
				}
				for _, n := range seen.of(NoticeHold) {
					holds = append(holds, fmt.Sprint(n.Limit, " ", n.Duration))
				}
				if got := fmt.Sprint(b.Again); got != tt.again || b.Delay != tt.delay || b.Defer != tt.defers || strings.Join(as, " ") != tt.as || fmt.Sprint(holds) != tt.holds {
					t.Errorf("again %s after %v (defer %v), as %q, held %v\nwant  %s after %v (defer %v), as %q, held %s",
						got, b.Delay, b.Defer, strings.Join(as, " "), holds, tt.again, tt.delay, tt.defers, tt.as, tt.holds)
				}
				if n := p.Peek("requests", limiter.Keys{Account: "a"}).Refused; strings.Contains(tt.holds, "requests") != (n == 1) {
					t.Errorf("%d refusals counted, held %s", n, tt.holds)
				}
			})
		})
	}
}

// A whole batch through Do: what succeeded is sent once, the rest until it has.
func TestDecideBatchInsideDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Options{Rand: func() float64 { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		defer nothingLeft(t, e)
		graph, err := e.Provider("microsoft_graph")
		if err != nil {
			t.Fatal(err)
		}
		answers := []string{
			`{"responses":[{"id":"1","status":202},{"id":"2","status":429,"headers":{"Retry-After":"8"},"body":{"error":{"code":"ApplicationThrottled"}}},{"id":"3","status":404,"body":{"error":{"code":"ErrorItemNotFound"}}}]}`,
			`{"responses":[{"id":"2","status":200}]}`,
		}
		var sent [][]string
		post := func(ids []string) []byte {
			sent = append(sent, ids)
			return []byte(answers[len(sent)-1])
		}
		requests := []classify.BatchRequest{
			{ID: "1", Operation: "sendMail", Method: "POST"}, {ID: "2", Operation: "messages.get", Method: "GET"}, {ID: "3", Operation: "messages.get", Method: "GET"},
		}
		var states []State
		ends := map[string]string{}
		call := Call{Keys: limiter.Keys{Account: "ann", Operation: "$batch"}, Method: "POST", N: len(requests)}
		start := time.Now()
		err = graph.Do(t.Context(), call, func(ctx context.Context) error {
			began := time.Now()
			var ids []string
			for _, r := range requests {
				ids = append(ids, r.ID)
			}
			items, err := classify.Batch(graph.Policy(), &classify.Response{
				Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: post(ids), Now: began,
			}, requests)
			if err != nil {
				return err
			}
			b := graph.DecideBatch(ctx, call, began, items, states)
			var again []classify.BatchRequest
			states = nil
			for i, d := range b.Items {
				ends[requests[i].ID] = d.Action.String() + " " + d.As
			}
			for _, i := range b.Again {
				again = append(again, requests[i])
				states = append(states, b.Items[i].State)
			}
			if requests = again; len(again) > 0 {
				return RetryAfter(b.Delay, errors.New("some were refused"))
			}
			return nil
		})
		if err != nil || fmt.Sprint(sent) != "[[1 2 3] [2]]" || time.Since(start) < 8*time.Second {
			t.Errorf("got %v, sent %v in %v", err, sent, time.Since(start))
		}
		if got, _ := json.Marshal(ends); string(got) != `{"1":"accept ","2":"accept ","3":"fail gone"}` {
			t.Errorf("ended as %s", got)
		}
	})
}
