package debug

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/internal/decision"
)

func (h *handler) eventRow(e *event) eventRow {
	row := eventRow{
		At: e.at, Kind: e.kind.String(), Provider: shown(e.provider, maxShown), Account: h.names.account(e.account), Operation: shown(e.operation, maxShown),
		Host: shown(e.host, maxShown), Status: e.status, Attempt: e.attempt, Rule: shown(e.rule, maxName), Action: e.action, As: shown(e.as, maxShown), Because: e.because,
		Limit: shown(e.limit, maxShown), Seconds: round(e.duration.Seconds()), Until: e.until, Cause: causeOf(e.cause), Failure: h.names.without(e.text, e.account), Times: e.times,
	}
	row.Says = says(e, &row)
	return row
}

// plainSays are the phrases for events of which there is nothing more to say.
var plainSays = map[engine.NoticeKind]string{
	engine.NoticePaused:    "paused",
	engine.NoticeResumed:   "resumed",
	engine.NoticeNested:    "somebody above retries what was given up here",
	engine.NoticeLeak:      "a response's body was never closed",
	engine.NoticeNoAccount: "a call names no account and should",
	engine.NoticeUnclaimed: "a request goes to a host of a built-in policy that is not loaded",
	engine.NoticeManyFacts: "the account has too many values of facts that limits count by",
}

// says returns an event as a phrase, without what the other columns show.
func says(e *event, row *eventRow) string {
	lasts := duration(e.duration)
	because := ""
	if e.because != "" && e.because != decision.ReasonRule.String() { // which "rule … says" says
		because = ": " + e.because
	}
	switch e.kind {
	case engine.NoticeDecision:
		return "rule " + quoted(row.Rule) + " says " + decided("", row.Action, row.As) + behind(" in ", e.duration) + because
	case engine.NoticeHold:
		if e.rule == "" {
			return "limit " + quoted(row.Limit) + " was held by hand for " + lasts
		}
		return "rule " + quoted(row.Rule) + " holds limit " + quoted(row.Limit) + " for " + lasts
	case engine.NoticeLift:
		return "the hold of limit " + quoted(row.Limit) + " was lifted by hand"
	case engine.NoticeQueued:
		if row.Limit == "" {
			return "waited " + lasts + " for its credentials"
		}
		return "waited " + lasts + " for limit " + quoted(row.Limit) + closedBy(row.Cause)
	case engine.NoticeDefer:
		if row.Limit == "" {
			return "handed back for " + lasts + because
		}
		return "handed back for " + lasts + " by limit " + quoted(row.Limit) + closedBy(row.Cause)
	case engine.NoticeGiveUp:
		return "given up as " + row.As + because
	case engine.NoticeReauth:
		if row.Failure != "" {
			return "the refresh of its credentials failed after " + lasts
		}
		return "its credentials were refreshed in " + lasts
	case engine.NoticeReauthWait:
		return "waited " + lasts + " for a refresh that another call began"
	case engine.NoticeReload:
		if row.Failure != "" {
			return "the policies were not replaced"
		}
		return "the policies were replaced by version " + shown(e.version, maxShown)
	case engine.NoticeStore:
		return "the store: " + row.Action + behind(" after ", e.duration)
	}
	return cmp.Or(plainSays[e.kind], row.Kind)
}

// behind returns a length of time behind a word; "" for none.
func behind(word string, d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return word + duration(d)
}

// closedBy returns the rule that closed a limit, as the end of a phrase.
func closedBy(c *causeRow) string {
	if c == nil || c.Rule == "" {
		return ""
	}
	return ", closed by rule " + quoted(c.Rule)
}

func quoted(s string) string { return "“" + s + "”" }

// duration returns a length of time as people write it.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(-d)
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	case d < 2*time.Hour-30*time.Second:
		return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
	case d < 48*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Hours()), ".0") + " h"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Hours()/24), ".0") + " days"
}
