package redislimit

import "context"

// Server is a Redis or Valkey server, or a cluster of them, as a [Store] sees it. [New]
// makes one of a client of go-redis; with another client it is for [NewOn] to be written
// by hand. Its methods are safe for concurrent use.
//
// A method ends when its context does. It sends nothing twice by itself.
type Server interface {
	// Eval runs a script: by EVALSHA, or by EVAL where the server does not know it. The
	// script's answer is a string.
	Eval(ctx context.Context, script *Script, c *Call) error

	// EvalAll does so for each of the calls, in one round trip where that can be. The error
	// is the first of theirs.
	EvalAll(ctx context.Context, script *Script, calls []Call) error

	// Subscribe calls f for each message on the channels, one after another, until the
	// context ends or the connection is lost. f("", "") is called once all channels are
	// subscribed to. On a cluster it is by SSUBSCRIBE.
	Subscribe(ctx context.Context, channels []string, f func(channel, message string)) error

	// Cluster reports whether keys are spread over several servers by their hash tags.
	Cluster() bool
}

// Call is one run of a script.
type Call struct {
	Keys   []string // all in one slot of a cluster
	Args   []string
	Answer string // is set by the call
}
