package engine

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/rules"
)

// GiveUpError is every final failure of Do, and of Transport where there is no
// response to return. It unwraps to the error of the last attempt; where that
// wraps itself or more than 1000 others, or panics when it is looked into, to an
// error that finds the same by package errors, and Err is the attempt's own.
//
// Its text names the provider, the rule and the reason, and of what went wrong
// only what is known to be harmless, since texts of errors end up in logs:
//
//   - of the answer its status, the codes and the message that the policy
//     extracts. A message may quote what the server was sent, so 160 bytes of it
//     are shown at most, and of those the plain words, small numbers and times;
//   - of errors of this module and of the standard library (package net, TLS,
//     contexts, system calls, …) what happened to which host and address;
//   - of a URL no user, query or fragment, and of its path what looks like a name;
//   - of any other error only its type, and what kind of failure it is:
//     *smtp.SMTPError, network=reset.
//
// The error that it unwraps to is as it was, and has its own text.
type GiveUpError struct {
	Decision  Decision
	Operation string
	Attempts  int          // attempts made, those of earlier processes included
	Until     time.Time    // not before then is it worth to make the call again; see Result.Until
	Event     *rules.Event // the last attempt's facts; nil when there was none
	Err       error        // the last attempt's error; nil only when there was no attempt
	Cause     error        // what ended it from outside: a context's error, a limiter's, the re-authentication's; often nil

	provider string // of the call; "" = that of the deciding policy
}

// Error says who gave up what, by which rule, why.
func (e *GiveUpError) Error() string {
	var b strings.Builder
	b.WriteString("engine: ")
	writeCall(&b, e.provider, &e.Decision, e.Operation)
	fmt.Fprintf(&b, ": gave up as %s", e.Decision.As)
	if e.Attempts > 0 {
		fmt.Fprintf(&b, " after %d attempt", e.Attempts)
		if e.Attempts > 1 {
			b.WriteByte('s')
		}
	}
	writeWhy(&b, e.provider, &e.Decision, e.Event, e.Err, e.Cause)
	return b.String()
}

// Unwrap is the last attempt's error, or the cause where there was no attempt.
func (e *GiveUpError) Unwrap() error {
	return bounded(e.first())
}

func (e *GiveUpError) first() error {
	if e.Err == nil {
		return e.Cause
	}
	return e.Err
}

// Is also finds the cause. What is given up as deadline is always a
// context.DeadlineExceeded, what is given up as canceled always a
// context.Canceled, beside the last attempt's error; where the context has
// ended, its context.Cause is found too.
func (e *GiveUpError) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		if e.Decision.As == AsDeadline {
			return true
		}
	case context.Canceled:
		if e.Decision.As == AsCanceled {
			return true
		}
	}
	return e.Err != nil && e.Cause != nil && errtree.Is(e.Cause, target)
}

// As also finds the cause's type, after the last attempt's own.
func (e *GiveUpError) As(target any) bool {
	return e.Err != nil && e.Cause != nil && !errtree.AsTarget(e.Err, target) && errtree.AsTarget(e.Cause, target)
}

// Timeout reports whether the last attempt timed out, as net.Error has it.
func (e *GiveUpError) Timeout() bool {
	return errtree.Timeout(e.first())
}

// DeferError hands a call back that must wait longer than a worker may be
// held. Park the call until Until, then run it again with State in its Call.
// It unwraps to the error of the last attempt, if there was one.
type DeferError struct {
	Until     time.Time
	State     State
	Decision  Decision
	Operation string
	Event     *rules.Event // the last attempt's facts; nil when a limit made it wait before any
	Err       error        // the last attempt's error; where there was none, what made it wait, as a limiter's
	Cause     error        // what else made it wait: a limiter's error, the re-authentication's; often nil

	provider string // of the call; "" = that of the deciding policy
}

// Error says until when and why; of errors it shows what GiveUpError's text does.
func (e *DeferError) Error() string {
	var b strings.Builder
	b.WriteString("engine: ")
	writeCall(&b, e.provider, &e.Decision, e.Operation)
	fmt.Fprintf(&b, ": deferred until %s", e.Until.UTC().Format(time.RFC3339))
	writeWhy(&b, e.provider, &e.Decision, e.Event, e.Err, e.Cause)
	return b.String()
}

// Unwrap is the last attempt's error.
func (e *DeferError) Unwrap() error { return bounded(e.Err) }

// Is also finds the cause.
func (e *DeferError) Is(target error) bool { return e.Cause != nil && errtree.Is(e.Cause, target) }

// As also finds the cause's type, after the last attempt's own.
func (e *DeferError) As(target any) bool {
	return e.Cause != nil && !errtree.AsTarget(e.Err, target) && errtree.AsTarget(e.Cause, target)
}

// bounded returns err if package errors can look into it. If it cannot, since err wraps
// itself, say, errors.Is would never return: then bounded returns an error with the same
// text whose own methods look into err, up to errtree.Max errors.
func bounded(err error) error {
	if err == nil || errtree.Bounded(err) {
		return err
	}
	return &boundedError{err}
}

type boundedError struct{ err error }

func (e *boundedError) Error() string        { return errtree.Text(e.err) }
func (e *boundedError) Is(target error) bool { return errtree.Is(e.err, target) }
func (e *boundedError) As(target any) bool   { return errtree.AsTarget(e.err, target) }

// writeWhy adds the rule, the reason and what is behind a decision. The rule
// can be one of a token endpoint's policy: then that is named too.
func writeWhy(b *strings.Builder, provider string, d *Decision, e *rules.Event, err, cause error) {
	switch {
	case d.Rule != nil && d.Rule.Policy != "" && provider != "" && provider != d.Rule.Policy:
		fmt.Fprintf(b, " (rule %q of %q: %s)", d.Rule.Name, d.Rule.Policy, d.Reason)
	case d.Rule != nil:
		fmt.Fprintf(b, " (rule %q: %s)", d.Rule.Name, d.Reason)
	default:
		fmt.Fprintf(b, " (%s)", d.Reason)
	}
	if text := shownFailure(e, err); text != "" {
		b.WriteString(": " + text)
	}
	if cause != nil {
		b.WriteString(": " + shownText(cause))
	}
}

func writeCall(b *strings.Builder, provider string, d *Decision, operation string) {
	switch {
	case provider != "":
		b.WriteString(provider)
	case d.Rule != nil && d.Rule.Policy != "":
		b.WriteString(d.Rule.Policy)
	default:
		b.WriteString("call")
	}
	if operation != "" {
		b.WriteByte(' ')
		b.WriteString(operation)
	}
}

// ResponseError is a failed HTTP response as an error: what CheckResponse
// makes of one. Its text has the status and the provider's code, where that looks
// like one, and never the body or a header.
type ResponseError struct {
	Provider, Method, Operation string // Provider: the policy that it was read by
	Status                      int
	Header                      http.Header
	Body                        []byte // at most classify.MaxBody of it
	Code                        string // the provider's error code, or its type

	facts   map[string]string // those that the request's path names
	foreign bool              // its host must not have the account's credentials
}

// Error names the status and the code.
func (e *ResponseError) Error() string {
	s := redact.Status(e.Status)
	if e.Code != "" {
		s += " (" + redact.Code(e.Code) + ")"
	}
	return s
}

// codeError is an error for which the calling code has said what is to be done.
type codeError struct {
	err   error
	after time.Duration // 0 = permanent
}

func (e *codeError) Error() string { return errtree.Text(e.err) }
func (e *codeError) Unwrap() error { return e.err }

// Permanent marks an error as final: Do returns it without another attempt,
// whatever the policy says. Permanent(nil) is nil. A *backoff.PermanentError
// of github.com/cenkalti/backoff/v4 has the same effect.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &codeError{err: err}
}

// RetryAfter marks an error as one to try again after d: Do waits at least so
// long, whatever the policy's rules and the idempotency gate say of the error.
// The bounds on waits hold all the same. RetryAfter(d, nil) is nil; a d that
// is not positive counts as one nanosecond.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &codeError{err: err, after: max(d, 1)}
}
