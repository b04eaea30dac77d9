package debug

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// The actions of the page, if Options.Actions allows them.

const (
	maxForm = 8 << 10 // bytes of a form
	byHand  = "by hand"
)

// lengths are the lengths of time for which a limit can be held or an account paused.
var lengths = []struct {
	Value, Label string
	d            time.Duration // 0 = until it is resumed
}{
	{"5m", "5 minutes", 5 * time.Minute},
	{"30m", "30 minutes", 30 * time.Minute},
	{"2h", "2 hours", 2 * time.Hour},
	{"24h", "24 hours", 24 * time.Hour},
	{"", "until it is resumed", 0},
}

// An action does what a form asks for. It returns the URL of the next page, or the problem.
type action func(h *handler, form url.Values) (next, problem string)

var actions = map[string]action{"hold": holdLimit, "lift": liftHold, "pause": pauseAccount, "resume": resumeAccount}

// act checks that a form comes from the page itself, and carries out the action.
func (h *handler) act(w http.ResponseWriter, r *http.Request, act action) {
	refuse := func(status int, why string) { http.Error(w, "recourse: "+why, status) }
	switch {
	case !h.o.Actions:
		refuse(http.StatusForbidden, "actions are not enabled: see Options.Actions")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		refuse(http.StatusMethodNotAllowed, "an action is a POST")
		return
	case !h.sameOrigin(r):
		refuse(http.StatusForbidden, "the form does not come from this page")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "the form cannot be read")
		return
	}
	form := r.PostForm
	if subtle.ConstantTimeCompare([]byte(form.Get("token")), []byte(h.token)) != 1 {
		refuse(http.StatusForbidden, "the form is an old one: open the page anew")
		return
	}
	next, problem := act(h, form)
	if problem != "" {
		refuse(http.StatusConflict, problem)
		return
	}
	h.changed()
	// http.Redirect would make the URL absolute, and http.StripPrefix may have cut the path.
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
}

// sameOrigin reports whether a request was made by a page of this origin, as far as the browser
// says. If it says nothing, the token alone protects.
func (h *handler) sameOrigin(r *http.Request) bool {
	if h.origin.Check(r) != nil {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// lengthOf returns the length of time in a form.
func lengthOf(form url.Values) (d time.Duration, ok bool) {
	for _, l := range lengths {
		if l.Value == form.Get("for") {
			return l.d, true
		}
	}
	return 0, false
}

func holdLimit(h *handler, form url.Values) (next, problem string) {
	k, ok := h.names.limitKey(form.Get("key"))
	if !ok {
		return "", "the key is not shown any more: open the page anew"
	}
	d, ok := lengthOf(form)
	if !ok || d == 0 {
		return "", "a limit is held for a length of time"
	}
	p, err := h.engine.Provider(k.provider)
	if err != nil {
		return "", "there is no such provider any more"
	}
	now := time.Now()
	if err := p.Hold(k.limit, k.keys, now.Add(d), limiter.Cause{Rule: byHand, At: now}); err != nil {
		return "", "the policy has no such limit any more"
	}
	return "./?done=hold#held", ""
}

func liftHold(h *handler, form url.Values) (next, problem string) {
	k, ok := h.names.limitKey(form.Get("key"))
	if !ok {
		return "", "the key is not shown any more: open the page anew"
	}
	p, err := h.engine.Provider(k.provider)
	if err != nil {
		return "", "there is no such provider any more"
	}
	if err := p.Lift(k.limit, k.keys); err != nil {
		return "", "the policy has no such limit any more"
	}
	return "./?done=lift#held", ""
}

func pauseAccount(h *handler, form url.Values) (next, problem string) {
	account := h.names.find(form.Get("account"))
	if account == "" {
		return "", "no account is named"
	}
	d, ok := lengthOf(form)
	if !ok {
		return "", "no length of time is named"
	}
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d)
	}
	switch err := h.engine.PauseAccount(account, until, kept(strings.ToValidUTF8(form.Get("reason"), ""))); {
	case errors.Is(err, engine.ErrFleetUntold):
		return h.backTo(account, "pause-here"), ""
	case err != nil:
		return "", untold(err, "paused")
	}
	return h.backTo(account, "pause"), ""
}

func resumeAccount(h *handler, form url.Values) (next, problem string) {
	account := h.names.find(form.Get("account"))
	if account == "" {
		return "", "no account is named"
	}
	switch err := h.engine.ResumeAccount(account); {
	case errors.Is(err, engine.ErrFleetUntold):
		return h.backTo(account, "resume-here"), ""
	case err != nil:
		return "", untold(err, "resumed")
	}
	return h.backTo(account, "resume"), ""
}

// untold returns what an error means for a pause that was to begin or end.
func untold(err error, what string) string {
	if errors.Is(err, engine.ErrFleetUntold) {
		return "the account is " + what + " in this process alone: the store does not answer, and is told once it does"
	}
	return "the account was not " + what
}

// backTo returns the URL of an account's page after an action.
func (h *handler) backTo(account, done string) string {
	q := url.Values{"account": {h.names.account(account)}, "done": {done}}
	if h.o.ShowAccounts {
		q.Set("account", account)
	}
	return "./?" + q.Encode()
}
