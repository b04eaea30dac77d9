package classify_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
)

func lines(t classify.Trace) string {
	var b strings.Builder
	for _, s := range t {
		fmt.Fprintf(&b, "%s: %s = %s", s.Fact, s.From, s.Value)
		if s.Note != "" {
			fmt.Fprintf(&b, " (%s)", s.Note)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestTrace(t *testing.T) {
	secret := load(`
provider: secret
extract: {type: {header: x-session}, codes: [{header: X-Code}, {xml_name: error}]}
`)
	for _, tt := range []struct {
		name string
		p    *policy.Policy
		r    classify.Response
		want string
	}{
		{"quota", google, classify.Response{Status: 403, Header: headers("retry-after", "5, 9999999"), Body: []byte(`{"error":{"message":"Retry after 2026-09-11T20:00:00Z","errors":[{"domain":"usageLimits","reason":"rateLimitExceeded"},{"reason":"b"}],"details":[{"retryDelay":"0s"},{"reason":"b","retryDelay":"x"}],"status":"PERMISSION_DENIED"}}`)},
			`status: http status = 403
retry_after: header Retry-After = 5
retry_after: header Retry-After = 9999999 (above 7 days)
message: json error.message = Retry after 2026-09-11T20:00:00Z
type: json error.status = PERMISSION_DENIED
codes: json error.errors.#.reason = rateLimitExceeded
codes: json error.errors.#.reason = b
facts.domain: json error.errors.0.domain = usageLimits
retry_after: text 'Retry after (\d{4}-\d\d-\d\dT[\d:.]+Z)' = 2026-09-11T20:00:00Z
retry_after: json error.details.#.retryDelay = 0s (zero or past)
retry_after: json error.details.#.retryDelay = x (unreadable)
`},
		{"headers that do not count", google, classify.Response{Status: 500, Header: headers("Retry-After", "3", "RateLimit", `"a";r=0;t=30`, "X-RateLimit-Remaining", "1", "X-RateLimit-Reset", "60")},
			`status: http status = 500
retry_after: header Retry-After = 3
retry_after: header RateLimit = "a";r=0;t=30 (another header wins)
retry_after: header X-RateLimit-Reset = 60 (something remains)
`},
		{"XML", exchange, classify.Response{Status: 500, Body: []byte(ewsFault)},
			`status: http status = 500
message: xml Message = The server is busy & sorry.
type: xml faultcode = ErrorServerBusy
codes: xml ResponseCode = ErrorServerBusy
retry_after: xml Value[@Name="BackOffMilliseconds"] = 178510
`},
		{"credentials are not shown", secret, classify.Response{Status: 401, Header: headers("X-Session", "secret", "X-Code", strings.Repeat("é", 150)), Body: []byte("<error><a/></error>")},
			`status: http status = 401
type: header X-Session = [hidden]
codes: header X-Code = ` + strings.Repeat("é", 100) + `…
codes: xml_name error = a
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.Now = arrival
			var trace classify.Trace
			tt.r.Trace = &trace
			classify.HTTP(tt.p, &tt.r, newEvent())
			if got := lines(trace); got != tt.want {
				t.Errorf("given %d %v %q\ngot\n%s\nwant\n%s", tt.r.Status, tt.r.Header, tt.r.Body, got, tt.want)
			}
		})
	}
	var trace classify.Trace
	classify.SMTP(google, &classify.Reply{Command: "DATA", Text: "550-5.4.5 a\r\n550 5.1.1 b", Now: arrival, Trace: &trace}, newEvent())
	if got, want := lines(trace), "status: smtp reply code = 550\ncodes: smtp enhanced status code = 5.4.5\ncodes: smtp enhanced status code = 5.1.1\nmessage: smtp reply = a b\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	trace = nil
	classify.IMAP(google, &classify.Reply{Command: "SELECT", Text: "a NO [LIMIT] b", Now: arrival, Trace: &trace}, newEvent())
	if got, want := lines(trace), "imap_status: imap status = NO\ncodes: imap response code = LIMIT\nmessage: imap response = b\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
