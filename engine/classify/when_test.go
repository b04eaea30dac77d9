package classify_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

const conditional = `
version: 1
provider: example
default: fail
extract:
  type: {header: X-Kind, match: '^(\w+)/'}
  codes:
    - {json: error.code, when: status >= 400}
    - {json: 'errors.#.code', match: '^E-(\d+)$'}
    - {xml: Fault/faultcode, match: ':(\w+)$'}
    - {xml_name: detail, match: '^Error\w+'}
    - {header: X-Codes, match: '[a-z]+$', when: method == "POST"}
  message: [{json: error.message, when: operation startsWith "messages."}, {json: error.title}]
  retry_after:
    - {header: X-RateLimit-Requests-Reset, as: epoch, when: 'status == 429 or header("X-RateLimit-Requests-Remaining") == "0"'}
    - {header: Zendesk-RateLimit-Tickets-Index, match: 'resets=(\d+)', as: s}
    - {json: error.detail, match: 'in (\d+) minutes', as: duration, when: status == 403}
    - {text: 'wait (\d+)s', as: s, when: status == 503}
  facts:
    scope: {header: X-Scope, match: 'scope="([^"]*)"', when: status == 403}
`

// TestExtractorConditions holds that an extractor is looked at only where its
// `when` holds, and that `match` yields its first group of whatever was found.
func TestExtractorConditions(t *testing.T) {
	set, ds := policy.Load([]policy.File{{Name: "example.yaml", Data: []byte(conditional)}}, policy.LoadOptions{})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	p, _ := set.Policy("example")
	type want struct {
		kind, codes, message, scope string
		wait                        time.Duration
	}
	for _, tt := range []struct {
		name string
		r    classify.Response
		want want
	}{
		{"a reset on a plain 403", classify.Response{Status: 403, Header: http.Header{"X-Ratelimit-Requests-Reset": {"1789156800"}, "X-Ratelimit-Requests-Remaining": {"7"}}}, want{}},
		{"a reset where nothing remains", classify.Response{Status: 403, Header: http.Header{"X-Ratelimit-Requests-Reset": {"1789156800"}, "X-Ratelimit-Requests-Remaining": {"0"}}}, want{wait: 30 * time.Second}},
		{"a reset on a 429", classify.Response{Status: 429, Header: http.Header{"X-Ratelimit-Requests-Reset": {"1789156800"}}}, want{wait: 30 * time.Second}},
		{"a group of a header", classify.Response{Status: 429, Header: http.Header{"Zendesk-Ratelimit-Tickets-Index": {"total=100; remaining=0; resets=41"}}}, want{wait: 41 * time.Second}},
		{"a header without a match", classify.Response{Status: 429, Header: http.Header{"Zendesk-Ratelimit-Tickets-Index": {"total=100; remaining=0"}}}, want{}},
		{"a text by its status", classify.Response{Status: 503, Body: []byte("please wait 9s")}, want{wait: 9 * time.Second}},
		{"the same text of another status", classify.Response{Status: 500, Body: []byte("please wait 9s")}, want{}},
		{"codes of a refusal", classify.Response{Status: 404, Body: []byte(`{"error":{"code":"a"},"errors":[{"code":"E-1"},{"code":"X-2"},{"code":"E-3"}]}`)}, want{codes: "a 1 3"}},
		{"codes of a redirect", classify.Response{Status: 304, Body: []byte(`{"error":{"code":"a"},"errors":[{"code":"E-1"}]}`)}, want{codes: "1"}},
		{"codes of XML", classify.Response{Status: 500, Body: []byte(`<Fault><faultcode>a:ErrorBusy</faultcode><detail><ErrorX/><Other/></detail></Fault>`)}, want{codes: "ErrorBusy ErrorX"}},
		{"codes of a header, by method", classify.Response{Status: 400, Method: "POST", Header: http.Header{"X-Codes": {"12 abc"}}}, want{codes: "abc"}},
		{"codes of a header, of another method", classify.Response{Status: 400, Method: "GET", Header: http.Header{"X-Codes": {"12 abc"}}}, want{}},
		{"a message by operation", classify.Response{Status: 400, Operation: "messages.send", Body: []byte(`{"error":{"message":"m","title":"t"}}`)}, want{message: "m"}},
		{"a message of another operation", classify.Response{Status: 400, Operation: "labels.list", Body: []byte(`{"error":{"message":"m","title":"t"}}`)}, want{message: "t"}},
		{"type and fact", classify.Response{Status: 403, Header: http.Header{"X-Kind": {"quota/day"}, "X-Scope": {`realm="x", scope="mail.read"`}}}, want{kind: "quota", scope: "mail.read"}},
		{"a fact of another status", classify.Response{Status: 401, Header: http.Header{"X-Scope": {`scope="mail.read"`}}}, want{}},
		{"a value beyond what patterns see", classify.Response{Status: 429, Header: http.Header{"Zendesk-Ratelimit-Tickets-Index": {strings.Repeat("x", 5000) + "resets=41"}}}, want{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.r
			r.Now = arrival
			var e, traced rules.Event
			classify.HTTP(p, &r, &e)
			got := want{e.Type, strings.Join(e.Codes, " "), e.Message, e.Facts["scope"], e.RetryAfter}
			if got != tt.want {
				t.Errorf("given %d %q %q\ngot  %+v\nwant %+v", r.Status, r.Header, r.Body, got, tt.want)
			}
			r.Trace = new(classify.Trace)
			classify.HTTP(p, &r, &traced)
			checkSame(t, r, &e, &traced)
		})
	}
}

func TestTraceOfConditions(t *testing.T) {
	set, ds := policy.Load([]policy.File{{Name: "example.yaml", Data: []byte(conditional)}}, policy.LoadOptions{})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	p, _ := set.Policy("example")
	var e rules.Event
	r := classify.Response{Status: 403, Header: http.Header{"X-Ratelimit-Requests-Reset": {"1789156800"}, "X-Scope": {`scope="a"`}}, Now: arrival, Trace: new(classify.Trace)}
	classify.HTTP(p, &r, &e)
	for _, want := range []classify.Source{
		{Fact: "retry_after", From: "header X-Ratelimit-Requests-Reset", Value: "1789156800", Note: "its `when` does not hold"},
		{Fact: "facts.scope", From: `header X-Scope match 'scope="([^"]*)"'`, Value: "a"},
	} {
		found := false
		for _, got := range *r.Trace {
			found = found || got == want
		}
		if !found {
			t.Errorf("given %q\ngot  %+v\nwant %+v among them", r.Header, *r.Trace, want)
		}
	}
}
