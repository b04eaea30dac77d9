// Package redislimit keeps limits in Redis or Valkey, so that all processes that share a
// server keep the limits of a provider together.
//
//	options, err := redislimit.ClientOptions("localhost:6379")
//	store, err := redislimit.New(redis.NewClient(options), redislimit.Options{})
//	eng, err := engine.New(engine.Options{Store: store})
//
// It needs Redis 7 or later, or Valkey 8 or later. One Lua script decides over all limits of
// a call in one round trip, on the server's clock. Each key of a limit is one string in the
// server, which is dropped when it says no more than a missing one.
//
// # What the server can read
//
// Keys are people's addresses, so their names are digests: HMAC-SHA256 with Options.Secret, and
// SHA-256 without. Without a secret, somebody who can read the server and knows an address can
// tell whether it is there. Causes of holds (rule, code, status, operation) are readable.
//
// # Clusters
//
// Keys are spread over 256 hash tags, by the place of the call's mailbox. All keys of one run of
// a script have the same tag. A cluster's client may send a command twice, whatever its options,
// so a script decides about a permit only once, by its id.
//
// # When the server forgets
//
// A server that restarts without its data has lost holds and the slots in use. Each tag has a
// key, its epoch, that says since when the server has the tag's keys. After a loss buckets
// begin empty, and slots are granted only after a third of a lease, in which processes restore
// what they hold. A server that evicts keys when its memory is full would lose them one by one,
// so New refuses it.
package redislimit
