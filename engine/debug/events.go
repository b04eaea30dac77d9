package debug

import (
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

// says returns an event as a phrase, without what the other columns show.
func says(e *event, row *eventRow) string {
	lasts := duration(e.duration)
	because := ""
	if e.because != "" && e.because != decision.ReasonRule.String() { // which "rule … says" says
		because = ": " + e.because
	}
	switch e.kind {
	case engine.NoticeDecision:
		s := "rule " + quoted(row.Rule) + " says " + row.Action
		if row.As != "" {
			s += " as " + row.As
		}
		if e.duration > 0 {
			s += " in " + lasts
		}
		return s + because
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
		s := "handed back for " + lasts
		if row.Limit != "" {
			return s + " by limit " + quoted(row.Limit) + closedBy(row.Cause)
		}
		return s + because
	case engine.NoticeGiveUp:
		return "given up as " + row.As + because
	case engine.NoticeReauth:
		if row.Failure != "" {
			return "the refresh of its credentials failed after " + lasts
		}
		return "its credentials were refreshed in " + lasts
	case engine.NoticeReauthWait:
		return "waited " + lasts + " for a refresh that another call began"
	case engine.NoticePaused:
		return "paused"
	case engine.NoticeResumed:
		return "resumed"
	case engine.NoticeReload:
		if row.Failure != "" {
			return "the policies were not replaced"
		}
		return "the policies were replaced by version " + shown(e.version, maxShown)
	case engine.NoticeStore:
		s := "the store: " + row.Action
		if e.duration > 0 {
			s += " after " + lasts
		}
		return s
	case engine.NoticeNested:
		return "somebody above retries what was given up here"
	case engine.NoticeLeak:
		return "a response's body was never closed"
	case engine.NoticeNoAccount:
		return "a call names no account and should"
	case engine.NoticeUnclaimed:
		return "a request goes to a host of a built-in policy that is not loaded"
	case engine.NoticeManyFacts:
		return "the account has too many values of facts that limits count by"
	}
	return row.Kind
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
