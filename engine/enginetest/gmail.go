package enginetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"time"
)

// NewGmail returns a Gmail API v1. It counts quota units for each user, 250 a
// second with a burst of 250, at the costs of the reference (messages.get 5,
// messages.list 5, messages.send 100), and refuses what is over as Gmail does:
// 403 rateLimitExceeded, without Retry-After, the time to come back inside the
// message.
// https://developers.google.com/workspace/gmail/api/reference/quota,
// https://developers.google.com/workspace/gmail/api/guides/handle-errors
func NewGmail(o Options) *Server { return newServer(gmail{}, o) }

type gmail struct{}

func (gmail) name() string { return "gmail" }
func (gmail) host() string { return "gmail.googleapis.com" }

func (gmail) tokenPath() string { return "/oauth2/token" }

func (gmail) limits() limits {
	return limits{
		rate: 250, burst: 250,
		cost:     map[op]int64{opList: 5, opFind: 5, opGet: 5, opSend: 100},
		throttle: 2 * time.Second,
	}
}

func (gmail) faults() []FaultRate {
	return []FaultRate{
		{Fault: Throttled, Rate: 0.01, wait: 2 * time.Second},
		{Fault: Overloaded, Rate: 0.01},
		{Fault: Unavailable, Rate: 0.02},
		{Fault: ServerError, Rate: 0.01},
		{Fault: ConnectionLost, Rate: 0.01},
		{Fault: Throttled, Rate: 0.05, wait: 2 * time.Second, Sends: true},
		{Fault: FailedLate, Rate: 0.15, Sends: true},
		{Fault: ReplyLost, Rate: 0.20, Sends: true},
		{Fault: ConnectionLost, Rate: 0.10, Sends: true},
	}
}

func (gmail) mailbox(i int) string { return fmt.Sprintf("user%d@gmail.example", i+1) }

// Paths: /gmail/v1/users/{user}/messages[/send|/{id}].
func (gmail) parse(r *http.Request, body []byte) call {
	p := segments(r.URL.Path)
	if len(p) < 5 || p[0] != "gmail" || p[1] != "v1" || p[2] != "users" || p[4] != "messages" {
		return call{}
	}
	c := call{mailbox: p[3]}
	switch {
	case r.Method == http.MethodGet && len(p) == 5:
		q := r.URL.Query()
		if id, ok := strings.CutPrefix(q.Get("q"), "rfc822msgid:"); ok {
			c.op, c.id = opFind, id
		} else {
			c.op, c.page = opList, q.Get("pageToken")
		}
	case r.Method == http.MethodGet && len(p) == 6:
		c.op, c.id = opGet, p[5]
	case r.Method == http.MethodPost && len(p) == 6 && p[5] == "send":
		c.op, c.id = opSend, gmailMessageID(body)
	}
	return c
}

// gmailMessageID is the Message-ID of a send's raw message without its
// brackets, "" where there is none.
func gmailMessageID(body []byte) string {
	var send struct{ Raw string }
	if json.Unmarshal(body, &send) != nil {
		return ""
	}
	raw, err := base64.URLEncoding.DecodeString(send.Raw)
	if err != nil {
		return ""
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return ""
	}
	return strings.Trim(m.Header.Get("Message-ID"), "<>")
}

type gmailMessage struct {
	ID       string        `json:"id"`
	ThreadID string        `json:"threadId"`
	Labels   []string      `json:"labelIds,omitempty"`
	Payload  *gmailPayload `json:"payload,omitempty"`
}

type gmailPayload struct {
	MimeType string        `json:"mimeType"`
	Headers  []gmailHeader `json:"headers"`
}

type gmailHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type gmailList struct {
	Messages []gmailMessage `json:"messages,omitempty"`
	Next     string         `json:"nextPageToken,omitempty"`
	Estimate int            `json:"resultSizeEstimate"`
}

func (gmail) list(_ *mailbox, found []Message, next string) any {
	l := gmailList{Next: next, Estimate: len(found)}
	for _, m := range found {
		l.Messages = append(l.Messages, gmailMessage{ID: m.ID, ThreadID: m.ID})
	}
	return l
}

func (gmail) get(m *mailbox, msg Message) any {
	return gmailMessage{ID: msg.ID, ThreadID: msg.ID, Labels: []string{"INBOX"}, Payload: &gmailPayload{
		MimeType: "text/plain",
		Headers:  []gmailHeader{{"To", m.name}, {"Subject", msg.Subject}},
	}}
}

func (gmail) sent(_ *mailbox, id string) (int, any) {
	return http.StatusOK, gmailMessage{ID: id, ThreadID: id, Labels: []string{"SENT"}}
}

type gmailError struct {
	Error gmailErrorBody `json:"error"`
}

type gmailErrorBody struct {
	Code    int                `json:"code"`
	Message string             `json:"message"`
	Errors  []gmailErrorDetail `json:"errors"`
	Status  string             `json:"status,omitempty"`
}

type gmailErrorDetail struct {
	Message string `json:"message"`
	Domain  string `json:"domain"`
	Reason  string `json:"reason"`
}

func (gmail) refuse(why Fault, w wait) answer {
	body := func(status int, domain, reason, canonical, message string) answer {
		return answer{status: status, body: gmailError{gmailErrorBody{
			Code: status, Message: message, Status: canonical,
			Errors: []gmailErrorDetail{{Message: message, Domain: domain, Reason: reason}},
		}}}
	}
	switch why {
	case OverQuota, Throttled:
		text, named := w.instant()
		a := body(403, "usageLimits", "rateLimitExceeded", "PERMISSION_DENIED", "User-rate limit exceeded.  Retry after "+text)
		a.named = named
		return a
	case Overloaded:
		return body(429, "global", "rateLimitExceeded", "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).")
	case Unavailable:
		return body(503, "global", "backendError", "UNAVAILABLE", "The service is currently unavailable.")
	case ServerError:
		return body(500, "global", "backendError", "INTERNAL", "Backend Error")
	case TokenExpired:
		return body(401, "global", "authError", "UNAUTHENTICATED", "Invalid Credentials")
	case missing:
		return body(404, "global", "notFound", "NOT_FOUND", "Requested entity was not found.")
	}
	return body(400, "global", "badRequest", "INVALID_ARGUMENT", "Bad Request")
}

func (g gmail) path(mailbox, rest string) string {
	return "/gmail/v1/users/" + mailbox + "/messages" + rest
}

func (g gmail) listRequest(mailbox, page string) *http.Request {
	q := url.Values{"maxResults": {"50"}}
	if page != "" {
		q.Set("pageToken", page)
	}
	return request(http.MethodGet, g.host(), g.path(mailbox, ""), q, nil)
}

func (g gmail) getRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, g.host(), g.path(mailbox, "/"+id), url.Values{"format": {"full"}}, nil)
}

func (g gmail) sendRequest(mailbox, id string) *http.Request {
	var raw bytes.Buffer
	_, _ = io.WriteString(&raw, "From: <"+mailbox+">\r\nTo: <you@example.com>\r\nMessage-ID: <"+id+">\r\nSubject: hello\r\n\r\nhello\r\n")
	return request(http.MethodPost, g.host(), g.path(mailbox, "/send"), nil, map[string]string{
		"raw": base64.URLEncoding.EncodeToString(raw.Bytes()),
	})
}

func (g gmail) findRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, g.host(), g.path(mailbox, ""), url.Values{"q": {"rfc822msgid:" + id}}, nil)
}

func (gmail) parseList(body []byte) (ids []string, next string, err error) {
	l, err := unmarshal[gmailList](body)
	for _, m := range l.Messages {
		ids = append(ids, m.ID)
	}
	return ids, l.Next, err
}

func (gmail) parseMessage(body []byte) (Message, error) {
	m, err := unmarshal[gmailMessage](body)
	msg := Message{ID: m.ID}
	if m.Payload != nil {
		for _, h := range m.Payload.Headers {
			if h.Name == "Subject" {
				msg.Subject = h.Value
			}
		}
	}
	return msg, err
}
