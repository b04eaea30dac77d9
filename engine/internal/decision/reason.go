package decision

// Reason says how a rule's action became a decision.
type Reason uint8

// The reasons. The table reasons has the text of each.
const (
	ReasonRule Reason = iota
	ReasonSuccess
	ReasonAttempts
	ReasonElapsed
	ReasonWaits
	ReasonTotalWait
	ReasonMaxWait
	ReasonGate
	ReasonVeto
	ReasonReauthed
	ReasonNoReauth
	ReasonReauthError
	ReasonCanceled
	ReasonDeadline
	ReasonBudget
	ReasonCode
	ReasonBreaker
	ReasonBody
	ReasonInline
	ReasonLimit
	ReasonInner
	ReasonNoPolicy
	ReasonRefusedHere
	ReasonForeign
	ReasonReauthSoon
	ReasonOwnWrite
	ReasonUpload
	ReasonOwnDelete
	ReasonTimeUp
	ReasonNoAccount
	ReasonClosed
	ReasonPaused
)

var reasons = [...]string{
	ReasonRule:        "the rule says so",
	ReasonSuccess:     "a successful reply that no rule matches",
	ReasonAttempts:    "the backoff's attempts are used up",
	ReasonElapsed:     "the backoff's elapsed time is used up",
	ReasonWaits:       "the call has waited too often",
	ReasonTotalWait:   "the call would wait too long in all",
	ReasonMaxWait:     "the server asked for more than the rule's max_wait",
	ReasonGate:        "not idempotent and the outcome is unknown: a repeat could do it twice",
	ReasonVeto:        "the server said not to retry (x-should-retry: false)",
	ReasonReauthed:    "refused again after re-authentication",
	ReasonNoReauth:    "nothing is configured that could re-authenticate",
	ReasonReauthError: "re-authentication failed",
	ReasonCanceled:    "the caller gave up",
	ReasonDeadline:    "the wait does not fit before the caller's deadline",
	ReasonBudget:      "the retry budget is used up",
	ReasonCode:        "the calling code said so",
	ReasonBreaker:     "the circuit breaker is open",
	ReasonBody:        "the request's body cannot be sent again",
	ReasonInline:      "the wait is longer than a worker may be held",
	ReasonLimit:       "a limit can never let the call pass: it is too large, or waits for itself",
	ReasonInner:       "a call inside this one was given up or handed back",
	ReasonNoPolicy:    "there is no policy of that name",
	ReasonRefusedHere: "refused here only: the credentials work for other calls",
	ReasonForeign:     "refused by a host that gets none of the account's credentials",
	ReasonReauthSoon:  "refused although the credentials were good a moment ago",
	ReasonOwnWrite:    "an earlier attempt of unknown outcome may be what this one was refused for",
	ReasonUpload:      "the request's own body could not be read",
	ReasonOwnDelete:   "an earlier attempt of unknown outcome has deleted it: what was wanted",
	ReasonTimeUp:      "the caller's deadline has come",
	ReasonNoAccount:   "the call names no account",
	ReasonClosed:      "the engine was closed",
	ReasonPaused:      "the account is paused",
}

// String returns the reason as a phrase.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown"
}
