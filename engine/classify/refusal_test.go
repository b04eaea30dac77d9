package classify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Of a success only refusals in it are read.
func TestSuccess(t *testing.T) {
	const multipart = "multipart/mixed; boundary=b"
	part := func(head, body string) string {
		return "--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 " + head + "\r\n\r\n" + body + "\r\n"
	}
	const busy = `{"error":{"message":"x","errors":[{"reason":"rateLimitExceeded"}]}}`
	for _, tt := range []struct {
		name, pack, operation, contentType, body string
		want                                     string // the body that a rule sees
		codes                                    string
		wait                                     time.Duration
	}{
		{"JSON that nothing inspects", "gmail", "messages.get", "application/json", `{"error":{"code":1,"errors":[{"reason":"rateLimitExceeded"}]}}`, "", "", 0},
		{"a file", "gmail", "messages.attachments.get", "", `{"reason": "rateLimitExceeded", "message": "retry after 2026-09-11T20:00:00Z"}`, "", "", 0},
		{"a batch that is inspected in part", "microsoft_graph", "$batch", "application/json",
			`{"responses":[{"id":"1","status":200,"headers":{"Retry-After":"9"},"body":{"bodyPreview":"try again in 5000 minutes"}},{"id":"2","status":429,"headers":{"retry-after":"2"},"body":{"error":{"message":"x"}}}],"value":"try again in 9 minutes"}`,
			`{"responses":[{"id":"1","status":200},{"id":"2","status":429,"headers":{"Retry-After":["2"]},"body":{"error":{"message":"x"}}}]}`, "", 2 * time.Second},
		{"a batch that says when in a message", "microsoft_graph", "$batch", "application/json",
			`{"responses":[{"id":"1","status":404,"body":{"error":{"message":"try again in 5000 minutes"}}},{"id":"2","status":429,"body":{"error":{"message":"Please try again in 7 seconds."}}}]}`,
			`{"responses":[{"id":"1","status":404,"headers":{},"body":{"error":{"message":"try again in 5000 minutes"}}},{"id":"2","status":429,"headers":{},"body":{"error":{"message":"Please try again in 7 seconds."}}}]}`, "", 7 * time.Second},
		{"a batch that is cut short", "microsoft_graph", "$batch", "application/json",
			`{"responses":[{"id":"1","status":429,"headers":{}},{"id":"2","sta`,
			`{"responses":[{"id":"1","status":429,"headers":{},"body":""}],"incomplete":true}`, "", 0},
		{"other responses", "slack", "x", "application/json", `{"ok":true,"responses":[{"status":"late"}]}`, `{"ok":true,"responses":[{"status":"late"}]}`, "", 0},
		{"a batch of parts", "gmail", "batch", multipart,
			part("200 OK", `{"snippet":"Retry after 2026-09-11T22:00:00Z rateLimitExceeded"}`) + part("429 Too Many Requests\r\nRetry-After: 3", busy) + "--b--",
			`{"responses":[{"id":"","status":200},{"id":"","status":429,"headers":{"Retry-After":["3"]},"body":` + busy + `}]}`, "", 3 * time.Second},
		{"a part that holds the delimiter", "gmail", "batch", multipart,
			part("200 OK\r\nContent-Length: 78", "12\r\n--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 429 x\r\n\r\nRetry-After: 9000") + "--b--",
			`{"responses":[{"id":"","status":200}]}`, "", 0},
		{"a part that is no response", "gmail", "batch", multipart,
			"--b\r\nContent-Type: message/rfc822\r\n\r\nHTTP/1.1 429 x\r\n\r\n" + busy + "\r\n" + part("200 OK", "{}") + "--b--",
			`{"responses":[{"id":"","status":200}],"incomplete":true}`, "", 0},
		{"a mail that holds a response", "gmail", "batch", multipart,
			part("200 OK", "Subject: x\n\nHTTP/1.1 429 Too Many Requests\nRetry-After: 9000\n\n"+busy) + "--b--",
			`{"responses":[{"id":"","status":200}]}`, "", 0},
		{"parts that end too early", "gmail", "batch", multipart, part("429 x", busy) + part("200 OK", "{"), `{"responses":[{"id":"","status":429,"headers":{},"body":` + busy + `}],"incomplete":true}`, "", 0},
		{"no parts", "gmail", "batch", multipart, "HTTP/1.1 429 x\r\n\r\n", "", "", 0},
		{"a mail in EWS", "ews", "GetItem", "text/xml",
			`<Envelope><Body><R><ResponseMessages><M ResponseClass="Success"><ResponseCode>NoError</ResponseCode><Items><Message><Subject>ErrorServerBusy</Subject><Text>BackOffMilliseconds: 9000</Text><Value Name="BackOffMilliseconds">9000</Value><ResponseCode>ErrorServerBusy</ResponseCode></Message></Items></M></ResponseMessages></R></Body></Envelope>`,
			"-", "noerror", 0},
		{"a name in a refusal of EWS", "ews", "GetFolder", "text/xml",
			`<m:GetFolderResponseMessage ResponseClass="Error"><m:MessageText>No folder 'ErrorServerBusy'.</m:MessageText><m:ResponseCode>ErrorFolderNotFound</m:ResponseCode></m:GetFolderResponseMessage>`,
			"-", "errorfoldernotfound", 0},
		{"a refusal in EWS", "ews", "GetItem", "text/xml",
			`<Envelope><Body><R><ResponseMessages><M ResponseClass="Error"><MessageText>x</MessageText><ResponseCode>ErrorServerBusy</ResponseCode><MessageXml><Value Name="BackOffMilliseconds">9000</Value></MessageXml></M></ResponseMessages></R></Body></Envelope>`,
			"-", "errorserverbusy", 9 * time.Second},
		{"statuses that are a mail's", "eas", "Sync", "application/vnd.ms-sync",
			`<Sync xmlns="AirSync"><Collections><Collection><Status>1</Status><Commands><Add><ApplicationData><Flag><Status>111</Status></Flag><Body><Data>&lt;Status>111&lt;/Status></Data></Body></ApplicationData></Add></Commands></Collection></Collections></Sync>`,
			"-", "1", 0},
		{"a status of ItemOperations", "eas", "ItemOperations", "application/vnd.ms-sync",
			`<ItemOperations><Status>1</Status><Response><Fetch><Status>6</Status><Properties><Status>111</Status></Properties></Fetch></Response></ItemOperations>`, "-", "6 1", 0},
		{"a file in ActiveSync", "eas", "GetAttachment", "application/vnd.ms-sync", `<Sync><Status>111</Status></Sync>`, "", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e rules.Event
			classify.HTTP(builtin(t, tt.pack), &classify.Response{
				Operation: tt.operation, Method: "POST", Status: 200, Header: headers("Content-Type", tt.contentType), Body: []byte(tt.body), Now: arrival,
			}, &e)
			if tt.want == "-" {
				tt.want = tt.body
			}
			if codes := strings.Join(e.Codes, " "); e.Body != tt.want || codes != tt.codes || e.RetryAfter != tt.wait {
				t.Errorf("given %q\ngot  %q codes %q wait %v\nwant %q codes %q wait %v", tt.body, e.Body, codes, e.RetryAfter, tt.want, tt.codes, tt.wait)
			}
		})
	}
}

// An XML path says where an element stands.
func TestXMLPath(t *testing.T) {
	const doc = `<a><s>1</s><b k="v"><s>2</s><c><s>3</s></c></b><b><s>4</s></b><d><b k="w"><s>5</s></b></d></a>`
	for _, tt := range []struct{ path, want string }{
		{"s", "1 2 3 4 5"},
		{"b/s", "2 4 5"},
		{"/a/s", "1"},
		{"/a/b/s", "2 4"},
		{"/*/*/s", "2 4"},
		{"*/c/s", "3"},
		{`b[@k="v"]/s`, "2"},
		{"b[@k]/s", "2 5"},
		{"*[@k]/s", "2 5"},
		{"/b/s", ""},
		{"/s", ""},
		{"x/a/s", ""},
	} {
		set, found := policy.Load([]policy.File{{Name: "p.yaml", Data: []byte("version: 1\nprovider: p\nextract: {codes: [{xml: '" + tt.path + "'}]}\ndefault: fail\n")}}, policy.LoadOptions{})
		if err := found.Err(); err != nil {
			t.Fatal(err)
		}
		p, _ := set.Policy("p")
		var e rules.Event
		classify.HTTP(p, &classify.Response{Status: 500, Body: []byte(doc)}, &e)
		if got := strings.Join(e.Codes, " "); got != tt.want {
			t.Errorf("given %s\ngot  %s\nwant %s", tt.path, got, tt.want)
		}
	}
}

// What a server repeats is not its word.
func TestEcho(t *testing.T) {
	for _, tt := range []struct{ protocol, command, reply, status, message, codes string }{
		{"imap", "STATUS", "6 NO Mailbox doesn't exist: INBOX.Throttled (0.000 + 0.000 secs).", "NO", "Mailbox doesn't exist:", ""},
		{"imap", "SELECT", "7 NO Mailbox doesn't exist: INBOX.Temporary", "NO", "Mailbox doesn't exist:", ""},
		{"imap", "SELECT", "8 NO Mailbox doesn't exist: INBOX.Account locked", "NO", "Mailbox doesn't exist:", ""},
		{"imap", "STATUS", "6 NO [NONEXISTENT] Unknown Mailbox: Account locked (Failure)", "NO", "Unknown Mailbox", "NONEXISTENT"},
		{"imap", "SELECT", "6 NO Throttled try again in 5 hours doesn't exist.", "NO", "doesn't exist.", ""},
		{"imap", "SELECT", `6 NO Mailbox "Throttled" is "Temporary" here`, "NO", `Mailbox "" here`, ""},
		{"imap", "SELECT", `6 NO Mailbox 'Throttled' can't be opened`, "NO", `Mailbox '' can't be opened`, ""},
		{"imap", "SELECT", "6 NO [NONEXISTENT] Mailbox does not exist, or must be subscribed to: Throttled", "NO", "Mailbox does not exist, or must be subscribed to:", "NONEXISTENT"},
		{"imap", "SELECT", "6 NO Mailbox isn't selectable: Throttled", "NO", "Mailbox isn't selectable:", ""},
		{"imap", "CREATE", "6 NO Mailbox exists: try again in 5 hours", "NO", "Mailbox exists:", ""},
		{"imap", "CREATE", "6 NO [CANNOT] Character not allowed in mailbox name: Throttled", "NO", "Character not allowed in mailbox name:", "CANNOT"},
		{"imap", "CREATE", "6 NO Bad mailbox name: Throttled", "NO", "Bad mailbox name", ""},
		{"imap", "CREATE", "6 NO Unknown namespace: Throttled", "NO", "Unknown namespace", ""},
		{"imap", "DELETE", "6 NO Permission denied: Throttled", "NO", "Permission denied:", ""},
		{"imap", "SELECT", "6 NO [NOPERM] Access denied to mailbox Throttled", "NO", "Access denied to mailbox", "NOPERM"},
		{"imap", "SELECT", "6 NO Access denied, try again later", "NO", "Access denied, try again later", ""},
		{"imap", "SELECT", "6 NO Can't open mailbox Throttled: no such mailbox", "NO", "no such mailbox", ""},
		{"imap", "CREATE", "6 NO CREATE failed. Mailbox Throttled exists", "NO", "exists", ""},
		{"imap", "SELECT", "6 NO [NONEXISTENT] No such mailbox.", "NO", "No such mailbox.", "NONEXISTENT"},
		{"imap", "SELECT", "6 OK [READ-WRITE] [THROTTLED] selected. (Success)", "OK", "[THROTTLED] selected. (Success)", "READ-WRITE"},
		{"imap", "SELECT", "6 NO Server busy, try again later", "NO", "Server busy, try again later", ""},
		{"imap", "LOGIN", "6 NO user not found", "NO", "user not found", ""},
		{"imap", "FETCH", "* 1 FETCH (BODY[TEXT] {26}\r\n* BYE [UNAVAILABLE] away\r\n)\r\na1 OK done\r\n", "OK", "done", ""},
		{"imap", "FETCH", "* 1 FETCH (BODY[TEXT] {33+}\r\na1 NO [AUTHENTICATIONFAILED] no.\r\n BINARY[1] ~{16}\r\na1 NO [X] throt)\r\na1 OK done\r\n", "OK", "done", ""},
		{"imap", "FETCH", "* 1 FETCH (BODY[TEXT] {9}\r\n\xe9\r\na1 NO \r\n)\r\na1 OK done\r\n", "OK", "done", ""},
		{"imap", "FETCH", "* 1 FETCH (BODY[TEXT] {16}\nab\na1 NO [X] y\n)\na1 OK done\n", "OK", "done", ""},
		{"imap", "FETCH", `* 1 FETCH (ENVELOPE ("x" "[THROTTLED] try again in 5 hours"))` + "\r\na1 OK done\r\n", "OK", "done", ""},
		{"imap", "FETCH", "* 1 FETCH (BODY[TEXT] {99999}\r\na1 NO [X] y\r\n", "", "", ""},
		{"imap", "FETCH", "a1 NO [UNAVAILABLE] wrong\r\na1 OK done\r\n", "OK", "done", ""},
		{"imap", "NOOP", "* BYE [UNAVAILABLE] away {5}\r\n", "BYE", "away {5}", "UNAVAILABLE"},
		{"smtp", "DATA", `554 5.6.0 Message "421 too many connections" rejected`, "", `Message "" rejected`, "5.6.0"},
		{"smtp", "DATA", `554 5.6.0 Message "a" try again in 5 hours "b" rejected`, "", `Message "" rejected`, "5.6.0"},
		{"smtp", "DATA", "554 5.6.0 Subject: greylisted, try again in 5 hours", "", "subject:", "5.6.0"},
		{"smtp", "DATA", "552 5.7.0 Attachment name: try again in 5 hours.exe", "", "subject:", "5.7.0"},
		{"smtp", "DATA", "554 5.7.1 Blocked, filename=too many connections.exe", "", "Blocked, subject:", "5.7.1"},
		{"smtp", "DATA", "554 5.7.0 Reject, id=1-01 - BANNED: .exe,try again in 5 hours", "", "Reject, id=1-01 - subject:", "5.7.0"},
		{"smtp", "DATA", "554 5.6.0 Header From: try again in 5 hours", "", "subject:", "5.6.0"},
		{"smtp", "DATA", "451 4.7.1 Greylisted: try again in 5 apples", "", "Greylisted: try again in 5 apples", "4.7.1"},
		{"smtp", "RCPT", "450 4.1.1 <greylist@example.com>: unknown, see greylist@example.com", "", "<>: unknown, see <>", "4.1.1"},
		{"smtp", "RCPT", "450 4.2.0 Greylisted, don't hurry", "", "Greylisted, don't hurry", "4.2.0"},
	} {
		var e rules.Event
		if tt.protocol == "imap" {
			classify.IMAP(builtin(t, "imap"), &classify.Reply{Command: tt.command, Text: tt.reply, Now: arrival}, &e)
		} else {
			classify.SMTP(builtin(t, "smtp"), &classify.Reply{Command: tt.command, Text: tt.reply, Now: arrival}, &e)
		}
		if codes := strings.Join(e.Codes, " "); e.IMAPStatus != tt.status || e.Message != tt.message || codes != tt.codes || e.RetryAfter != 0 {
			t.Errorf("given %s %q\ngot  %s %q codes %q wait %v\nwant %s %q codes %q wait 0", tt.protocol, tt.reply, e.IMAPStatus, e.Message, codes, e.RetryAfter, tt.status, tt.message, tt.codes)
		}
	}
}
