package classify

import (
	"net/http"
	"strconv"
	"time"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// MaxBody is how many bytes of a body are read unless the policy's `inspect` says
// otherwise. The rest is ignored.
const MaxBody = 64 << 10

// BodyLimit returns how many bytes of a response's body are read under the policy
// p: as many as the `inspect` entry that covers the response says, else MaxBody.
// p may be nil.
func BodyLimit(p *policy.Policy, status int, operation, contentType string) int {
	if p != nil && len(p.Inspect) > 0 {
		if in := p.InspectFor(status, operation, contentType); in != nil && in.Max > 0 {
			return int(in.Max)
		}
	}
	return MaxBody
}

// Response is one HTTP response with its body already read.
type Response struct {
	Operation string      // the policy's name of the request; "" = unnamed
	Method    string      // of the request
	Status    int         // of the final answer; HTTP says what becomes of one below 200
	Header    http.Header // of the response, names in any case
	// Body is what was read of the response's body, still encoded as its
	// Content-Encoding says: HTTP decodes gzip and deflate, up to the same limit.
	// The event refers to these bytes without a copy, so they must not change while
	// the event is in use.
	Body []byte
	// Now is when the response arrived. It is used only if the response has no Date
	// header. Zero means the current time.
	Now time.Time
	// Trace, if it is not nil, records where each fact came from.
	Trace *Trace
}

// Report holds what a caller may want to log about a response besides its facts.
// The zero Report holds nothing.
type Report struct {
	// TooLong is the longest wait that the server asked for but that was ignored
	// because it is longer than 7 days; 0 = there was none.
	TooLong time.Duration
	// From is where TooLong was found, such as "header Retry-After".
	From string
}

// HTTP fills e with the facts of the response r as the policy p finds them:
// Provider, Operation, Method, Protocol, Status, Type, Codes, Message, Facts,
// RetryAfter, Header and Body. It sets Sent and clears Network and IMAPStatus;
// Attempt, Elapsed and Idempotent are the caller's. Without a policy (p nil)
// only the facts that need none are filled, and Provider stays as it is.
//
// HTTP has no final answer with a status below 200 (RFC 9110, section 15.2: 1xx is
// interim), except 101 with an Upgrade header. Whatever sent another one may have
// carried the request out, so Network is then [rules.NetworkOther].
func HTTP(p *policy.Policy, r *Response, e *rules.Event) Report {
	t := r.Trace
	h := canonical(r.Header)
	contentType := get(h, "Content-Type")
	f := finder{
		reply:   extract.NewReply(),
		success: 200 <= r.Status && r.Status <= 299,
		clock:   clock{now: r.Now, date: get(h, "Date")},
		trace:   t,
	}
	defer f.reply.Free()
	f.reply.Header = h
	if !f.success || p == nil || covers(p, r, contentType) {
		f.read(r.Body, h, BodyLimit(p, r.Status, r.Operation, contentType))
	}
	e.Operation, e.Method = r.Operation, upper(r.Method)
	e.Protocol, e.Status, e.IMAPStatus = "http", r.Status, ""
	e.Network, e.Sent = "", true
	if r.Status < 200 && (r.Status != http.StatusSwitchingProtocols || get(h, "Upgrade") == "") {
		e.Network = rules.NetworkOther
	}
	e.Header, e.Body = h, f.body
	e.Codes, e.Message = nil, ""
	if t != nil {
		t.add("status", "http status", strconv.Itoa(r.Status), "")
	}
	hint := serverHint(h, r.Status, &f.clock, t)
	return f.fill(p, e, hint)
}
