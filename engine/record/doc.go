// Package record writes the failures that an engine decides about to files, so that they
// can be decided again: by `recourse decide`, which says what the same policies say today,
// and by `recourse diff`, which says what others would change.
//
//	rec, err := record.New(record.Options{File: "/var/lib/worker/errors.jsonl"})
//	if err != nil {
//		return err
//	}
//	defer rec.Close()
//	eng, err := engine.New(engine.Options{Observer: rec})
//
// A line is a case as `recourse decide` reads it. It holds the facts that the policy read
// from a response (codes, type, message, what the server asked for), and not the response:
// no request, no body unless a rule's condition on it may decide, and of the headers only
// those that rules read, without those that carry credentials. Accounts are pseudonyms by
// a key, and so are the addresses in texts.
//
// # What it costs
//
// A Recorder is an engine.Observer. It never waits: what the disk is too slow for, and
// what its samples leave out, is counted and forgotten. Errors of the disk are
// told by Stats and Options.OnError, never to a call.
package record
