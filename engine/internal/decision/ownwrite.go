package decision

import (
	"net/http"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// ownWrite corrects what the rule of a refusal says where an attempt of unknown
// outcome came before: that attempt may have been carried out, and what refuses
// the repeat is then its own effect. It is the engine's to know and not a
// policy's, whose rules see one answer at a time.
//
//   - DELETE answered 404 or 410: what was to go is gone, a success.
//   - 412: what the condition forbids may be the first attempt's own write
//     (RFC 9110, 13.1.1 and 13.1.2). Nobody answers so without a condition.
//   - POST, PUT or PATCH answered 409, MKCOL or MKCALENDAR answered 405 (RFC
//     4918, 9.3.1), MOVE answered 404: the same, without a condition.
//
// A rule that goes on, or that says that only the user can help, has recognised
// something else in the answer, and stays.
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
