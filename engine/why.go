package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Why says why an account's calls wait, as far as this process knows: see Engine.Why.
type Why struct {
	Account string
	Time    time.Time // when it was asked

	// Paused says that nothing is sent for the account; nil = it is not paused.
	Paused *Pause

	// Limits are those that keep the account's calls back, or would: held, used up, or with
	// calls that wait for them. Limits that many accounts share, as those of an
	// application, are among them too while they are held or somebody waits for them,
	// since nobody knows which of them the account's next call needs. The one that
	// opens last comes first.
	Limits []LimitState

	// Credentials are the account's that cannot be used for now: the latest refresh has
	// failed, or one is under way.
	Credentials []CredentialState

	// Decisions are the latest about the account's failures, the newest first, as
	// Engine.Recent has them.
	Decisions []Notice
}

// LimitState is the state of a provider's limit.
type LimitState struct {
	Provider string
	limiter.State
}

// CredentialState is the state of a credential at a provider.
type CredentialState struct {
	Provider   string    // "" = Reauth.Credential has named it, for several
	Name       string    // the account's, or what Reauth.Credential calls it
	Refreshing bool      // a refresh is under way
	Failures   int       // failed refreshes in a row
	Until      time.Time // no refresh begins before then, and no call is sent; zero = it may
	As         string    // what calls are given up as; "" = they wait, or are handed back
	Err        error     // why the latest refresh failed; nil = it did not
}

// maxWhyDecisions bounds the decisions that Why tells.
const maxWhyDecisions = 20

// Why says why an account's calls wait: what is held or used up, its credentials,
// whether it is paused, and what was decided last. It is for people, as on a
// debug page: it looks at every key of every limit that is in use, a few at a
// time under a lock.
func (e *Engine) Why(account string) Why {
	w := Why{Account: account, Time: time.Now()}
	if p, ok := e.pauses.Of(account); ok {
		p := Pause(p)
		w.Paused = &p
	}
	for _, p := range e.InUse() {
		if l := p.limiter.Load(); l != nil {
			for s := range l.Of(account) {
				if keepsBack(&s, account) {
					w.Limits = append(w.Limits, LimitState{p.name, s})
				}
			}
		}
		w.credential(p)
	}
	slices.SortStableFunc(w.Limits, func(a, b LimitState) int {
		return cmp.Or(b.opens().Compare(a.opens()), cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(a.Limit, b.Limit))
	})
	for _, n := range e.Recent() {
		if n.Account == account && len(w.Decisions) < maxWhyDecisions {
			w.Decisions = append(w.Decisions, n)
		}
	}
	return w
}

// keepsBack reports whether a limit may keep an account's calls back.
func keepsBack(s *limiter.State, account string) bool {
	closed := !s.Held.IsZero() || s.Probing || s.Waiting > 0
	if s.Keys.Account != account {
		return s.Keys.Account == "" && closed
	}
	full := s.Concurrency > 0 && s.InFlight >= s.Concurrency || s.Burst > 0 && s.Level < 1
	return closed || full
}

// credential adds what is known of the account's credential at a provider.
func (w *Why) credential(p *Provider) {
	s, ok := p.credentials.State(p.credentialKey(w.Account))
	if !ok || s.Failure == nil && !s.Refreshing {
		return
	}
	c := CredentialState{Provider: p.name, Name: s.Name, Refreshing: s.Refreshing, Failures: s.Failures}
	if f := s.Failure; f != nil {
		c.Until, c.As, c.Err = f.Until, f.As, f.Err
	}
	w.Credentials = append(w.Credentials, c)
}

// opens is when the limit lets calls through again, as far as that is known.
func (s *LimitState) opens() time.Time { return later(s.Held, s.Reset) }

// String says it in sentences, a line each. Of errors it shows what GiveUpError's text does.
func (w Why) String() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	if p := w.Paused; p != nil {
		until := "until it is resumed"
		if !p.Until.IsZero() {
			until = "until " + at(p.Until)
		}
		line("account %q is paused %s, since %s: %s", w.Account, until, at(p.Since), p.Reason)
	}
	for _, l := range w.Limits {
		line("%s: limit %q %s", l.Provider, l.Limit, l.describe(at))
	}
	for _, c := range w.Credentials {
		switch {
		case c.As != "":
			line("%s: the credentials are refused, calls are given up as %s: %s", c.Provider, brief(c.As), shownText(c.Err))
		case c.Err != nil:
			line("%s: the credentials cannot be refreshed before %s: %s", c.Provider, at(c.Until), shownText(c.Err))
		default:
			line("%s: the credentials are being refreshed", c.Provider)
		}
	}
	if b.Len() == 0 {
		line("nothing that this process knows keeps account %q waiting", w.Account)
	}
	for _, n := range w.Decisions {
		d := n.Decision
		what := d.Action.String()
		if d.As != "" {
			what += " as " + d.As
		}
		line("%s %s %s, status %d: rule %q says %s (%s)", at(n.Time), n.Provider, n.Operation, n.Status, d.Rule.Name, what, d.Reason)
	}
	return b.String()
}

// describe says what a limit's state means for those who wait.
func (s *LimitState) describe(at func(time.Time) string) string {
	var parts []string
	if s.Keys.Account == "" {
		parts = append(parts, "shared with other accounts")
	}
	switch {
	case !s.Held.IsZero():
		parts = append(parts, "held until "+at(s.Held))
	case s.Probing:
		parts = append(parts, "lets few calls through after a hold")
	case s.Concurrency > 0 && s.InFlight >= s.Concurrency:
		parts = append(parts, fmt.Sprintf("has all %d calls at once", s.Concurrency))
	case s.Burst > 0 && s.Level < 1 && !s.Reset.IsZero():
		parts = append(parts, "used up until "+at(s.Reset))
	case s.Burst > 0 && s.Level < 1:
		parts = append(parts, fmt.Sprintf("used up, and fills by %.4g a second", s.Rate))
	}
	if cause := s.Cause.String(); cause != "" {
		parts = append(parts, cause)
	}
	if s.Waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", s.Waiting))
	}
	return strings.Join(parts, ", ")
}
