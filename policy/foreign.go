package policy

import "strings"

// What people write who know other tools, and what to write here.

// foreign is a table of pairs: what to write here, and the words in whose place.
func foreign(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		for word := range strings.FieldsSeq(pairs[i+1]) {
			m[word] = pairs[i]
		}
	}
	return m
}

var foreignActions = foreign(
	"accept, or fail with as: skip", "ignore skip continue",
	"accept", "ok success succeed pass",
	"accept, or fail", "none noop",
	"fail", "abort stop error raise throw give_up giveup fatal",
	"fail with as: permanent, which is the default", "permanent",
	"fail with as: resync", "resync",
	"fail with as: needs_user", "needs_user",
	"fail with as: dead-letter, or another label of your own", "dead_letter",
	"retry, with a `backoff`", "backoff exponential exponential_backoff",
	"wait, with `wait: 5s`", "sleep delay pause",
	"wait", "retry_after throttle rate_limit rate_limited ratelimit",
	"wait, with hold: LIMIT", "hold",
	"wait: a wait that is too long to sit out is handed back", "defer",
	"reauth", "refresh refresh_token login authenticate reauthenticate",
)

const (
	sayTimeout  = "attempt_timeout, at the top of the file, bounds one attempt"
	saySchedule = "backoff: {default: {initial: 1s, max: 64s, attempts: 6}} is a schedule, and `rules` say when"
)

var foreignRuleFields = foreign(
	"a backoff counts attempts: `backoff: {few: {initial: 1s, attempts: 3}}` at the top, and `backoff: few` here",
	"retries retry attempts attempt max_attempts max_attempt max_retries max_tries tries limit",
	"a backoff says how long to wait, or `action: wait` with `wait: 5s`", "delay sleep pause interval backoff_time retry_delay wait_time base_delay",
	"what the server asks for is obeyed as it is; `max_wait` bounds it", "retry_after",
	sayTimeout, "timeout",
	"conditions stand in one expression: when: 'status == 429 and \"rateLimitExceeded\" in codes'",
	`condition if match matches where filter expr predicate status statuses status_code http_codes code codes error message
	 error_message_contains operation operations method`,
	"`action` says what to do", "do then on_match response_action type",
	"`as` is the label of a failure", "label reason kind",
	"`name` names the rule", "id title",
	"a comment says it: # …", "description comment doc source",
	"the first rule that matches wins; last: true puts one after those that are inherited", "priority order",
	"replay: safe, where the server refused before it did anything; operations that are harmless to repeat stand in `idempotent`, at the top of the file",
	"idempotent safe",
	"max_wait bounds what the server asks for; a backoff has a max of its own", "max",
	"`extract` stands at the top of the file", "extract",
)

var foreignBackoffFields = foreign(
	"attempts, the first one included", "max_attempts maximum_attempts max_retries retries max_tries tries steps",
	"initial", "base base_delay delay initial_interval initial_delay initial_backoff interval start",
	"max", "cap max_delay max_interval maximum_interval max_backoff",
	"max, or attempts", "limit",
	"multiplier", "factor backoff_coefficient coefficient exponent rate",
	"elapsed", "max_elapsed_time deadline timeout max_duration total",
	"jitter", "randomization_factor random",
	"a multiplier of 1 is a constant delay; there is no other type", "type strategy",
	"a backoff's name is its key: `backoff: {few: {attempts: 3}}`", "name",
)

var foreignScopes = foreign("key says what a limit is kept by", "account app tenant host ip device operation user global")

var foreignLimitFields = foreign(
	"a limit says rate: 250/s, quota: 15000/1m or concurrency: 10", "requests_per_second rps qps per_second per_minute requests interval period limit max tokens per",
	"concurrency", "max_concurrent max_concurrency parallel max_in_flight",
	"key says what it is kept by, such as account", "by",
	"cost names a table of `costs`", "weight costs units",
	"operations, a list of globs", "operation only",
	"operations: ['!messages.send'] leaves some out", "except exclude",
	"burst", "capacity size bucket",
)

var foreignFileFields = foreign(
	"provider", "name id policy",
	"extends", "extend parent inherits base include includes import imports",
	"match: [{host: api.example.com}]", "host hosts url urls base_url",
	saySchedule, "retry retries retry_policy",
	"limits: [{name: user, key: account, rate: 250/s}]", "rate_limit rate_limits ratelimit limit quota quotas",
	"rules", "rule errors policies error_handler response_filters on_error handlers",
	sayTimeout, "timeout timeouts request_timeout",
	"breaker", "circuit_breaker",
	"budget", "retry_budget",
	"operations", "endpoints routes methods paths",
	"source, which says where it is documented", "docs documentation",
	"a comment says it: # …", "description comment",
	"extract: {retry_after: [{header: X-Retry-In, as: s}]} reads a header of the provider's own", "retry_after headers header",
	"costs: {units: {default: 1}}", "cost",
	"remove", "exclude",
	"override: true stands on a rule", "override",
	"default", "defaults fallback otherwise",
	"tests stand beside the policy, in NAME_test.yaml", "tests cases",
)
