package enginetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// NewWarpflow returns a Warpflow Signals API: leads to read, events to send. It
// publishes no limits; it throttles a tenant now and then with 429 and
// Retry-After, in seconds or as an HTTP-date, and has outages of a moment (503).
// Its documentation gives the form of the errors and no paths; these are of the
// usual kind.
func NewWarpflow(o Options) *Server { return newServer(warpflow{}, o) }

type warpflow struct{}

func (warpflow) name() string { return "warpflow" }
func (warpflow) host() string { return "signals.warpflow.example" }

func (warpflow) tokenPath() string { return "/oauth2/token" }

func (warpflow) limits() limits { return limits{throttle: 2 * time.Second} }

func (warpflow) faults() []FaultRate {
	return []FaultRate{
		{Fault: Throttled, Rate: 0.02, wait: 2 * time.Second},
		{Fault: Unavailable, Rate: 0.04},
		{Fault: ServerError, Rate: 0.01},
		{Fault: ConnectionLost, Rate: 0.01},
		{Fault: Throttled, Rate: 0.05, wait: 2 * time.Second, Sends: true},
		{Fault: FailedLate, Rate: 0.15, Sends: true},
		{Fault: ReplyLost, Rate: 0.20, Sends: true},
		{Fault: ConnectionLost, Rate: 0.10, Sends: true},
	}
}

func (warpflow) mailbox(i int) string { return fmt.Sprintf("tenant-%d", i+1) }

// Paths: /v1/tenants/{tenant}/leads[/{id}], /v1/tenants/{tenant}/events.
func (warpflow) parse(r *http.Request, body []byte) call {
	p := segments(r.URL.Path)
	if len(p) < 4 || p[0] != "v1" || p[1] != "tenants" {
		return call{}
	}
	c := call{mailbox: p[2]}
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodGet && len(p) == 4 && p[3] == "leads":
		c.op, c.page = opList, q.Get("cursor")
	case r.Method == http.MethodGet && len(p) == 5 && p[3] == "leads":
		c.op, c.id = opGet, p[4]
	case r.Method == http.MethodGet && len(p) == 4 && p[3] == "events":
		c.op, c.id = opFind, q.Get("external_id")
	case r.Method == http.MethodPost && len(p) == 4 && p[3] == "events":
		var event warpflowEvent
		_ = json.Unmarshal(body, &event) // what cannot be read has no identity, and is refused for that
		c.op, c.id = opSend, event.ExternalID
	}
	return c
}

type warpflowEvent struct {
	ExternalID string `json:"external_id"`
	Type       string `json:"type"`
}

type warpflowLead struct {
	ID    string `json:"lead_id"`
	Title string `json:"title"`
}

type warpflowList struct {
	Items []warpflowLead `json:"items"`
	Next  string         `json:"cursor,omitempty"`
}

func (warpflow) list(_ *mailbox, found []Message, next string) any {
	l := warpflowList{Items: []warpflowLead{}, Next: next}
	for _, msg := range found {
		l.Items = append(l.Items, warpflowLead{ID: msg.ID, Title: msg.Subject})
	}
	return l
}

func (warpflow) get(_ *mailbox, msg Message) any { return warpflowLead{ID: msg.ID, Title: msg.Subject} }

func (warpflow) sent(_ *mailbox, id string) (int, any) {
	return http.StatusAccepted, map[string]string{"external_id": id, "state": "queued"}
}

func (warpflow) refuse(why Fault, w wait) answer {
	body := func(status int, code, message string) answer {
		return answer{status: status, body: map[string]any{"error": code, "message": message, "status": status}}
	}
	switch why {
	case OverQuota, Throttled, OverConcurrency:
		seconds, named := w.seconds()
		a := body(429, "RATE_LIMITED", "Rate limit exceeded. Retry after "+seconds+" seconds.")
		header := seconds
		if w.form < 0.3 {
			header, named = w.date()
			a = body(429, "RATE_LIMITED", "Rate limit exceeded.")
		}
		a.header, a.named = map[string]string{"Retry-After": header}, named
		return a
	case Overloaded:
		return body(429, "RATE_LIMITED", "Rate limit exceeded.")
	case Unavailable:
		return body(503, "SERVICE_UNAVAILABLE", "Temporary service disruption")
	case ServerError:
		return body(500, "INTERNAL_ERROR", "Unexpected server error")
	case TokenExpired:
		return body(401, "UNAUTHORIZED", "Invalid or expired API key")
	case missing:
		return body(404, "NOT_FOUND", "The requested resource doesn't exist")
	}
	return body(400, "VALIDATION_ERROR", "The request is malformed")
}

func (f warpflow) listRequest(mailbox, page string) *http.Request {
	q := url.Values{"limit": {"50"}}
	if page != "" {
		q.Set("cursor", page)
	}
	return request(http.MethodGet, f.host(), "/v1/tenants/"+mailbox+"/leads", q, nil)
}

func (f warpflow) getRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, f.host(), "/v1/tenants/"+mailbox+"/leads/"+id, nil, nil)
}

func (f warpflow) sendRequest(mailbox, id string) *http.Request {
	return request(http.MethodPost, f.host(), "/v1/tenants/"+mailbox+"/events", nil,
		warpflowEvent{ExternalID: id, Type: "email.received"})
}

func (f warpflow) findRequest(mailbox, id string) *http.Request {
	return request(http.MethodGet, f.host(), "/v1/tenants/"+mailbox+"/events", url.Values{"external_id": {id}}, nil)
}

func (warpflow) parseList(body []byte) (ids []string, next string, err error) {
	l, err := unmarshal[warpflowList](body)
	for _, m := range l.Items {
		ids = append(ids, m.ID)
	}
	return ids, l.Next, err
}

func (warpflow) parseMessage(body []byte) (Message, error) {
	m, err := unmarshal[warpflowLead](body)
	return Message{ID: m.ID, Subject: m.Title}, err
}
