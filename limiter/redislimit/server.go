package redislimit

import "context"

// Server is a Redis or Valkey server, or a cluster of them, as a [Store] sees it. [New]
// makes one from a client of go-redis. To use another client, implement Server and call
// [NewOn]. The methods must be safe for concurrent use.
//
// A method must return when its context ends, and must not send a command twice.
type Server interface {
	// Eval runs a script by EVALSHA, or by EVAL if the server does not know it, and sets
	// c.Answer to the script's answer, which is a string.
	Eval(ctx context.Context, script *Script, c *Call) error

	// EvalAll does what Eval does for each of the calls, in one round trip if possible. It
	// returns the first error.
	EvalAll(ctx context.Context, script *Script, calls []Call) error

	// Subscribe calls f for each message on the channels, one after another, until the
	// context ends or the connection is lost. It calls f("", "") once all channels are
	// subscribed to. On a cluster it must use SSUBSCRIBE.
	Subscribe(ctx context.Context, channels []string, f func(channel, message string)) error

	// Cluster reports whether keys are spread over several servers by their hash tags.
	Cluster() bool
}

// Call is one run of a script.
type Call struct {
	Keys   []string // all in one slot of a cluster
	Args   []string
	Answer string // set by Eval and EvalAll
}
