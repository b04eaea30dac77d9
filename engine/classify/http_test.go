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

// googleFacts and exchangeFacts are where Google's APIs, and EWS, ActiveSync and CalDAV
// servers, keep facts: for each fact a list.
var (
	googleFacts = map[string]string{
		"type":    "{json: error.status}",
		"codes":   "{json: error.errors.#.reason}, {json: error.details.#.reason}",
		"message": "{json: error.message}, {json: error.errors.#.message}",
		"retry_after": `{text: 'Retry after (\d{4}-\d\d-\d\dT[\d:.]+Z)', as: time}, {json: error.details.#.retryDelay, as: duration},
			{json: error.details.#.metadata.retryDelay, as: duration}`,
		"domain": "{json: error.errors.0.domain}",
	}
	exchangeFacts = map[string]string{
		"type":    "{xml: faultcode}, {xml: Status}",
		"codes":   "{xml: ResponseCode}, {xml_name: error}",
		"message": "{xml: Message}, {xml: faultstring}",
		"retry_after": `{xml: 'Value[@Name="BackOffMilliseconds"]', as: ms},
			{text: '(?i)suggested backoff time:? (\d+) (?:ms|milliseconds)', as: ms}`,
	}
	google   = load("provider: gmail\n" + section(googleFacts))
	exchange = load("provider: ews\ninspect: {max: 64KiB}\n" + section(exchangeFacts))
)

// section is the section `extract` that reads each fact from all of the lists for it.
func section(lists ...map[string]string) string {
	var b strings.Builder
	b.WriteString("extract:\n")
	for _, fact := range []string{"type", "codes", "message", "retry_after", "domain"} {
		var all []string
		for _, list := range lists {
			if list[fact] != "" {
				all = append(all, list[fact])
			}
		}
		switch fields := strings.Join(all, ", "); {
		case fields == "":
		case fact == "domain":
			b.WriteString("  facts: {domain: [" + fields + "]}\n")
		default:
			b.WriteString("  " + fact + ": [" + fields + "]\n")
		}
	}
	return b.String()
}

var arrival = time.Date(2026, 9, 11, 19, 59, 30, 0, time.UTC)

type wantHTTP struct {
	typ, codes, message, facts string
	wait                       time.Duration
	body                       string // "" = not checked, "-" = empty
}

func checkHTTP(t *testing.T, p *policy.Policy, r *classify.Response, want wantHTTP) {
	t.Helper()
	var e rules.Event
	classify.HTTP(p, r, &e)
	got := wantHTTP{e.Type, strings.Join(e.Codes, " "), e.Message, e.Facts["domain"], e.RetryAfter, want.body}
	if got != want {
		t.Errorf("given %d %q %q\ngot  %+v\nwant %+v", r.Status, r.Header, r.Body, got, want)
	}
	if want.body == "-" && e.Body != "" || want.body != "" && want.body != "-" && want.body != e.Body {
		t.Errorf("given %q\ngot  body %q\nwant body %q", r.Body, e.Body, want.body)
	}
	if e.Provider != p.Name || e.Status != r.Status || e.Protocol != "http" || !e.Sent || e.Network != "" {
		t.Errorf("given %d %q\ngot  provider %q status %d protocol %q sent %v network %q", r.Status, r.Body, e.Provider, e.Status, e.Protocol, e.Sent, e.Network)
	}
}

func TestHTTPJSON(t *testing.T) {
	const quota = `{"error":{"code":403,"message":"User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z","errors":[{"message":"User-rate limit exceeded.","domain":"usageLimits","reason":"rateLimitExceeded"}],"status":"PERMISSION_DENIED"}}`
	whole := wantHTTP{"PERMISSION_DENIED", "rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z", "usageLimits", 30 * time.Second, quota}
	for _, tt := range []struct {
		name, body string
		want       wantHTTP
	}{
		{"quota, time in the message", quota, whole},
		{"byte order mark", "\ufeff" + quota, whole},
		{"guard against script inclusion", ")]}'\n" + quota, func() wantHTTP { w := whole; w.body = ")]}'\n" + quota; return w }()},
		{"garbage after the end", quota + `<html>`, func() wantHTTP { w := whole; w.body = quota + `<html>`; return w }()},
		{"trailing comma in an object", "{\n \"error\": {\n  \"errors\": [\n   {\n    \"domain\": \"global\",\n    \"reason\": \"authError\",\n    \"location\": \"Authorization\",\n   }\n  ],\n  \"code\": 401,\n  \"message\": \"Invalid Credentials\"\n }\n}",
			wantHTTP{codes: "authError", message: "Invalid Credentials", facts: "global"}},
		{"trailing commas everywhere", `{"error":{"errors":[{"domain":"global","reason":"authError",},],"message":"Inv",},}`,
			wantHTTP{codes: "authError", message: "Inv", facts: "global"}},
		{"several codes, repeated", `{"error":{"errors":[{"reason":"a"},{"reason":"b"},{"reason":"a"},{"x":1}],"details":[{"@type":"x"},{"reason":"B"},{"reason":"b"}]}}`,
			wantHTTP{codes: "a b B"}},
		{"cut in a key", `{"error":{"errors":[{"domain":"global","reason":"authError"}],"code":401,"mess`,
			wantHTTP{codes: "authError", facts: "global"}},
		{"cut in the list", `{"error":{"message":"m","errors":[{"domain":"global","reason":"authError"},{"rea`,
			wantHTTP{codes: "authError", message: "m", facts: "global"}},
		{"cut in a value, which is not to be trusted", `{"error":{"status":"ABORTED","errors":[{"reason":"rateLimitExceeded`,
			wantHTTP{typ: "ABORTED"}},
		{"cut after a colon", `{"error":{"status":"ABORTED","message":`, wantHTTP{typ: "ABORTED"}},
		{"cut in a message: patterns see the body", `{"error":{"status":"X","message":"Retry after 2026-09-11T20:00:30Z, pl`,
			wantHTTP{typ: "X", wait: time.Minute}},
		{"mismatched brackets", `{"error":{"status":"ABORTED","errors":[{"reason":"a"}},"message":"m"}}`,
			wantHTTP{typ: "ABORTED", codes: "a"}},
		{"not JSON at all", `{error: {message: 'Retry after 2026-09-11T20:00:30Z'}}`, wantHTTP{wait: time.Minute}},
		{"error is a string", `{"error":"invalid_grant","error_description":"Token has been revoked."}`, wantHTTP{}},
		{"objects yield nothing", `{"error":{"status":{"a":1},"message":{"b":2},"errors":[{"reason":{"c":3}}]}}`, wantHTTP{}},
		{"null and empty yield nothing", `{"error":{"status":null,"message":"","errors":[{"reason":null},{"reason":" "}]}}`, wantHTTP{}},
		{"numbers and booleans yield their text", `{"error":{"status":403,"message":true,"errors":[{"reason":50196},{"reason":1.50}]}}`,
			wantHTTP{typ: "403", message: "true", codes: "50196 1.50"}},
		{"escapes", `{"error":{"message":"a\"b\\c\u00e9\n\ud83d\ude00 \ud800 x","errors":[{"reason":"r\/t"}]}}`,
			wantHTTP{message: "a\"b\\cé\n😀 \ufffd x", codes: "r/t"}},
		{"protobuf duration", `{"error":{"details":[{"reason":"RATE_LIMIT_EXCEEDED"},{"retryDelay":"45s"}]}}`,
			wantHTTP{codes: "RATE_LIMIT_EXCEEDED", wait: 45 * time.Second}},
		{"the longest of several", `{"error":{"details":[{"retryDelay":"4.5s"},{"retryDelay":"1.5s"},{"metadata":{"retryDelay":"3s"}}]}}`,
			wantHTTP{wait: 4500 * time.Millisecond}},
		{"time only in the message of a part", `{"error":{"message":"Rate Limit Exceeded","errors":[{"reason":"a","message":"Retry after 2026-09-11T20:00:30Z"}]}}`,
			wantHTTP{message: "Rate Limit Exceeded", codes: "a", wait: time.Minute}},
		{"time in the message and a later one in a part", `{"error":{"message":"Retry after 2026-09-11T20:00:00Z","errors":[{"message":"Retry after 2026-09-11T20:00:30Z"}]}}`,
			wantHTTP{message: "Retry after 2026-09-11T20:00:00Z", wait: 30 * time.Second}},
		{"time where no message stands", `{"error":{"message":"Rate Limit Exceeded"},"subject":"Retry after 2026-09-11T20:00:30Z"}`,
			wantHTTP{message: "Rate Limit Exceeded"}},
		{"time that the message quotes", `{"error":{"message":"No event 'Retry after 2026-09-11T20:00:30Z', sorry."}}`,
			wantHTTP{message: "No event 'Retry after 2026-09-11T20:00:30Z', sorry."}},
		{"time in the past", `{"error":{"message":"Retry after 2026-09-11T18:00:00.000Z"}}`,
			wantHTTP{message: "Retry after 2026-09-11T18:00:00.000Z"}},
		{"array at the top", `[{"error":{"message":"m"}}]`, wantHTTP{}},
		{"empty", ``, wantHTTP{body: "-"}},
		{"only space", " \n", wantHTTP{body: " \n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkHTTP(t, google, &classify.Response{Status: 403, Body: []byte(tt.body), Now: arrival}, tt.want)
		})
	}
}

// ewsFault is how EWS throttles, after a report to DavMail (#161).
const ewsFault = `<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">
  <s:Body><s:Fault>
    <faultcode xmlns:a="http://schemas.microsoft.com/exchange/services/2006/types">a:ErrorServerBusy</faultcode>
    <faultstring xml:lang="en-US">The server cannot service this request right now. Try again later.</faultstring>
    <detail>
      <e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">ErrorServerBusy</e:ResponseCode>
      <e:Message xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">The server is busy &amp; sorry.</e:Message>
      <t:MessageXml xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">
        <t:Value Name="Other">1</t:Value>
        <t:Value Name="BackOffMilliseconds">178510</t:Value>
      </t:MessageXml>
    </detail>
  </s:Fault></s:Body>
</s:Envelope>`

func TestHTTPXML(t *testing.T) {
	const fault = ewsFault
	busy := wantHTTP{typ: "ErrorServerBusy", codes: "ErrorServerBusy", message: "The server is busy & sorry.", wait: 178510 * time.Millisecond}
	for _, tt := range []struct {
		name, body string
		want       wantHTTP
	}{
		{"SOAP fault", fault, busy},
		{"byte order mark", "\ufeff" + fault, busy},
		{"UTF-16", utf16le(fault), busy},
		{"cut after the wait", fault[:strings.Index(fault, "</t:MessageXml>")], busy},
		{"cut in the wait", fault[:strings.Index(fault, "510</t:Value>")], wantHTTP{typ: "ErrorServerBusy", codes: "ErrorServerBusy", message: busy.message}},
		{"prose", `<r><Message>Too many. Suggested Backoff Time: 5000 milliseconds</Message></r>`, wantHTTP{message: "Too many. Suggested Backoff Time: 5000 milliseconds", wait: 5 * time.Second}},
		{"ActiveSync", `<Sync><Status>111</Status></Sync>`, wantHTTP{typ: "111"}},
		{"ActiveSync in a namespace", `<Sync xmlns="AirSync:"><Collections><Collection><Status> 3
		</Status></Collection></Collections></Sync>`, wantHTTP{typ: "3"}},
		{"WebDAV precondition", `<?xml version="1.0"?><D:error xmlns:D="DAV:"><D:valid-sync-token/></D:error>`, wantHTTP{codes: "valid-sync-token"}},
		{"preconditions with content", `<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns"><s:exception>Sabre\DAV\Exception\Forbidden</s:exception><d:need-privileges><d:resource><d:href>/</d:href></d:resource></d:need-privileges></d:error>`,
			wantHTTP{codes: "exception need-privileges"}},
		{"CDATA", `<r><Message><![CDATA[a <b> & c]]></Message></r>`, wantHTTP{message: "a <b> & c"}},
		{"comments and instructions", `<r><!-- <Message>no</Message> --><?x <Message>no</Message> ?><Message>y<!-- z -->es</Message></r>`, wantHTTP{message: "yes"}},
		{"entities are not expanded", `<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]><r><Message>&b;&f;&#x41;&#66;&lt;&bad</Message></r>`, wantHTTP{message: "&b;&f;AB<&bad"}},
		{"a name without a declared prefix is text", `<r><faultcode>note:that</faultcode></r>`, wantHTTP{typ: "note:that"}},
		{"elements yield only their own text", `<r><Message>a <b>c</b> d</Message></r>`, wantHTTP{message: "a  d"}},
		{"no such element", `<r><Msg>x</Msg></r>`, wantHTTP{}},
		{"not closed", `<r><Message>abc`, wantHTTP{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, status := range []int{500, 200} {
				checkHTTP(t, exchange, &classify.Response{Status: status, Body: []byte(tt.body), Now: arrival}, tt.want)
			}
		})
	}
}

func TestHTTPBody(t *testing.T) {
	page := "<!DOCTYPE html><html><head><title>502</title></head><body><Message>no</Message></body></html>"
	for _, tt := range []struct {
		name   string
		header http.Header
		body   string
		want   wantHTTP
	}{
		{"HTML is not read as XML", nil, page, wantHTTP{body: page}},
		{"HTML in capitals", nil, "\n<HTML><BODY><Message>no</Message></BODY></HTML>", wantHTTP{}},
		{"XHTML", nil, `<?xml version="1.0"?><!-- c --><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x"><html><Message>no</Message></html>`, wantHTTP{}},
		{"HTML in the name of JSON", http.Header{"Content-Type": {"application/json"}}, page, wantHTTP{body: page}},
		{"patterns see HTML", nil, "<html><p>suggested backoff time: 3000 ms</p></html>", wantHTTP{wait: 3 * time.Second}},
		{"patterns see 4 KiB", nil, "<html>" + strings.Repeat(" ", 4090) + "Suggested Backoff Time: 3000 ms", wantHTTP{}},
		{"patterns see all of 4 KiB", nil, "<html>" + strings.Repeat("s", 4056) + "Suggested Backoff Time: 3000 ms</html>", wantHTTP{wait: 3 * time.Second}},
		{"plain text", nil, "SystemMemoryProtectionUtilizationMonitor is unhealthy", wantHTTP{body: "SystemMemoryProtectionUtilizationMonitor is unhealthy"}},
		{"gzip", nil, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xfe\x80", wantHTTP{body: "-"}},
		{"zstd", nil, "\x28\xb5\x2f\xfdabc", wantHTTP{body: "-"}},
		{"brotli has no magic number", http.Header{"Content-Encoding": {"br"}}, "a\xf3\x80\x80bcd", wantHTTP{body: "-"}},
		{"declared compressed but is not", http.Header{"Content-Encoding": {"gzip"}}, "plain", wantHTTP{body: "plain"}},
		{"binary", nil, "abc\x00def", wantHTTP{body: "-"}},
		{"ISO 8859-1", http.Header{"Content-Type": {"text/plain; charset=ISO-8859-1"}}, "caf\xe9", wantHTTP{body: "café"}},
		{"not UTF-8", nil, "a\xe9\xffb", wantHTTP{body: "a\ufffdb"}},
		{"UTF-16 big endian", nil, "\xfe\xff\x00h\x00i", wantHTTP{body: "hi"}},
		{"rune cut at the end of what is read", nil, strings.Repeat("a", classify.MaxBody-1) + "é", wantHTTP{body: strings.Repeat("a", classify.MaxBody-1)}},
		{"rune whole at the end of what is read", nil, strings.Repeat("a", classify.MaxBody-2) + "éé", wantHTTP{body: strings.Repeat("a", classify.MaxBody-2) + "é"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkHTTP(t, exchange, &classify.Response{Status: 502, Header: tt.header, Body: []byte(tt.body), Now: arrival}, tt.want)
		})
	}
}

func TestHTTPHeader(t *testing.T) {
	p := load(`
provider: eas
extract:
  type: {header: X-Ms-Asthrottle, fold: true}
  codes: [{header: X-Codes}, {header: Location, match: '[?&]error=([a-z_]+)'}]
`)
	h := http.Header{"x-ms-asthrottle": {"RecentCommands"}, "X-CODES": {"a", "b"}, "x-codes": {"c"}, "location": {"https://x.example/?error=access_denied&state=1"}, "RETRY-AFTER": {"10"}}
	var e rules.Event
	classify.HTTP(p, &classify.Response{Operation: "Sync", Method: "post", Status: 503, Header: h}, &e)
	if got, want := e.Type, "recentcommands"; got != want {
		t.Errorf("given %v\ngot  type %q\nwant %q", h, got, want)
	}
	if got, want := strings.Join(e.Codes, " "), "a b c access_denied"; got != want {
		t.Errorf("given %v\ngot  codes %q\nwant %q", h, got, want)
	}
	if got, want := e.RetryAfter, 10*time.Second; got != want {
		t.Errorf("given %v\ngot  retry_after %v\nwant %v", h, got, want)
	}
	if got, want := http.Header(e.Header).Get("x-codes"), "a"; got != want {
		t.Errorf("given %v\ngot  header x-codes %q\nwant %q", h, got, want)
	}
	if e.Method != "POST" || e.Operation != "Sync" {
		t.Errorf("got method %q operation %q, want POST Sync", e.Method, e.Operation)
	}
	if len(h) != 5 {
		t.Errorf("the caller's header was changed: %v", h)
	}
}

// An event that is used again keeps nothing of its earlier life but what the
// caller owns.
func TestHTTPOverwrites(t *testing.T) {
	e := rules.Event{Network: "reset", IMAPStatus: "NO", Type: "t", Codes: []string{"c"}, Message: "m", Facts: map[string]string{"a": "b"},
		RetryAfter: 1, Body: "b", Header: map[string][]string{"A": nil}, Attempt: 3, Elapsed: 4, Idempotent: true}
	classify.HTTP(google, &classify.Response{Status: 500}, &e)
	if e.Network != "" || e.IMAPStatus != "" || e.Type != "" || e.Codes != nil || e.Message != "" || e.Facts != nil || e.RetryAfter != 0 || e.Body != "" || e.Header != nil {
		t.Errorf("left over from before: %+v", e)
	}
	if e.Attempt != 3 || e.Elapsed != 4 || !e.Idempotent {
		t.Errorf("the caller's facts are gone: %+v", e)
	}
	classify.HTTP(nil, &classify.Response{Status: 429, Header: http.Header{"Retry-After": {"3"}}}, &e)
	if e.RetryAfter != 3*time.Second || e.Provider != "gmail" {
		t.Errorf("without a policy: got wait %v provider %q, want 3s gmail", e.RetryAfter, e.Provider)
	}
}

func utf16le(s string) string {
	var b strings.Builder
	b.WriteString("\xff\xfe")
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

// An error may hide in every success of Exchange's but a stream of
// notifications, which must not wait until it is read.
func TestInspectLeavesStreams(t *testing.T) {
	p, ok := policy.Builtin().Policy("ews")
	if !ok {
		t.Fatal("no policy ews")
	}
	streams := map[string]bool{"GetStreamingEvents": true, "GetAnyEvents": true}
	for _, op := range p.Operations {
		if got := p.InspectFor(200, op.Operation, "text/xml; charset=utf-8") == nil; got != streams[op.Operation] {
			t.Errorf("given a success of %s\ngot  not inspected: %v\nwant %v", op.Operation, got, streams[op.Operation])
		}
	}
	for _, tt := range []struct{ action, operation string }{
		{"http://schemas.microsoft.com/exchange/services/2006/messages/GetStreamingEvents", "GetStreamingEvents"},
		{`"http://schemas.microsoft.com/exchange/services/2006/messages/GetEvents"`, "GetAnyEvents"},
		{"http://schemas.microsoft.com/exchange/services/2006/messages/FindItem", "FindItem"},
		{"http://schemas.microsoft.com/exchange/services/2006/messages/GetPersona", "Other"},
		{"", "Other"},
	} {
		r := &policy.Request{Method: "POST", Host: "outlook.office365.com", Path: "/EWS/Exchange.asmx", Header: headers("Soapaction", tt.action)}
		if got, _ := p.NameRequest(r); got != tt.operation {
			t.Errorf("given SOAPAction %q\ngot  %q\nwant %q", tt.action, got, tt.operation)
		}
	}
}
