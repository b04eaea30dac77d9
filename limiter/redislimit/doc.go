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
// SHA-256 without. Without a secret, who can read the server and knows an address can tell
// whether it is there. Causes of holds (rule, code, status, operation) are readable.
//
// # Clusters
//
// Keys are spread over 256 hash tags, by the place of the call's mailbox, and whatever one script
// touches has one tag. A cluster's client sends a command again whatever its options say, so a
// script decides over a permit once, by its id.
//
// # When the server forgets
//
// A server that was restarted empty knows nothing of holds and slots in use. Each tag has a key
// that says since when its keys are known: buckets begin empty then, and slots are given out
// only after a third of a lease, in which processes put back what they hold. A server that drops keys
// when its memory is full would forget one by one: New refuses such a policy.
package redislimit
