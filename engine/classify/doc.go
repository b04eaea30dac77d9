// Package classify turns what a provider answered into a [rules.Event]: the
// facts that a policy's rules read.
//
// It reads raw HTTP responses ([HTTP]), SMTP replies ([SMTP]), IMAP responses
// ([IMAP]), errors of the Go libraries that talk to providers ([Error]), and
// batches of answers inside one response ([Batch]). The policy says where in a
// response each fact is found (its section `extract`); the standard headers that ask a
// client to wait, such as Retry-After, are read here.
//
// Reading a response never fails. A body that is cut short, empty, compressed,
// binary, not UTF-8 or of another type than it says yields fewer facts, but never
// an error or a panic. The work is bounded: at most [MaxBody] bytes of a body are
// read (unless the policy's `inspect` says otherwise), text patterns see the message
// or else the first 4 KiB of the body (those for retry_after see both, one after
// the other), and a fact holds at most 64 values.
//
// A [Trace] in the argument of each function records where each fact came from.
//
// All functions are safe for concurrent use. The caller owns the event and
// passes the current time.
package classify
