// Package pglimit keeps limits in a PostgreSQL server, for all processes that share it:
//
//	err := pglimit.EnsureSchema(ctx, pool)
//	store, err := pglimit.New(pool, pglimit.Options{})
//	eng, err := engine.New(engine.Options{Store: store})
//
// Each decision is one call of a function in the server, which changes one row a key. The rows
// are in unlogged tables: they are not written ahead, so a decision costs no sync, and a server
// that crashes, or a replica that takes over, has forgotten them. The store notices that: see
// [limiter.Store]. A server that is stopped as usual forgets nothing.
//
// Names of keys are SHA-256 digests, or HMAC-SHA256 with Options.Secret, so that whoever reads
// the tables does not see whose mailboxes they are about.
package pglimit
