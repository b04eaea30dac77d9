package enginetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// NewNylas returns a Nylas v3 API. It lets 200 requests a second through for
// each grant, with a burst of 200; its access tokens expire after 60 requests
// unless Options.TokenLife says otherwise, and are renewed at
// /v3/connect/token; it answers some reads 202, "not ready", which is an error.
// https://developer.nylas.com/docs/api/errors/,
// https://developer.nylas.com/docs/dev-guide/platform/rate-limits/
func NewNylas(o Options) *Server { return newServer(nylas{}, o) }

type nylas struct{}

func (nylas) name() string { return "nylas_v3" }
func (nylas) host() string { return "api.us.nylas.com" }

func (nylas) tokenPath() string { return "/v3/connect/token" }

func (nylas) limits() limits {
	return limits{rate: 200, burst: 200, throttle: time.Second, tokenLife: 60, tokenAge: 10 * time.Second}
}

func (nylas) faults() []FaultRate {
	return []FaultRate{
		{Fault: Throttled, Rate: 0.01, wait: 2 * time.Second},
		{Fault: NotReady, Rate: 0.03},
		{Fault: ServerError, Rate: 0.03},
		{Fault: ProviderUnreachable, Rate: 0.01},
		{Fault: Unavailable, Rate: 0.01},
		{Fault: ConnectionLost, Rate: 0.01},
		{Fault: Throttled, Rate: 0.05, wait: 2 * time.Second, Sends: true},
		{Fault: FailedLate, Rate: 0.15, Sends: true},
		{Fault: ReplyLost, Rate: 0.20, Sends: true},
		{Fault: ConnectionLost, Rate: 0.10, Sends: true},
	}
}

func (nylas) mailbox(i int) string { return fmt.Sprintf("grant-%d", i+1) }

// Paths: /v3/grants/{grant}/messages[/send|/{id}].
func (nylas) parse(r *http.Request, body []byte) call {
	p := segments(r.URL.Path)
	if len(p) < 4 || p[0] != "v3" || p[1] != "grants" || p[3] != "messages" {
		return call{}
	}
	c := call{mailbox: p[2]}
	switch {
	case r.Method == http.MethodGet && len(p) == 4:
		q := r.URL.Query()
		if id := q.Get("subject"); id != "" {
			c.op, c.id = opFind, id
		} else {
			c.op, c.page = opList, q.Get("page_token")
		}
	case r.Method == http.MethodGet && len(p) == 5:
		c.op, c.id = opGet, p[4]
	case r.Method == http.MethodPost && len(p) == 5 && p[4] == "send":
		var send nylasMessage
		_ = json.Unmarshal(body, &send)
		c.op, c.id = opSend, send.Subject
	}
	return c
}

type nylasMessage struct {
	ID      string `json:"id,omitempty"`
	GrantID string `json:"grant_id,omitempty"`
	Object  string `json:"object,omitempty"`
	Subject string `json:"subject,omitempty"`
}

type nylasOne struct {
	RequestID string       `json:"request_id"`
	Data      nylasMessage `json:"data"`
}

type nylasList struct {
	RequestID string         `json:"request_id"`
	Data      []nylasMessage `json:"data"`
	Next      string         `json:"next_cursor,omitempty"`
}

const nylasRequestID = "1f58962d-9967-42de-9dd3-3f55aa1a216a"

func (nylas) list(m *mailbox, found []Message, next string) any {
	l := nylasList{RequestID: nylasRequestID, Data: []nylasMessage{}, Next: next}
	for _, msg := range found {
		l.Data = append(l.Data, nylasMessage{ID: msg.ID, GrantID: m.name, Object: "message", Subject: msg.Subject})
	}
	return l
}

func (nylas) get(m *mailbox, msg Message) any {
	return nylasOne{nylasRequestID, nylasMessage{ID: msg.ID, GrantID: m.name, Object: "message", Subject: msg.Subject}}
}

func (nylas) sent(m *mailbox, id string) (int, any) {
	return http.StatusOK, nylasOne{nylasRequestID, nylasMessage{ID: id, GrantID: m.name, Object: "message", Subject: id}}
}

func (nylas) refuse(why Fault, w wait) answer {
	body := func(status int, kind, message string, provider any) answer {
		e := map[string]any{"type": kind, "message": message}
		if provider != nil {
			e["provider_error"] = provider
		}
		return answer{status: status, body: map[string]any{"request_id": nylasRequestID, "error": e}}
	}
	// The reference writes types with "api." before them, its samples without.
	prefix := ""
	if w.form < 0.5 {
		prefix = "api."
	}
	switch why {
	case OverQuota, Throttled, OverConcurrency:
		a := body(429, "nylas_rate_limit_exceeded", "Too many requests", nil)
		if why == Throttled && w.form < 0.5 {
			a = body(429, prefix+"rate_limit_error", "Rate limit error.", map[string]any{
				"error": map[string]string{"code": "ApplicationThrottled", "message": "Application is over its limit."},
			})
		}
		header, named := w.seconds()
		a.header, a.named = map[string]string{"Retry-After": header}, named
		return a
	case Overloaded:
		return body(429, "nylas_rate_limit_exceeded", "Too many requests", nil)
	case NotReady:
		return body(202, "not_ready", "The request was valid, but the resource wasn't ready.", nil)
	case ProviderUnreachable:
		return body(400, "grant.provider_not_responding", "Provider not responding.", nil)
	case Unavailable:
		return body(503, prefix+"internal_error", "Internal error, contact administrator.", nil)
	case ServerError:
		return body(504, prefix+"provider_error", "Provider error message.", map[string]string{"error": "upstream timed out"})
	case TokenExpired:
		return body(401, "oauth2.invalid_token", "Token expired or revoked.", nil)
	case missing:
		return body(404, prefix+"not_found_error", "Resource not found.", nil)
	}
	return body(400, prefix+"invalid_request_error", "Bad request", nil)
}

func (n nylas) listRequest(mailbox, page string) *http.Request {
	q := url.Values{"limit": {"50"}}
	if page != "" {
		q.Set("page_token", page)
	}
	return request(http.MethodGet, n.host(), "/v3/grants/"+mailbox+"/messages", q, nil)
}

func (n nylas) getRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, n.host(), "/v3/grants/"+mailbox+"/messages/"+id, nil, nil)
}

func (n nylas) sendRequest(mailbox, id string) *http.Request {
	return request(http.MethodPost, n.host(), "/v3/grants/"+mailbox+"/messages/send", nil, nylasMessage{Subject: id})
}

func (n nylas) findRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, n.host(), "/v3/grants/"+mailbox+"/messages", url.Values{"subject": {id}}, nil)
}

func (nylas) parseList(body []byte) (ids []string, next string, err error) {
	l, err := unmarshal[nylasList](body)
	for _, m := range l.Data {
		ids = append(ids, m.ID)
	}
	return ids, l.Next, err
}

func (nylas) parseMessage(body []byte) (Message, error) {
	m, err := unmarshal[nylasOne](body)
	return Message{ID: m.Data.ID, Subject: m.Data.Subject}, err
}
