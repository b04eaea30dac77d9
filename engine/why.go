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
	Time    time.Time // when Engine.Why was called

	// Paused is the account's pause; nil = it is not paused.
	Paused *Pause

	// Limits are the limits that delay the account's calls, or would: they are held or used
	// up, or calls wait for them. Limits that many accounts share, such as those of an
	// application, are among them only while they are held or calls wait for them, and
	// whether or not the account's next call needs them. The limit that opens last comes
	// first.
	Limits []LimitState

	// Credentials are the account's credentials that cannot be used now, since the latest
	// refresh has failed or one is under way.
	Credentials []CredentialState

	// Decisions are the latest decisions about the account's failures, as Engine.Recent has
	// them, the newest first and 20 at most.
	Decisions []Notice
}

// LimitState is the state of a provider's limit.
type LimitState struct {
	Provider string
	limiter.State
}

// CredentialState is the state of a credential at a provider.
type CredentialState struct {
	Provider   string    // "" = several providers share the credential, which Reauth.Credential has named
	Name       string    // the account, or the name that Reauth.Credential gives
	Refreshing bool      // a refresh is under way
	Failures   int       // failed refreshes in a row
	Until      time.Time // until then no refresh begins and no call is sent; zero = both may be now
	As         string    // the label with which calls are given up; "" = they wait, or are handed back
	Err        error     // why the latest refresh failed; nil = it did not fail
}

// maxWhyDecisions bounds Why.Decisions.
const maxWhyDecisions = 20

// Why says why an account's calls wait: which limits are held or used up, the state of its
// credentials, whether it is paused, and what was decided last. It is meant for people, as on a
// debug page, and not for every call: it looks at every key of every limit in use, a few at a
// time under a lock. It is safe for concurrent use.
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

// keepsBack reports whether a limit delays an account's calls, or would.
func keepsBack(s *limiter.State, account string) bool {
	closed := !s.Held.IsZero() || s.Probing || s.Waiting > 0
	if s.Keys.Account != account {
		return s.Keys.Account == "" && closed
	}
	full := s.Concurrency > 0 && s.InFlight >= s.Concurrency || s.Burst > 0 && s.Level < 1
	return closed || full
}

// credential adds the account's credential at a provider, if it cannot be used now.
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

// opens returns when the limit lets calls pass again; zero = now, or not known.
func (s *LimitState) opens() time.Time { return later(s.Held, s.Reset) }

// String returns w as sentences, one on each line. Of errors it shows as much as the text of a
// GiveUpError.
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

// describe says what the state of a limit means for the calls that wait for it.
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
