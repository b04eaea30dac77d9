// Package engine decides what a worker does after a call to a provider fails,
// and carries it out: it retries with backoff, waits as long as the server
// asked, refreshes credentials, hands a call back until later, or gives up.
//
// Three ways lead in, from the most to the least that is done for you:
//
//   - Engine.Transport is an http.RoundTripper for any HTTP client or SDK.
//   - Engine.Do (and Value) runs a function, for protocols that are not HTTP
//     and for code that wants errors rather than responses.
//   - Provider.Decide only answers, for code that has a loop of its own;
//     Provider.DecideBatch does for many requests inside one.
//
// All three decide alike: an attempt becomes a rules.Event (package
// engine/classify), the provider's policy (package policy) names the first
// rule that holds, and what bounds a call (attempts, waits, idempotency) is
// applied to the rule's action.
//
// An Engine and everything it hands out are safe for concurrent use.
package engine
