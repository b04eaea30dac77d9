package classify_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// jsonBody is an error of about 500 bytes, as Google sends it.
const jsonBody = `{
  "error": {
    "code": 403,
    "message": "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service 'gmail.googleapis.com' for consumer 'project_number:846187604739'.",
    "errors": [
      {
        "message": "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user'",
        "domain": "usageLimits",
        "reason": "rateLimitExceeded"
      }
    ],
    "status": "RESOURCE_EXHAUSTED",
    "details": [{"reason": "RATE_LIMIT_EXCEEDED"}]
  }
}
`

// htmlBody is the page of a proxy, 64 KiB long.
var htmlBody = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>" +
	strings.Repeat("<p>Please try again in a moment. The Server Could Not Answer.</p>\n", 2000)[:classify.MaxBody-100] + "</body></html>"

func jsonHeader() http.Header {
	return headers("Content-Type", "application/json; charset=UTF-8", "Date", date, "Server", "ESF", "X-Content-Type-Options", "nosniff",
		"X-Frame-Options", "SAMEORIGIN", "X-Xss-Protection", "0", "Vary", "X-Origin", "Cache-Control", "private", "Alt-Svc", `h3=":443"`)
}

func builtin(tb testing.TB, name string) *policy.Policy {
	p, ok := policy.Builtin().Policy(name)
	if !ok {
		tb.Fatalf("no built-in policy %q", name)
	}
	return p
}

// A JSON error costs at most 8 allocations, a page of HTML fewer.
func TestHTTPAllocs(t *testing.T) {
	for _, tt := range []struct {
		name string
		p    *policy.Policy
		body string
		max  float64
	}{
		{"JSON, gmail", builtin(t, "gmail"), jsonBody, 8},
		{"JSON, microsoft_graph", builtin(t, "microsoft_graph"), `{"error":{"code":"ApplicationThrottled","message":"Application is over its MailboxConcurrency limit.","innerError":{"date":"2020-06-30T16:14:48","request-id":"0"}}}`, 8},
		{"JSON, nylas_v3", builtin(t, "nylas_v3"), `{"request_id":"1","error":{"type":"rate_limit_error","message":"Too many requests"}}`, 8},
		{"JSON, own policy", google, jsonBody, 4},
		{"HTML, gmail", builtin(t, "gmail"), htmlBody, 4},
		{"HTML, http", builtin(t, "http"), htmlBody, 4},
		{"empty", builtin(t, "gmail"), "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &classify.Response{Operation: "messages.get", Method: "GET", Status: 403, Header: jsonHeader(), Body: []byte(tt.body), Now: arrival}
			var e rules.Event
			got := testing.AllocsPerRun(200, func() { classify.HTTP(tt.p, r, &e) })
			if got > tt.max {
				t.Errorf("got  %v allocations\nwant at most %v", got, tt.max)
			}
			t.Logf("%v allocations", got)
		})
	}
}

func BenchmarkHTTP(b *testing.B) {
	for _, bb := range []struct{ name, policy, body string }{
		{"json", "gmail", jsonBody},
		{"html", "gmail", htmlBody},
		{"html_http", "http", htmlBody},
		{"text", "microsoft_graph", "SystemMemoryProtectionUtilizationMonitor is unhealthy"},
		{"xml", "ews", ewsFault},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := builtin(b, bb.policy)
			r := &classify.Response{Operation: "messages.get", Method: "GET", Status: 403, Header: jsonHeader(), Body: []byte(bb.body), Now: arrival}
			var e rules.Event
			b.ReportAllocs()
			for b.Loop() {
				classify.HTTP(p, r, &e)
			}
		})
	}
}
