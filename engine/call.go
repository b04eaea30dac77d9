package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Call describes one call to a provider: whose quota it uses, what it is
// called, what it may do. With Do it is an argument; with Transport it comes
// from the request's context (WithCall, WithAccount), and whatever it leaves
// empty is found from the request.
type Call struct {
	Provider string // policy's name; Transport: "" = picked by host and path

	// Keys say whose quota the call uses. Account is the mailbox, grant or user that is
	// re-authenticated too. Operation is the policy's name of what is called; Transport:
	// "" = named by the policy. Host is, with Transport, the request's where it is "".
	limiter.Keys

	Method string // HTTP method, SMTP verb or IMAP command; Transport: the request's

	// Facts are facts of the policy's own that are known before the call, such as the
	// mailbox folder that it is about: rules read them as facts.NAME, and limits may
	// count by them. Transport adds those that the policy finds in the request's path,
	// where they are not given here. The map is only read.
	Facts map[string]string

	N        int   // requests in one, as in a batch; 0 = 1
	Parallel int   // how many of them the provider runs side by side; 0 = 1
	Cost     int64 // units that each request costs, where it differs from the policy's table; 0 = as the table says
	Bytes    int64 // size of what is sent, for limits in bytes; Transport: 0 = Content-Length

	// Idempotent says that a repeat is harmless although neither the method
	// nor the policy says so.
	Idempotent bool
	// Priority orders calls that wait for one limit; zero = interactive.
	Priority limiter.Priority

	// MaxInline is the longest wait that holds the worker; a longer one is
	// handed back as a *DeferError. 0 = the Options'.
	MaxInline time.Duration
	// MaxAttempts bounds the attempts of this call beside what the policy
	// says; 0 = the policy alone. As there, a failure that is answered by an
	// asked-for wait or by a re-authentication burns no attempt.
	MaxAttempts int

	// State is where an earlier process left off; zero = a new call.
	State State
	// Checkpoint is called before each attempt, and before the limits are asked about
	// it, with the State to resume with if this process dies before the call ends: it
	// counts the attempt, whose outcome is unknown then. Its context is the call's; to
	// keep the attempt from being made it cancels that. It runs in the call's goroutine
	// and should be fast. nil = nothing is saved.
	Checkpoint func(context.Context, State)

	// Outcome is where Transport tells what it decided about the latest
	// request of the call, for callers who never see its response because an
	// SDK does: until when it was deferred, say. Where nothing had to be decided
	// its action is to accept, by the rule "success". Requests that are made side by
	// side need one each. nil = nowhere; Do does not use it.
	Outcome *Result
}

type callKey struct{}

// WithCall returns a context whose requests Transport treats as c says.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, &c)
}

// WithAccount returns a context whose requests belong to an account. It keeps
// whatever else an outer WithCall has said.
func WithAccount(ctx context.Context, account string) context.Context {
	var c Call
	if outer := callFrom(ctx); outer != nil {
		c = *outer
	}
	c.Account = account
	return WithCall(ctx, c)
}

// callFrom returns the Call of a context; nil = it has none. The caller must not change it.
func callFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

type attemptKey struct{}

// Attempt is the number, from 1, of the attempt that ctx belongs to: inside
// Do's function, and in the context of a request that Transport sends.
func Attempt(ctx context.Context) int {
	if n, ok := ctx.Value(attemptKey{}).(int); ok {
		return n
	}
	return 1
}

// keyOf returns the key by which a policy's budget or breaker tells calls apart: that of a
// dimension of limits, or "" for the provider as a whole. It is a switch, since each call asks
// and [limiter.ParseDimension] takes four times as long.
func keyOf(dimension string, k *limiter.Keys) string {
	switch dimension {
	case "account":
		return k.Account
	case "app":
		return k.App
	case "tenant":
		return k.Tenant
	case "host":
		return k.Host
	case "ip":
		return k.IP
	case "device":
		return k.Device
	case "operation":
		return k.Operation
	}
	return "" // the provider as a whole
}
