// Package policy reads policy files: what to do after a call to a provider
// fails, and which limits to stay inside.
//
// A policy file is YAML, one file a provider:
//
//	version: 1
//	provider: example
//	match:
//	  - {host: api.example.com}
//	extract:
//	  codes: [{json: error.code}]
//	backoff:
//	  default: {initial: 1s, max: 1m, attempts: 5}
//	limits:
//	  - {name: user, key: account, rate: 10/s}
//	rules:
//	  - name: throttled
//	    when: status == 429 or "slow_down" in codes
//	    action: wait
//	    hold: user
//	default: fail
//
// [Load] reads files, resolves what they extend, and compiles their rules. It
// reports every problem in one run, each as a [Diagnostic] with its place in the
// file, also inside expressions. A [Set] is what it yields: immutable, and safe
// for concurrent use. [Builtin] is the set of the policies that come with the
// library; files of your own go on top of it:
//
//	files, err := policy.ReadDir("policies")
//	…
//	set, problems := policy.Load(files, policy.LoadOptions{Over: policy.Builtin()})
//
// # Inheritance
//
// `extends` names one or more policies, the most general first; each one and
// all that it extends itself are laid on one another, each once, and the file on
// top. A map is merged by key (`costs` and `extract.facts` by their inner keys
// too); a backoff, limit, operation or rule of the same name replaces the inherited one in place;
// `remove` drops inherited ones. New rules, operations and inspect entries come
// first, rules marked `last: true` come after all that is inherited, new limits and
// idempotent operations are added. `provider`, `source` and `match` are a file's
// own, except that a policy which replaces a built-in one of its own name, and
// extends it, keeps its `match`.
//
// # Defaults
//
// backoff: initial 1s, min 0s, max 64s (initial, where that is longer),
// multiplier 2, jitter equal; attempts or elapsed must be given. A limit's burst:
// one second's units for a rate, all of a quota up to 64, 1 % of a larger one (25 % where the cost is bytes), and never less
// than the dearest operation that the limit counts. inspect: max 64KiB. budget: min 10/s, key provider.
// breaker: key host, min 20, window 10s, open 30s, probes 1. A rule: as permanent, backoff "default",
// over defer, replay gate, last false.
package policy
