// Package recourseprom counts what a Recourse engine does, for Prometheus.
//
//	metrics := recourseprom.New(recourseprom.Options{})
//	eng, err := engine.New(engine.Options{Observer: metrics})
//	…
//	metrics.Attach(eng)
//	prometheus.MustRegister(metrics)
//
// What the engine tells as it happens:
//
//	recourse_attempts_total            provider, operation, result
//	recourse_units_total               provider, operation: what attempts cost of the limits that count units
//	recourse_attempt_duration_seconds  histogram: provider, operation
//	recourse_decisions_total           provider, rule, action, as
//	recourse_queue_seconds             histogram: provider, limit: how long limits kept calls back, from a millisecond on; limit is "" where credentials known to be bad did
//	recourse_wait_seconds              histogram: provider, action
//	recourse_hold_seconds              histogram: provider, limit
//	recourse_defer_seconds             histogram: provider
//	recourse_reauths_total             provider, result: refreshes of credentials, each counted once
//	recourse_reauth_wait_seconds       histogram: provider, result: how long calls waited for a refresh that another one began
//	recourse_give_ups_total            provider, operation, rule, as
//	recourse_reloads_total             result
//	recourse_differences_total         provider: decisions that a shadow policy would have made otherwise
//	recourse_nested_total              provider: times that something above was found to retry too
//	recourse_leaks_total               provider: response bodies that were never closed
//
// What an attached engine is asked at each scrape:
//
//	recourse_policies_info                              version, always 1
//	recourse_reload_last_successful                     1, or 0 while newer policies are refused
//	recourse_reload_last_success_timestamp_seconds
//	recourse_limit_keys_held                            provider, limit: keys for which the limit is closed
//	recourse_limit_calls_waiting                        provider, limit
//	recourse_limit_calls_in_flight                      provider, limit
//
// and, of an engine with a store (engine.Options.Store):
//
//	recourse_store_members                              processes that share the store
//	recourse_store_outage_seconds                       for how long it has not answered; 0 = it answers, so > 0 is an outage
//	recourse_store_share                                the part of a divided limit that this process has then; 1 = it answers
//	recourse_store_leases                               slots' leases of this process
//	recourse_store_take_seconds                         _sum and _count: the time that calls waited for its answers
//	recourse_store_grants_total, …_refusals_total       what it said to calls
//	recourse_store_shared_total                         calls that passed without it, by share
//	recourse_store_requests_total, …_errors_total       requests of all kinds, and those that failed
//	recourse_store_events_total                         event: outages, forgotten, leases_lost, ends_dropped
//
// The recourse_limit_… metrics are only of providers that are in use: that a notice was
// about, or that have a live key. So the packs that are loaded and not used add nothing.
//
// Beside this file stand alerts.yaml, rules for Prometheus, and dashboard.json, to be
// imported into Grafana. Both name only metrics that are listed here.
//
// The result of an attempt is "success" (also of a failure that a rule
// accepts), or the class of its failure: the HTTP or SMTP status, the IMAP
// status, the kind of network failure (timeout, connect, reset, …) or, where an
// error hides in a reply that says success, the rule that found it. The result
// of a reload, or of a refresh of credentials, is "success" or "failure".
//
// Labels are few: there is no account among them, and no path, message or error's
// text, unless the calling code makes a name of it. Most come from policies. What
// the calling code can set is bounded for each provider, and what is beyond the
// bound, or longer than 128 bytes, is "_other":
//
//   - Names of operations: the first Options.Operations are told apart.
//   - as: beside the engine's labels and those of the policy, the first ten
//     others, as of a call inside this one that another policy gave up.
//   - result: beside "success", rules, statuses (HTTP, SMTP, IMAP) and the kinds
//     of network failure that package rules names, the first ten others that the
//     engine's Classify gives as a kind or as an IMAP status.
//
// What is not UTF-8 in a name is shown as U+FFFD.
package recourseprom
