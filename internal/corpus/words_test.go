package corpus

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// What somebody has written, wherever it stands in an answer, decides nothing: not
// in a success, not in a refused part of a batch, not where a refusal repeats it.

// place is where foreign text can stand.
type place struct {
	pack, operation, name string
	status                int
	kind                  string // content type, or IMAP status
	body                  func(text string) string
}

func quoteJSON(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

func cdata(s string) string {
	return "<![CDATA[" + strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") + "]]>"
}

func oneLine(s string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(s) }

// quoteIMAP is a quoted string (RFC 9051, section 9).
func quoteIMAP(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(oneLine(s)) + `"`
}

func literal(s string) string { return fmt.Sprintf("{%d}\r\n%s", len(s), s) }

// sized is a part of a batch that says how long it is, so that what it holds may be anything.
func sized(s string) string {
	return fmt.Sprintf("--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s\r\n", len(s), s)
}

func part(head, body string) string {
	return "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 " + head + "\r\nContent-Type: application/json\r\n\r\n" + body + "\r\n"
}

// wbxmlText is a Sync with a subject and a body inside of the data of a mail.
func wbxmlText(s string) string {
	s = strings.ReplaceAll(s, "\x00", "")
	return "\x03\x01\x6a\x00\x45\x5c\x4f\x4e\x031\x00\x01\x56\x47\x5d\x00\x02\x54\x03" + s + "\x00\x01\x00\x00\x01\x01\x01\x01\x01\x01"
}

func places() []place {
	const (
		jsonType  = "application/json"
		multipart = "multipart/mixed; boundary=b"
		xmlType   = "text/xml; charset=utf-8"
		dav       = "application/xml; charset=utf-8"
		sync      = "application/vnd.ms-sync"
		throttled = `{"error":{"code":429,"message":"x","errors":[{"reason":"rateLimitExceeded"}]}}`
	)
	var list []place
	add := func(packs, operation, name string, status int, kind string, body func(string) string) {
		for _, pack := range strings.Fields(packs) {
			list = append(list, place{pack, operation, name, status, kind, body})
		}
	}
	field := func(format string) func(string) string { // a string of JSON
		return func(s string) string { return strings.ReplaceAll(format, "TEXT", quoteJSON(s)) }
	}
	element := func(format string) func(string) string { // text of XML
		return func(s string) string {
			return strings.NewReplacer("TEXT", escapeXML(s), "CDATA", cdata(s), "BASE64", base64.StdEncoding.EncodeToString([]byte(s))).Replace(format)
		}
	}
	raw := func(s string) string { return s }

	// Resources.
	resource := field(`{"id":"1","snippet":TEXT,"subject":TEXT,"title":TEXT,"message":TEXT,"detail":TEXT,"description":TEXT,"error":TEXT,"data":[{"body":TEXT}]}`)
	for _, status := range []int{200, 201, 206} {
		add("http gmail gmail_2026 google_calendar microsoft_graph nylas_v2 nylas_v3 zoho warpflow rick icloud caldav github salesforce hubspot zendesk stripe", "messages.get", "resource", status, jsonType, resource)
		add("http gmail google_calendar microsoft_graph nylas_v2 nylas_v3 zoho warpflow rick slack icloud caldav github salesforce hubspot zendesk stripe", "attachments.get", "file", status, "application/octet-stream", raw)
	}
	add("eas", "GetAttachment", "file", 200, sync, raw)
	add("google_calendar", "freebusy.query", "name", 200, jsonType, field(`{"calendars":{TEXT:{"busy":[]}}}`))
	add("slack", "conversations.history", "message", 200, jsonType, field(`{"ok":true,"messages":[{"text":TEXT,"error":TEXT}],"response_metadata":{"next_cursor":TEXT}}`))
	add("slack", "search.messages", "query", 200, jsonType, field(`{"ok":true,"query":TEXT}`))
	add("github", "graphql.query", "data", 200, jsonType, field(`{"data":{"repository":{"issue":{"title":TEXT,"message":TEXT,"errors":[{"message":TEXT,"type":TEXT}]}}}}`))
	add("salesforce", "composite", "record", 200, jsonType, field(`{"compositeResponse":[{"body":{"Description":TEXT,"errorCode":TEXT,"message":TEXT},"httpStatusCode":200}]}`))
	add("nylas_v3", "messages.list", "resource", 202, jsonType, field(`{"request_id":"r","data":[{"subject":TEXT,"body":TEXT}]}`))
	add("nylas_v3", "messages.send", "accepted", 202, jsonType, field(`{"request_id":"r","data":{"subject":TEXT}}`))
	add("caldav icloud", "report", "multistatus", 207, dav,
		element(`<d:multistatus xmlns:d="DAV:"><d:response><d:href>/TEXT</d:href><d:propstat><d:prop><d:displayname>TEXT</d:displayname><c:calendar-data xmlns:c="c">CDATA</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`))
	add("caldav icloud", "get", "calendar", 200, "text/calendar", raw)

	// Batches.
	for _, packs := range []string{"gmail gmail_2026 google_calendar google"} {
		add(packs, "batch", "success in it", 200, multipart, func(s string) string { return part("200 OK", field(`{"snippet":TEXT}`)(s)) + "--b--" })
		add(packs, "batch", "success beside a throttle", 200, multipart, func(s string) string {
			return part("200 OK", field(`{"description":TEXT}`)(s)) + part("429 Too Many Requests", throttled) + "--b--"
		})
		add(packs, "batch", "success beside a refusal", 200, multipart, func(s string) string {
			return part("200 OK", field(`{"description":TEXT}`)(s)) + part("403 Forbidden", `{"error":{"code":403,"errors":[{"reason":"forbidden"}]}}`) + "--b--"
		})
		add(packs, "batch", "mail as it came", 200, multipart, func(s string) string { return sized(s) + part("404 Not Found", "{}") + "--b--" })
		add(packs, "batch", "refusal that quotes", 200, multipart, func(s string) string {
			return part("404 Not Found", field(`{"error":{"code":404,"message":TEXT,"errors":[{"reason":"notFound","message":TEXT}]}}`)(s)) + part("429 Too Many Requests", throttled) + "--b--"
		})
	}
	add("microsoft_graph", "$batch", "success in it", 200, jsonType, field(`{"responses":[{"id":"1","status":200,"headers":{"Content-Type":"application/json"},"body":{"bodyPreview":TEXT,"error":TEXT}}]}`))
	add("microsoft_graph", "$batch", "success beside a throttle", 200, jsonType,
		field(`{"responses":[{"id":"1","status":200,"body":{"bodyPreview":TEXT}},{"id":"2","status":429,"headers":{},"body":{"error":{"code":"ApplicationThrottled","message":"x"}}}]}`))
	add("microsoft_graph", "$batch", "refusal that quotes", 200, jsonType,
		field(`{"responses":[{"id":"1","status":404,"body":{"error":{"code":"ErrorItemNotFound","message":TEXT}}},{"id":"2","status":429,"headers":{},"body":{"error":{"code":"ApplicationThrottled","message":"x"}}}]}`))
	add("microsoft_graph", "$batch", "failed dependency", 424, jsonType,
		field(`{"responses":[{"id":"1","status":200,"body":{"subject":TEXT}},{"id":"2","status":429,"headers":{},"body":{}}]}`))
	add("microsoft_graph", "$batch", "mail as it came", 200, jsonType, func(s string) string {
		return `{"responses":[{"id":"1","status":200,"headers":{"Content-Type":"text/plain"},"body":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"},{"id":"2","status":404}]}`
	})

	// Exchange.
	const envelope = `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><m:R xmlns:m="m" xmlns:t="t"><m:ResponseMessages>%s</m:ResponseMessages></m:R></s:Body></s:Envelope>`
	const mail = `<m:RM ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:MimeContent>BASE64</t:MimeContent><t:Subject>TEXT</t:Subject><t:Body BodyType="HTML">CDATA</t:Body><t:ExtendedProperty><t:Value>TEXT</t:Value></t:ExtendedProperty></t:Message></m:Items></m:RM>`
	const gone = `<m:RM ResponseClass="Error"><m:MessageText>x</m:MessageText><m:ResponseCode>ErrorItemNotFound</m:ResponseCode></m:RM>`
	for _, operation := range []string{"GetItem", "FindItem", "SyncFolderItems", "Other", "CreateItem"} {
		add("ews", operation, "mail", 200, xmlType, element(fmt.Sprintf(envelope, mail)))
		add("ews", operation, "mail beside a refusal", 200, xmlType, element(fmt.Sprintf(envelope, mail+gone)))
	}
	for _, operation := range []string{"Sync", "ItemOperations", "Search", "Find", "MeetingResponse"} {
		add("eas", operation, "mail", 200, sync,
			element(`<`+operation+` xmlns="x"><Status>1</Status><Collections><Collection><Status>1</Status><Commands><Add><ApplicationData><Subject>TEXT</Subject><Body><Data>CDATA</Data></Body><Flag><Status>2</Status></Flag></ApplicationData></Add></Commands></Collection></Collections></`+operation+`>`))
		add("eas", operation, "mail in WBXML", 200, sync+".wbxml", wbxmlText)
	}

	// Mail servers.
	imap := "imap gmail_imap outlook_imap yahoo_imap"
	fetched := func(status string) func(string) string {
		return func(s string) string {
			return "* 1 FETCH (UID 7 ENVELOPE (NIL " + quoteIMAP(s) + " NIL) BODY[TEXT] " + literal(s) + " BINARY[2] ~" + literal(s) + ")\r\n* 2 FETCH (BODY[] " + literal(s) + ")\r\na1 " + status + "\r\n"
		}
	}
	add(imap, "FETCH", "mail", 0, "OK", fetched("OK done"))
	add(imap, "FETCH", "mail before a refusal", 0, "NO", fetched("NO FETCH failed"))
	add(imap, "FETCH", "mail before a code", 0, "NO", fetched("NO [EXPUNGEISSUED] gone"))
	add(imap, "LIST", "name", 0, "OK", func(s string) string {
		return `* LIST () "/" ` + quoteIMAP(s) + "\r\n" + `* LIST () "/" ` + literal(s) + "\r\na1 OK done\r\n"
	})
	for _, format := range []string{"6 NO Mailbox doesn't exist: %s (0.000 + 0.000 secs).", "6 NO [NONEXISTENT] Unknown Mailbox: %s (Failure)", "6 NO %s doesn't exist.", "6 NO Invalid mailbox name: %s"} {
		add(imap, "STATUS", "name in "+format, 0, "NO", func(s string) string { return fmt.Sprintf(format, oneLine(s)) })
	}
	add(imap, "STATUS", "quoted name", 0, "NO", func(s string) string { return "6 NO Mailbox " + quoteIMAP(s) + " is not selectable" })
	add(imap, "STATUS", "badly quoted name", 0, "NO", func(s string) string { return `6 NO Mailbox "` + oneLine(s) + `" is not selectable` })

	smtp := "smtp gmail_smtp outlook_smtp"
	add(smtp, "DATA", "quoted subject", 250, "", func(s string) string { return `250 2.0.0 "` + oneLine(s) + `" queued` })
	add(smtp, "DATA", "quoted subject in a refusal", 554, "", func(s string) string { return `554 5.6.0 Message "` + oneLine(s) + `" rejected` })
	add(smtp, "DATA", "quoted subject in several lines", 452, "", func(s string) string {
		return "452-4.3.0 Not now\r\n452 4.3.0 Message \"" + oneLine(s) + "\" deferred"
	})
	add(smtp, "RCPT", "address", 550, "", func(s string) string {
		return "550 5.1.1 <" + strings.NewReplacer("<", "", ">", "").Replace(oneLine(s)) + "@example.com>: unknown"
	})
	add(smtp, "DATA", "subject", 554, "", func(s string) string { return "554 5.6.0 Rejected, subject: " + oneLine(s) })
	return list
}

// hostile are words that servers use, and what their formats are made of.
var hostile = []string{
	"rateLimitExceeded", "userRateLimitExceeded", `"reason": "rateLimitExceeded"`, "quotaExceeded", "dailyLimitExceeded", "Rate Limit Exceeded", "too many concurrent requests",
	"Retry after 2026-12-05T20:00:00Z", "retry after 5 hours", "try again in 5000 minutes", "Please try again in 30 seconds", "Retry-After: 9000", "retryDelay", "(Mail sending)",
	"ErrorServerBusy", "BackOffMilliseconds: 604800000", "Suggested backoff time: 5000 ms", "ErrorInvalidWatermark", "ApplicationThrottled", "MailboxConcurrency", "SubmissionQuotaExceeded",
	"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9000\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n", "\r\n--b\r\nContent-Type: application/http\r\n\r\n", "--b--", "\n--b\n", "multipart/mixed; boundary=b",
	"ratelimited", "token_expired", "invalid_auth", "invalid_grant", "invalid_code", "access_denied", "unusual traffic from your computer network", "google.com/sorry",
	`{"error":{"code":429,"errors":[{"reason":"rateLimitExceeded"}],"details":[{"retryDelay":"9000s"}]}}`, `"},"error":"ratelimited","x":{"y":"`, `{"responses":[{"id":"1","status":429,"headers":{"Retry-After":"9000"}}]}`, `{"code":"THROTTLED","retryAfter":9000,"serverErrorCode":"THROTTLED"}`,
	`<m:RM ResponseClass="Error"><m:ResponseCode>ErrorServerBusy</m:ResponseCode></m:RM>`, "<Status>111</Status>", "<Sync><Status>132</Status></Sync>", "</t:Subject></t:Message>", "]]>", "<!--", "-->", "<d:error><d:valid-sync-token/></d:error>", "&lt;Status&gt;111",
	"\x03\x01\x6a\x00\x45\x4e\x03111\x00\x01\x01",
	"\r\n* BYE [UNAVAILABLE] away\r\n", "\r\na1 NO [AUTHENTICATIONFAILED] no\r\n", "a1 NO [THROTTLED] slow down\r\n", "[THROTTLED]", "[OVERQUOTA]", "{40}\r\n", "~{9999}", "(", ")", "request is throttled, wait 5 hours", "Temporary", "Account locked", "too many connections", "application-specific password", "web login required",
	"\r\n421 4.7.0 try again later\r\n", "4.7.28", "5.7.9", "greylisted", "greylist", "421", "Daily user sending quota exceeded", "unusual rate", "concurrent connections", "thread limit exceeded", "OutboundSpamException",
	`"`, `'`, `\`, "<", ">", "@", ":", " ", " ", " ", "\r\n", "\n", "{", "}", "[", "]", ",", "é", "\xff", "subject: ", "doesn't exist", "Mailbox",
}

func hostileText(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(8) {
		b.WriteString(hostile[r.IntN(len(hostile))])
		if r.IntN(2) == 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// checkWords compares the decision about text with the one about harmless words.
func checkWords(t *testing.T, d *Decider, p *place, text string) {
	t.Helper()
	decide := func(text string) Answer {
		c := &Case{Provider: p.pack, Operation: p.operation, Method: "POST", Status: p.status, Body: []byte(p.body(text)), Now: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), Attempt: 1}
		if p.status == 0 {
			c.IMAPStatus = p.kind
		} else if p.kind != "" {
			c.Headers = map[string][]string{"Content-Type": {p.kind}}
		}
		a, err := d.Decide(c)
		if err != nil {
			t.Fatalf("%s, %s, %s: given %q: %v", p.pack, p.operation, p.name, text, err)
		}
		return a
	}
	if got, want := decide(text), decide("hello"); !reflect.DeepEqual(got, want) {
		t.Errorf("%s, %s, %s (%d): given %q\ngot  %+v\nwant %+v", p.pack, p.operation, p.name, p.status, text, got, want)
	}
}

func builtinDecider(t testing.TB) *Decider {
	d, err := NewDecider(policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWordsDecideNothing(t *testing.T) {
	d, all := builtinDecider(t), places()
	for i := range all {
		for _, text := range hostile {
			checkWords(t, d, &all[i], text)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 6_000 {
		checkWords(t, d, &all[r.IntN(len(all))], hostileText(r))
		if t.Failed() {
			return
		}
	}
}

func FuzzWordsDecideNothing(f *testing.F) {
	d, all := builtinDecider(f), places()
	for i, text := range hostile {
		f.Add(uint8(i), text)
	}
	f.Fuzz(func(t *testing.T, at uint8, text string) {
		checkWords(t, d, &all[int(at)%len(all)], text)
	})
}
