package engine

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// LogObserver returns an Observer that writes one record for each decision, and one for each
// event of the engine itself, such as a reload. A success that no rule matches is not logged.
//
//	level  what happened
//	Debug  the call goes on: it is retried, has waited, or its credentials were refreshed
//	Debug  a rule accepts the failure
//	Debug  the call is given up with an answer that is ordinary in sync work: HTTP 404,
//	       410 or 412, or the label gone, conflict, skip or resync, as of a deletion that
//	       somebody else has made, or a sync token that has expired
//	Info   the call is handed back until later, or its caller has canceled it
//	Info   policies were reloaded, an account goes on, the store's outage has ended
//	Warn   the call is given up for any other reason
//	Warn   a caller retries what was given up here, leaks a body or names no account;
//	       no policy is loaded for a host; an account is paused; the store fails
//	Error  policies could not be reloaded
//
// HTTP 404, 410 and 412 are Warn too where somebody has to act or to look: where the
// label is needs_user, ambiguous, misconfigured, operator, admin or denied, or where
// the engine gave up what a rule wanted repeated (exhausted, budget, deadline,
// unavailable). A 304 is a success.
//
// Records carry the provider, operation, account, rule, reason and status, the limit that a
// call waits for and the rule that closed it, and the provider's error code if it looks like
// one (of at most 64 bytes). They carry no message, header or body, since a provider may quote
// in them what it was sent. A nil logger means slog.Default().
func LogObserver(l *slog.Logger) Observer {
	if l == nil {
		l = slog.Default()
	}
	return ObserverFunc(func(ctx context.Context, n *Notice) {
		level, text := logged(n)
		if text != "" && l.Enabled(ctx, level) {
			l.LogAttrs(ctx, level, text, attributes(n)...)
		}
	})
}

// logMessages has the level and the text of the notices that are always logged alike.
var logMessages = map[NoticeKind]struct {
	level slog.Level
	text  string
}{
	NoticeWait:      {slog.LevelDebug, "retrying"},
	NoticeDefer:     {slog.LevelInfo, "deferred"},
	NoticeNested:    {slog.LevelWarn, "retried again above"},
	NoticeLeak:      {slog.LevelWarn, "response body never closed"},
	NoticeNoAccount: {slog.LevelWarn, "call without an account"},
	NoticeManyFacts: {slog.LevelWarn, "call without an account"},
	NoticePaused:    {slog.LevelWarn, "account paused"},
	NoticeResumed:   {slog.LevelInfo, "account resumed"},
	NoticeUnclaimed: {slog.LevelWarn, "no policy for a host of a built-in one"},
}

// logged returns the level and the text of a notice's record; without a text there is none.
func logged(n *Notice) (level slog.Level, text string) {
	switch n.Kind {
	case NoticeDecision:
		// Of a failure, the wait or the end of the call that follows is logged. A plain success
		// was decided only because its body could hide an error.
		if d := n.Decision; d != nil && d.Action == policy.Accept && d.Reason != decision.ReasonSuccess {
			return slog.LevelDebug, "accepted"
		}
	case NoticeReauth, NoticeReauthWait:
		switch {
		case n.Err != nil: // what becomes of the call is logged, with this as its reason
		case n.Kind == NoticeReauth:
			return slog.LevelDebug, "re-authenticated"
		default:
			return slog.LevelDebug, "waited for re-authentication"
		}
	case NoticeGiveUp:
		return levelOfGivingUp(n), "gave up"
	case NoticeReload:
		if n.Err != nil {
			return slog.LevelError, "policies not reloaded"
		}
		return slog.LevelInfo, "policies reloaded"
	case NoticeStore:
		if n.Store.Kind == limiter.StoreOutageEnded {
			return slog.LevelInfo, "store: " + n.Store.Kind.String()
		}
		return slog.LevelWarn, "store: " + n.Store.Kind.String()
	}
	message := logMessages[n.Kind]
	return message.level, message.text
}

// attributes returns what a notice's record says besides its text.
func attributes(n *Notice) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	addInt := func(key string, value int) {
		if value != 0 {
			attrs = append(attrs, slog.Int(key, value))
		}
	}
	add("provider", n.Provider)
	add("operation", n.Operation)
	add("account", n.Account)
	add("policy_version", n.Version)
	addInt("attempt", n.Attempt)
	if d := n.Decision; d != nil {
		if d.Rule != nil {
			add("rule", d.Rule.Name)
		}
		add("action", d.Action.String())
		add("as", brief(d.As))
		add("reason", d.Reason.String())
	}
	if s := n.Store; s != nil {
		attrs = append(attrs, slog.Int("members", s.Members))
		addInt("count", s.Count)
		if s.Kind == limiter.StoreOutageBegan {
			attrs = append(attrs, slog.Float64("share", s.Share))
		}
	}
	add("limit", n.Limit)
	add("closed_by", n.Cause.Rule)
	if n.Duration > 0 {
		attrs = append(attrs, slog.Duration("wait", n.Duration))
	}
	if e := n.Event; e != nil {
		addInt("status", e.Status)
		add("imap_status", redact.Code(e.IMAPStatus))
		add("network", redact.Code(e.Network))
		add("code", redact.Code(e.Code()))
	}
	if n.Err != nil && n.Kind.ownError() && n.Kind != NoticeResumed { // its Err is the pause that is over
		add("error", errtree.Text(n.Err))
	}
	return attrs
}

// levelOfGivingUp returns the level of a call that was given up. It is lower than Warn for an
// answer that the worker handles by itself, as it handles a success.
func levelOfGivingUp(n *Notice) slog.Level {
	if n.Decision == nil {
		return slog.LevelWarn
	}
	switch n.Decision.As {
	case "gone", "conflict", "skip", AsResync:
		return slog.LevelDebug
	case AsCanceled:
		return slog.LevelInfo
	case AsAmbiguous, AsNeedsUser, AsMisconfigured, "operator", "admin", "denied",
		AsExhausted, AsBudget, AsDeadline, AsUnavailable:
		return slog.LevelWarn
	}
	switch n.Status {
	case http.StatusNotFound, http.StatusGone, http.StatusPreconditionFailed:
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// maxBrief is the longest part of a text from outside that is logged or
// remembered, in bytes.
const maxBrief = 64

// brief returns the beginning of a text, without a rune that is cut in two.
func brief(s string) string {
	if len(s) <= maxBrief {
		return s
	}
	return strings.ToValidUTF8(s[:maxBrief], "")
}
