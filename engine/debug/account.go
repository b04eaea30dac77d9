package debug

import (
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine"
)

// What concerns one account.

// accountView is why an account's calls wait, and what happened to it last.
type accountView struct {
	Time    time.Time `json:"time"`
	Account string    `json:"account"` // as it is shown
	// State is "paused", "waiting" (calls wait for a limit now), "held" (the next call may have to
	// wait, or be handed back), "credentials" (no call can be sent), or "free".
	State   string    `json:"state"`
	Says    string    `json:"says"`             // the answer in a sentence
	Resumes time.Time `json:"resumes,omitzero"` // when the last known reason to wait ends

	Paused      *pauseRow       `json:"paused,omitempty"`
	Limits      []keyRow        `json:"limits"` // the limits that delay it, or would; the one that opens last comes first
	MoreLimits  int             `json:"more_limits"`
	Credentials []credentialRow `json:"credentials"`
	Events      []eventRow      `json:"events"` // the newest first
}

// account returns the view of an account. typed is its name, or a pseudonym.
func (h *handler) account(typed string) *accountView {
	account := h.names.find(typed)
	w := h.why(account)
	v := &accountView{Time: w.Time, Account: h.names.account(account), Limits: []keyRow{}, Credentials: []credentialRow{}, Events: []eventRow{}}
	if w.Paused != nil {
		row := h.pauseRow(w.Paused)
		v.Paused = &row
	}
	for i := range firstOf(w.Limits, maxRows) {
		l := &w.Limits[i]
		v.Limits = append(v.Limits, h.keyRow(l.Provider, &l.State))
	}
	v.MoreLimits = len(w.Limits) - len(v.Limits)
	for i := range firstOf(w.Credentials, maxRows) {
		v.Credentials = append(v.Credentials, h.credentialRow(&w.Credentials[i]))
	}
	for _, e := range h.seen.accounts.of(account) {
		v.Events = append(v.Events, h.eventRow(&e))
	}
	v.judge(w)
	return v
}

// judge sets State, Says and Resumes.
func (v *accountView) judge(w *engine.Why) {
	resume := func(t time.Time) {
		if t.After(w.Time) && t.After(v.Resumes) {
			v.Resumes = t
		}
	}
	var own, shared struct{ limits, waiting int }
	for i := range w.Limits {
		l := &w.Limits[i]
		whose := &own
		if l.Keys.Account == "" {
			if whose = &shared; l.Waiting == 0 && l.Held.IsZero() {
				continue
			}
		}
		whose.limits++
		whose.waiting += l.Waiting
		resume(l.Held)
		resume(l.Reset)
	}
	for _, c := range w.Credentials {
		resume(c.Until)
	}
	switch {
	case w.Paused != nil && w.Paused.Until.IsZero():
		v.State, v.Says, v.Resumes = "paused", "It is paused until somebody resumes it.", time.Time{}
	case w.Paused != nil:
		v.State, v.Says = "paused", "It is paused."
		resume(w.Paused.Until)
	case slices.ContainsFunc(w.Credentials, func(c engine.CredentialState) bool { return c.As != "" }):
		v.State, v.Says, v.Resumes = "credentials", "Its credentials are refused: nothing is sent before they are renewed.", time.Time{}
	case len(w.Credentials) > 0:
		v.State, v.Says = "credentials", "Its credentials cannot be used for now."
	case own.waiting > 0:
		v.State, v.Says = "waiting", "Calls are waiting for a limit."
	case own.limits > 0:
		v.State, v.Says = "held", "Nothing waits, but a limit is closed or used up: the next call that needs it waits, or is handed back."
	case shared.waiting > 0:
		v.State, v.Says = "waiting", "Calls are waiting for a limit that it shares with other accounts; whose they are is not known."
	case shared.limits > 0:
		v.State, v.Says = "held", "A limit that it shares with other accounts is closed: a call that needs it waits, or is handed back."
	default:
		v.State, v.Says = "free", "Nothing that this process knows keeps it waiting."
	}
}

// maxWhys is how many answers of Engine.Why are cached.
const maxWhys = 16

// whyAnswer is a cached answer of Engine.Why.
type whyAnswer struct {
	why   engine.Why
	until time.Time // how long it is used
}

// why returns the answer of Engine.Why, which walks through all keys of all limits. So answers
// are shared for a short time, and only one is computed at a time.
func (h *handler) why(account string) *engine.Why {
	l := &h.whys
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if a, ok := l.answers.get(account); ok && now.Before(a.until) {
		return &a.why
	}
	a := &whyAnswer{why: h.engine.Why(account)}
	a.until = freshUntil(now)
	l.answers.put(account, a)
	return &a.why
}
