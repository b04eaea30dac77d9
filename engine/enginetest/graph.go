package enginetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// NewGraph returns a Microsoft Graph v1.0, its Outlook mail part. It refuses
// the fifth concurrent request on a mailbox with 429 ApplicationThrottled and
// Retry-After, sometimes with a fraction as Graph has been seen to do, and
// whatever else comes for that mailbox until then. The limits of 10,000
// requests in 10 minutes and of uploads are not enforced: no run is that long.
// https://learn.microsoft.com/graph/throttling-limits
func NewGraph(o Options) *Server { return newServer(graph{}, o) }

type graph struct{}

func (graph) name() string { return "microsoft_graph" }
func (graph) host() string { return "graph.microsoft.com" }

func (graph) tokenPath() string { return "/oauth2/token" }

func (graph) limits() limits {
	return limits{concurrency: 4, throttle: time.Second}
}

func (graph) faults() []FaultRate {
	return []FaultRate{
		{Fault: Throttled, Rate: 0.01, wait: 1500 * time.Millisecond},
		{Fault: Unavailable, Rate: 0.03},
		{Fault: ServerError, Rate: 0.01},
		{Fault: ConnectionLost, Rate: 0.01},
		{Fault: Throttled, Rate: 0.05, wait: 1500 * time.Millisecond, Sends: true},
		{Fault: FailedLate, Rate: 0.15, Sends: true},
		{Fault: ReplyLost, Rate: 0.20, Sends: true},
		{Fault: ConnectionLost, Rate: 0.10, Sends: true},
	}
}

func (graph) mailbox(i int) string { return fmt.Sprintf("user%d@contoso.example", i+1) }

// graphFilter is the $filter by which a sent message is found.
const graphFilter = "internetMessageId eq '"

// Paths: /v1.0/users/{user}/messages[/{id}], /v1.0/users/{user}/sendMail.
func (graph) parse(r *http.Request, body []byte) call {
	p := segments(r.URL.Path)
	if len(p) < 4 || p[0] != "v1.0" || p[1] != "users" {
		return call{}
	}
	c := call{mailbox: p[2]}
	switch {
	case r.Method == http.MethodGet && len(p) == 4 && p[3] == "messages":
		q := r.URL.Query()
		if id, ok := strings.CutPrefix(q.Get("$filter"), graphFilter); ok {
			c.op, c.id = opFind, strings.TrimSuffix(id, "'")
		} else {
			c.op, c.page = opList, q.Get("$skip")
		}
	case r.Method == http.MethodGet && len(p) == 5 && p[3] == "messages":
		c.op, c.id = opGet, p[4]
	case r.Method == http.MethodPost && len(p) == 4 && p[3] == "sendMail":
		var send graphSend
		_ = json.Unmarshal(body, &send) // what cannot be read has no identity, and is refused for that
		c.op, c.id = opSend, send.Message.InternetMessageID
	}
	return c
}

type graphMessage struct {
	ID                string `json:"id,omitempty"`
	Subject           string `json:"subject,omitempty"`
	InternetMessageID string `json:"internetMessageId,omitempty"`
}

type graphSend struct {
	Message graphMessage `json:"message"`
}

type graphList struct {
	Value []graphMessage `json:"value"`
	Next  string         `json:"@odata.nextLink,omitempty"`
}

func (g graph) list(m *mailbox, found []Message, next string) any {
	l := graphList{Value: []graphMessage{}}
	for _, msg := range found {
		l.Value = append(l.Value, graphMessage{ID: msg.ID, Subject: msg.Subject})
	}
	if next != "" {
		l.Next = g.listRequest(m.name, next).URL.String()
	}
	return l
}

func (graph) get(_ *mailbox, msg Message) any {
	return graphMessage{ID: msg.ID, Subject: msg.Subject, InternetMessageID: "<" + msg.ID + "@contoso.example>"}
}

func (graph) sent(*mailbox, string) (int, any) { return http.StatusAccepted, nil }

func (graph) refuse(why Fault, w wait) answer {
	body := func(status int, code, message string) answer {
		return answer{status: status, body: map[string]any{"error": map[string]any{
			"code": code, "message": message,
			"innerError": map[string]string{"request-id": "02403262-4063-455c-9c8f-54f442b31343"},
		}}}
	}
	switch why {
	case OverQuota, Throttled, OverConcurrency:
		message := "Application is over its MailboxConcurrency limit."
		if why != OverConcurrency {
			message = "Too many requests."
		}
		a := body(429, "ApplicationThrottled", message)
		header, named := w.seconds()
		if w.form < 0.3 {
			header, named = w.decimal()
		}
		a.header, a.named = map[string]string{"Retry-After": header}, named
		return a
	case Overloaded:
		return body(429, "TooManyRequests", "Too many requests.")
	case Unavailable:
		if w.form < 0.5 {
			return body(503, "serviceNotAvailable", "The service is not available. Try the request again after a delay.")
		}
		return body(503, "ErrorServerBusy", "The server cannot service this request right now. Try again later.")
	case ServerError:
		return body(504, "UnknownError", "")
	case TokenExpired:
		return body(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
	case missing:
		return body(404, "ErrorItemNotFound", "The specified object was not found in the store.")
	}
	return body(400, "BadRequest", "The request is malformed.")
}

func (g graph) listRequest(mailbox, page string) *http.Request {
	q := url.Values{"$top": {"50"}}
	if page != "" {
		q.Set("$skip", page)
	}
	return request(http.MethodGet, g.host(), "/v1.0/users/"+mailbox+"/messages", q, nil)
}

func (g graph) getRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, g.host(), "/v1.0/users/"+mailbox+"/messages/"+id, nil, nil)
}

func (g graph) sendRequest(mailbox, id string) *http.Request {
	return request(http.MethodPost, g.host(), "/v1.0/users/"+mailbox+"/sendMail", nil,
		graphSend{graphMessage{Subject: "hello", InternetMessageID: id}})
}

func (g graph) findRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, g.host(), "/v1.0/users/"+mailbox+"/messages",
		url.Values{"$filter": {graphFilter + id + "'"}}, nil)
}

func (graph) parseList(body []byte) (ids []string, next string, err error) {
	l, err := unmarshal[graphList](body)
	for _, m := range l.Value {
		ids = append(ids, m.ID)
	}
	if l.Next != "" {
		u, perr := url.Parse(l.Next)
		if perr != nil {
			return ids, "", perr
		}
		next = u.Query().Get("$skip")
	}
	return ids, next, err
}

func (graph) parseMessage(body []byte) (Message, error) {
	m, err := unmarshal[graphMessage](body)
	return Message{ID: m.ID, Subject: m.Subject}, err
}
