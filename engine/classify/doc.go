// Package classify turns what a provider answered into a [rules.Event]: the
// facts that a policy's rules read.
//
// It reads raw HTTP responses ([HTTP]), SMTP replies ([SMTP]), IMAP responses
// ([IMAP]), errors of the Go libraries that talk to providers ([Error]), and
// batches of answers inside one response ([Batch]). Where in a response a fact
// is found is the policy's business ([policy.Extract]); what a server asked
// for in its headers is read here ([Hint]).
//
// Nothing here fails. A body that is not what it says, cut short, empty,
// compressed, binary or not UTF-8 yields fewer facts, never an error, a panic
// or work out of proportion: bodies count up to [MaxBody] bytes, text patterns
// see the message or else the first 4 KiB of the body (those for the time to
// come back both, one after the other), a fact holds at most 64 values.
//
// The …Trace functions do the same and tell where each fact came from.
//
// All functions are safe for concurrent use. The caller owns the event and
// says when now is.
package classify
