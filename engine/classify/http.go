package classify

import (
	"net/http"
	"strconv"
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// MaxBody is how many bytes of a body are read, unless a policy's `inspect` says
// otherwise; the rest is ignored.
const MaxBody = 64 << 10

// BodyLimit is how many bytes of a response's body are read under the policy p:
// what the `inspect` entry for it says, else MaxBody.
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
	Status    int         // of the final answer; below 200 it is unreadable, see HTTP
	Header    http.Header // of the response, names in any case
	// Body is what was read of the response's body, as it came: gzip and deflate
	// of its Content-Encoding are taken off here, up to the same length. The event refers to these
	// bytes without a copy: they must not change while the event is in use.
	Body []byte
	// Now is when the response arrived. It counts only where the response has
	// no Date of its own. Zero means the current time.
	Now time.Time
	// Trace, where it is not nil, gets where each fact came from.
	Trace *Trace
}

// Report is what a caller may want to log about a response besides its facts.
type Report struct {
	// TooLong is the longest wait that the server asked for and that was
	// ignored because it is above 7 days; 0 = none.
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
// A final answer with a status below 200 is none that HTTP knows (RFC 9110,
// section 15.2: 1xx is interim), and whatever sent it may have carried the
// request out: Network is [rules.NetworkOther]. 101 is final where the server
// says what it switches to (its Upgrade header).
func HTTP(p *policy.Policy, r *Response, e *rules.Event) Report {
	t := r.Trace
	h := canonical(r.Header)
	contentType := get(h, "Content-Type")
	f := finder{
		header:  h,
		success: 200 <= r.Status && r.Status <= 299,
		clock:   clock{now: r.Now, date: get(h, "Date")},
		trace:   t,
	}
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
