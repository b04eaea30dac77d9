// Package recourse is the home of Recourse, an embedded rules engine for retry
// and backoff policy, for workers that sync mail, calendars and contacts. The
// library is in its sub-packages:
//
//   - engine decides what to do after a call fails and does it: a transport for
//     HTTP clients, a function for everything else, or only the decision.
//   - engine/enginetest has fake providers, for tests of a worker.
//   - engine/record writes failures down, so that they can be decided again.
//   - engine/classify turns responses, replies and errors into events.
//   - policy reads the policy files, and holds the built-in packs.
//   - rules compiles the expressions of rules and finds the one that holds.
//   - limiter keeps callers inside a provider's limits.
//
// The command recourse, in cmd/recourse, checks, tests, explains and compares policies.
// README.md has the first steps, docs/design.md the reasons.
package recourse
