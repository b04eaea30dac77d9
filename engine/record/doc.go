// Package record writes the failures that an engine decides about to files, so that they
// can be decided again: `recourse decide` says what policies decide about them today, and
// `recourse diff` says what other policies would change.
//
//	rec, err := record.New(record.Options{File: "/var/lib/worker/errors.jsonl"})
//	if err != nil {
//		return err
//	}
//	defer rec.Close()
//	eng, err := engine.New(engine.Options{Observer: rec})
//
// Each line is a case as `recourse decide` reads it. It holds the facts that the policy read
// from a response (codes, type, message, the wait that the server asked for), and not the
// response itself. It holds no request, no body unless a condition on the body may decide,
// and only the standard headers and those that conditions read, but none that carries
// credentials. Accounts, and addresses in texts, are replaced by pseudonyms.
//
// # What it costs
//
// A Recorder is an engine.Observer. It never delays a call: failures that are not sampled, or
// for which the disk is too slow, are only counted. Errors of the disk are reported by Stats
// and Options.OnError, and never reach a call.
package record
