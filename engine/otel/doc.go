// Package recourseotel tells OpenTelemetry what a Recourse engine does: a span
// for each attempt, events on the caller's span, and metrics in base units.
//
//	observer, err := recourseotel.New(recourseotel.Options{})
//	…
//	eng, err := engine.New(engine.Options{Observer: observer})
//
// # Spans
//
// Every attempt is a span of kind client, a child of the span in the call's
// context, named and described after the semantic conventions for HTTP clients
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/, v1.43.0, read
// on 2026-11-23): http.request.method, http.response.status_code,
// http.request.resend_count, server.address and error.type, the latter the
// status, the kind of network failure (timeout, connect, reset, …) or, where an
// error hides in a reply that says success, the rule that found it. The span's
// name is the method and the policy's name of the operation, which stands for
// url.template; url.full is left out, since it names messages and may carry
// tokens. Attempts of Do that are not HTTP have a span of the same kind without
// the HTTP attributes. Beside these:
//
//	recourse.provider        the policy's name
//	recourse.policy.version  its version
//	recourse.operation       the operation
//	recourse.rule            the rule that matched; like what follows, only where there was a decision
//	recourse.action          accept, retry, wait, reauth or fail
//	recourse.as              why it is final: permanent, needs_user, resync, …
//	recourse.reason          how the rule's action became this one
//	recourse.code            the provider's error code, cut at 64 bytes
//	recourse.delay           seconds until the next attempt; of the events queued, hold, defer and reauth_wait, how long they say
//	recourse.limit           of the events hold, and of queued and defer where a limit made the call wait: its name
//	recourse.account         only with Options.Account
//
// A span is made when its attempt has ended, with the time of its beginning,
// so spans of whatever instruments the transport below are its siblings. It
// ends at the response's headers.
//
// The span in the call's context gets events named recourse.queued,
// recourse.wait, recourse.hold, recourse.reauth, recourse.reauth_wait, recourse.give_up
// and recourse.defer.
//
// # Metrics
//
//	recourse.attempt.duration  histogram, s            provider, operation, http.response.status_code, error.type
//	recourse.units             counter, {unit}         provider, operation: what attempts cost of the limits that count units
//	recourse.decisions         counter, {decision}     provider, rule, action, as
//	recourse.queue.duration    histogram, s            provider, limit: how long calls were kept back before an attempt, from a millisecond on; no limit where credentials known to be bad did
//	recourse.wait.duration     histogram, s            provider, action
//	recourse.hold.duration     histogram, s            provider, limit
//	recourse.defer.duration    histogram, s            provider
//	recourse.reauths           counter, {reauth}       provider, outcome: refreshes of credentials, each counted once
//	recourse.reauth.wait.duration  histogram, s        provider, outcome: how long calls waited for a refresh that another one began
//	recourse.give_ups          counter, {call}         provider, operation, rule, as
//	recourse.reloads           counter, {reload}       outcome
//	recourse.differences       counter, {decision}     provider: a shadow policy decided otherwise
//	recourse.nested            counter, {report}       provider: something above retries too
//	recourse.leaks             counter, {response}     provider: bodies that were never closed
//
// and, once an engine with a store is attached (Observer.Attach, engine.Options.Store):
//
//	recourse.store.members     gauge, {process}        processes that share the store
//	recourse.store.outage      gauge, s                for how long it has not answered; 0 = it answers
//	recourse.store.share       gauge                   the part of a divided limit that this process has then; 1 = it answers
//	recourse.store.leases      gauge, {lease}          slots' leases of this process
//	recourse.store.take.duration  counter, s           the time that calls waited for its answers; by recourse.store.takes it is the mean
//	recourse.store.takes, .grants, .refusals           what calls asked, and what it said
//	recourse.store.shared      counter, {call}         calls that passed without it, by share
//	recourse.store.requests, .errors                   requests of all kinds, and those that failed
//	recourse.store.events      counter, {event}        recourse.store.event: outages, forgotten, leases_lost, ends_dropped
//
// Their attributes are few, and an account is never one of them. Most come from
// policies. What the calling code can set is bounded for each provider, and what
// is beyond the bound, or longer than 128 bytes, is "_OTHER":
//
//   - Names of operations: the first Options.Operations are told apart.
//   - recourse.as: beside the engine's labels and those of the policy, the first
//     ten others, as of a call inside this one that another policy gave up.
//   - error.type, also on spans: beside rules, statuses (HTTP, SMTP, IMAP) and the
//     kinds of network failure that package rules names, the first ten others that
//     the engine's Classify gives as a kind or as an IMAP status.
//
// Nothing here carries a header, a body, a message or an error's text, unless
// the calling code makes a name of it. What is not UTF-8 in a name is shown as
// U+FFFD.
package recourseotel
