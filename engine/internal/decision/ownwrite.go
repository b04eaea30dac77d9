package decision

import (
	"net/http"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// ownWrite corrects the decision about a refusal that follows an attempt of unknown
// outcome. That attempt may have been carried out, and then its own effect is the reason
// for the refusal. A policy cannot know that, since its rules see one answer at a time.
//
//   - DELETE answered by 404 or 410: the resource is gone, as was wanted: a success.
//   - 412: the earlier attempt's own write may be what the condition forbids (RFC 9110,
//     sections 13.1.1 and 13.1.2). Servers send 412 only if there is a condition.
//   - POST, PUT or PATCH answered by 409, MKCOL or MKCALENDAR answered by 405 (RFC 4918,
//     section 9.3.1), MOVE answered by 404: the same, without a condition.
//
// A rule that asks for another attempt, or that says that only the user can help, has
// recognised something else in the answer, so its decision stays.
func (d *Decision) ownWrite(e *rules.Event) {
	if d.Action != policy.Fail || d.As == AsNeedsUser || e.Protocol != "http" || e.Network != "" {
		return
	}
	own := false
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		if e.Method == http.MethodDelete {
			d.Action, d.As, d.Reason = policy.Accept, "", ReasonOwnDelete
			return
		}
		own = e.Method == "MOVE"
	case http.StatusMethodNotAllowed:
		own = e.Method == "MKCOL" || e.Method == "MKCALENDAR"
	case http.StatusConflict:
		own = e.Method == http.MethodPost || e.Method == http.MethodPut || e.Method == http.MethodPatch
	case http.StatusPreconditionFailed:
		own = e.Method != http.MethodGet && e.Method != http.MethodHead
	}
	if own {
		d.As, d.Reason = AsAmbiguous, ReasonOwnWrite
	}
}
