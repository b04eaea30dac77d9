package policy

import (
	"bytes"
	"sync"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The table of all fields of a policy file. The decoder checks files against it, and the schema
// is rendered from it.

// engineLabels are the labels of calls that the engine itself ends. A worker acts on each in one
// way: it comes back at a known time, or tells whoever runs it. So no rule may give these labels
// to a reply.
var engineLabels = []string{"exhausted", "budget", "deadline", "canceled", "unavailable", "misconfigured"}

// dimensions are the keys of limits, budgets and breakers, apart from facts.
var dimensions = []string{"account", "app", "tenant", "host", "ip", "device", "operation"}

var matchObject = &yamlfile.Object{
	ID: "match", Title: "a match", Example: "{host: api.example.com, path: /v1/**}",
	Doc: "The requests that this policy is for. If several policies match a request, the longest path wins.",
	Fields: []yamlfile.Field{
		{Name: "host", Kind: kindHost, Required: true, Doc: `Host name, either exact or with a leading "*." that stands for one or more labels. If it ends in ":port", only requests to that port match.`},
		{Name: "path", Kind: kindPath, Default: "every path", Doc: "Path glob: * stands for any text within a segment, ** for any number of segments."},
	},
}

// extractorFields are the fields of an extractor. The extractors of retry_after also have `as`.
var extractorFields = append(formFields(),
	yamlfile.Field{Name: "match", Kind: extract.Pattern, Default: "all of it", Doc: "A regular expression (RE2) that is applied to the value found. The result is its first group, or the whole match if it has no group. Not allowed with `text`, which is a regular expression already."},
	yamlfile.Field{Name: "when", Kind: kindWhen, Default: "always", Doc: `Expression over status, header("NAME"), method and operation. The extractor is used only if it is true.`},
	yamlfile.Field{Name: "fold", Kind: yamlfile.Bool, Default: "false", Doc: "Whether the value found is turned into lower case."},
)

// formFields returns the fields of which an extractor has exactly one: what to read.
func formFields() (fields []yamlfile.Field) {
	for _, form := range extract.Forms {
		fields = append(fields, form.Field)
	}
	return fields
}

// extractorFacts are the facts that an extractor's condition may read: those that are known
// before anything has been extracted.
var extractorFacts = []string{"status", "header", "method", "operation"}

var extractorObject = &yamlfile.Object{
	ID: "extractor", Title: "an extractor", Example: "{json: error.code}",
	Doc:    "Where a response has a fact. An extractor says one place.",
	Fields: extractorFields,
	OneOf:  extract.Names(),
}

var hintExtractorObject = &yamlfile.Object{
	ID: "hint_extractor", Title: "an extractor of retry_after", Example: "{header: X-Retry-In, as: s}",
	Doc:    "Where a response says when to come back, and in which format.",
	Fields: append(extractorFields[:len(extractorFields):len(extractorFields)], asField),
	OneOf:  extract.Names(),
}

// asField says which format a time has.
var asField = yamlfile.Field{
	Name: "as", Enum: []string{"s", "ms", "duration", "time", "epoch"}, Default: "by its form", Doc: `The format of the time. s: seconds. ms: milliseconds. duration: such as "1m30s". time: a date. epoch: seconds since 1970.`,
}

var extractObject = &yamlfile.Object{
	ID: "extract", Title: "extract",
	Doc: "Where this provider's responses have the facts of an error. Each fact has a list of extractors, and the first one that finds a value wins.",
	Fields: []yamlfile.Field{
		{Name: "type", Many: yamlfile.OrList, Object: extractorObject, Doc: "The error's type. Rules read it as `type`."},
		{Name: "codes", Many: yamlfile.OrList, Object: extractorObject, Doc: "The error's codes: the values that all extractors find, in order and without repeats. Rules read them as `codes`, and the first as `code`."},
		{Name: "message", Many: yamlfile.OrList, Object: extractorObject, Doc: "The error's text for people. Rules read it as `message`."},
		{Name: "retry_after", Many: yamlfile.OrList, Object: hintExtractorObject, Doc: "When to come back, if the response does not say it in a Retry-After header. Rules read it as `retry_after`."},
		{Name: "facts", Elem: &yamlfile.Field{Many: yamlfile.OrList, Object: extractorObject}, Doc: "Further facts, by names of your own. Rules read each as `facts.NAME`."},
	},
}

var inspectObject = &yamlfile.Object{
	ID: "inspect", Title: "an inspect entry", Example: "{status: 200, operations: [batch]}",
	Doc: "Which 2xx responses can hide an error in the body. Only their bodies are read; the caller still gets the whole body.",
	Fields: []yamlfile.Field{
		{Name: "status", Kind: yamlfile.Int, Min: 200, Max: 299, Default: "any 2xx", Doc: "The response's HTTP status."},
		{Name: "operations", Kind: kindOperation, Many: yamlfile.OrList, Default: "every operation", Doc: "Globs over the names of operations."},
		{Name: "content_type", Kind: kindMedia, Default: "any", Doc: "The response's media type, or the beginning of it."},
		{Name: "max", Kind: yamlfile.Size, Min: 1, Max: 1 << 20, Default: "64KiB", Doc: "The most bytes of the body that are read, up to 1MiB."},
	},
}

var operationObject = &yamlfile.Object{
	ID: "operation", Title: "an operation", Example: "{method: GET, path: /v1/messages/*, operation: messages.get}",
	Doc: "Gives a name to the operation of an HTTP request. A request matches an entry if it meets all conditions of the entry. The first entry that matches wins.",
	Fields: []yamlfile.Field{
		{Name: "operation", Kind: yamlfile.Name, Required: true, Doc: "The name of the operation, which rules, costs and limits refer to."},
		{Name: "method", Kind: yamlfile.Method, Default: "any", Doc: "The request's HTTP method."},
		{Name: "host", Kind: kindHost, Default: "any", Doc: `The request's host name, either exact or with a leading "*.".`},
		{Name: "path", Kind: kindOperationPath, Default: "any", Doc: "Path glob: * stands for any text within a segment, ** for any number of segments. {name} stands for one segment, which rules read as facts.name and which a limit may have as a key."},
		{Name: "query", Elem: &yamlfile.Field{Kind: kindGlob}, Doc: "Query parameters, each with a glob that its value must match."},
		{Name: "header", Elem: &yamlfile.Field{Kind: kindGlob}, Doc: "Request headers, each with a glob that its value must match."},
		{Name: "form", Elem: &yamlfile.Field{Kind: kindGlob}, Doc: "Fields of an application/x-www-form-urlencoded body, each with a glob that its value must match."},
		{Name: "token", Kind: yamlfile.Bool, Default: "false", Doc: "Whether the operation requests tokens, as a refresh does. Such a request is not sent with the account's access token."},
	},
}

var backoffObject = &yamlfile.Object{
	ID: "backoff", Title: "a backoff", Example: "{initial: 1s, max: 64s, attempts: 6}", Foreign: foreignBackoffFields,
	Doc: "A schedule of delays. The delay after the n-th failure is initial·multiplier^(n-1), but at most max; then jitter is applied, and the result is at least min. A backoff needs attempts or elapsed, so that it ends.",
	Fields: []yamlfile.Field{
		{Name: "initial", Kind: yamlfile.Duration, Positive: true, Default: "1s", Doc: "The delay after the first failure, before jitter."},
		{Name: "min", Kind: yamlfile.Duration, Default: "0s", Doc: "The shortest delay, after jitter."},
		{Name: "max", Kind: yamlfile.Duration, Positive: true, Default: "64s, or initial where that is longer", Doc: "The longest delay, before jitter."},
		{Name: "multiplier", Kind: yamlfile.Float, Min: 1, Max: 1000, Default: "2", Doc: "The factor by which each delay is longer than the one before."},
		{Name: "jitter", Kind: kindJitter, Default: "equal", Doc: "How the delay d is made random. none: d. equal: d/2 to d. full: 0 to d. decorrelated: min to three times the delay before. +1s: d to d + 1s. 25%: a quarter less than d to a quarter more."},
		{Name: "attempts", Kind: yamlfile.Int, Min: 1, Max: 65535, Default: "no bound but elapsed", Doc: "The most attempts, including the first."},
		{Name: "elapsed", Kind: yamlfile.Duration, Positive: true, Default: "no bound but attempts", Doc: "The longest time since the first attempt, which is checked from the second retry on. Waits that the server asked for do not count."},
	},
}

var budgetObject = &yamlfile.Object{
	ID: "budget", Title: "budget", Example: "{ratio: 0.2, min: 10/s}",
	Doc: "Limits retries to a share of first attempts. Retries after a wait that the server asked for are exempt.",
	Fields: []yamlfile.Field{
		{Name: "ratio", Kind: yamlfile.Float, Min: 0, Max: 1, Required: true, Doc: "How many retries each first attempt allows."},
		{Name: "min", Kind: kindRate, Default: "10/s", Doc: "The rate of retries that is always allowed."},
		{Name: "key", Enum: append([]string{"provider"}, dimensions...), Default: "provider", Doc: "What has a budget of its own: the whole provider, or each account, host and so on."},
	},
}

var breakerObject = &yamlfile.Object{
	ID: "breaker", Title: "breaker", Example: "{failures: 5, open: 30s}",
	Doc: "A circuit breaker. It opens after a number of failures in a row, or a share of failures in a window. While it is open, calls fail at once.",
	Fields: []yamlfile.Field{
		{Name: "key", Enum: append([]string{"provider"}, dimensions...), Default: "host", Doc: "What has a breaker of its own: each host, each account and so on, or the whole provider."},
		{Name: "failures", Kind: yamlfile.Int, Min: 1, Max: 1e6, Doc: "How many failures in a row open the breaker."},
		{Name: "ratio", Kind: yamlfile.Float, Min: 0, Max: 1, Doc: "Which share of failures in the window opens the breaker."},
		{Name: "min", Kind: yamlfile.Int, Min: 1, Max: 1e6, Default: "20", Doc: "How many requests the window must have before the share counts."},
		{Name: "window", Kind: yamlfile.Duration, Positive: true, Default: "10s", Doc: "The length of the window in which the share is counted."},
		{Name: "open", Kind: yamlfile.Duration, Positive: true, Default: "30s", Doc: "How long the breaker stays open before it lets probes through."},
		{Name: "probes", Kind: yamlfile.Int, Min: 1, Max: 1e6, Default: "1", Doc: "How many requests the breaker lets through as probes, after it was open."},
	},
}

var holdObject = &yamlfile.Object{
	ID: "hold", Title: "a hold",
	Doc: "Closes a limit for the call's key, for all calls that have the same key.",
	Fields: []yamlfile.Field{
		{Name: "limit", Kind: yamlfile.Name, Required: true, Doc: "The name of the limit."},
		{Name: "for", Kind: yamlfile.Duration, Positive: true, Default: "until the wait is over", Doc: "The shortest time that the limit stays closed. It is longer if the server asks for more."},
		{Name: "until", Object: untilObject, Default: "until the wait is over", Doc: "The time of day at which the limit opens again, plus a random time of up to five minutes. It opens later if the server asks for that."},
	},
	AtMostOne: []string{"for", "until"},
	Short:     "limit",
}

var untilObject = &yamlfile.Object{
	ID: "until", Title: "until",
	Doc: "A time of day, such as the one at which a provider resets a daily quota.",
	Fields: []yamlfile.Field{
		{Name: "daily", Kind: kindDaily, Required: true, Doc: `The time of day, such as "00:00".`},
		{Name: "zone", Kind: kindZone, Default: "UTC", Doc: "The time zone of the time of day, by its IANA name, such as America/Los_Angeles."},
	},
}

var ruleObject = &yamlfile.Object{
	ID: "rule", Title: "a rule", Example: "{name: gone, when: status == 404, action: fail}",
	Doc: "What to do with an event for which an expression is true. The first rule that matches wins.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Name, Required: true, Doc: "A unique name, which decisions, metrics and tests show."},
		{Name: "when", Kind: kindExpr, Required: true, Doc: `Expression over the facts of the event, such as: status == 429 and "quotaExceeded" in codes.`},
		{Name: "action", Required: true, Enum: Actions(), Foreign: foreignActions, Doc: actionDocs()},
		{Name: "as", Enum: []string{"permanent", "needs_user", "resync", "ambiguous"}, Open: true, NotAllowed: engineLabels, Default: "permanent", Doc: "With the action fail: the kind of failure, or a label of your own."},
		{Name: "backoff", Kind: yamlfile.Name, Default: "default", Doc: "With the actions retry and wait: the name of the backoff that gives the delay."},
		{Name: "wait", Kind: yamlfile.Duration, Positive: true, Doc: "With the action wait: a fixed delay instead of a backoff."},
		{Name: "hint", Enum: hintNames[:], Default: "floor", Doc: "How the rule uses a hint, which is the time that the server asks for. floor: wait for the backoff's delay, but at least for the hint. exact: wait for the hint, and use the backoff only if there is none. ignore: do not use it."},
		{Name: "max_wait", Kind: yamlfile.Duration, Positive: true, Default: "no bound of its own", Doc: "With the actions retry and wait: the longest hint that is obeyed."},
		{Name: "over", Enum: overNames[:], Default: "defer", Doc: "With max_wait: what to do if the hint is longer. defer: hand the call back with the time to resume it. fail: give up. ignore: go on as if there were no hint."},
		{Name: "hold", Object: holdObject, Many: yamlfile.OrList, Doc: "The limits that are closed for the call's key, until the wait is over or for the time given."},
		{Name: "replay", Enum: []string{"safe", "gate"}, Default: "gate", Doc: "Whether a repeat may do the work twice. safe: it cannot, since the server refused the request before it processed it. gate: it may, so after an unknown outcome only what is idempotent is repeated."},
		{Name: "override", Kind: yamlfile.Bool, Default: "false", Doc: "Says that this rule is meant to replace the inherited rule of the same name, even if it does not match all events that the inherited rule matches. Without it, `check` warns about such events."},
		{Name: "last", Kind: yamlfile.Bool, Default: "false", Doc: "Whether the rule comes after the inherited rules instead of before them."},
	},
	AtMostOne: []string{"wait", "backoff"}, Foreign: foreignRuleFields,
}

// fileObject is the policy file as a whole.
var fileObject = &yamlfile.Object{
	ID: "policy", Title: "a policy", Example: "`version: 1`, `provider: acme` and `extends: [http]`, each on a line of its own", Foreign: foreignFileFields, Partial: true, AnyOf: []string{"default", "extends"},
	Doc: "A policy of Recourse: what to do after a call to a provider fails, and which limits to keep.",
	Fields: []yamlfile.Field{
		{Name: "version", Kind: yamlfile.Version, Required: true, Doc: "The version of this file format, which is 1."},
		{Name: "provider", Kind: yamlfile.Label, Required: true, Doc: "A unique name, by which calls refer to the policy and which rules read as `provider`."},
		{Name: "extends", Kind: yamlfile.Label, Many: yamlfile.OrList, Doc: "The policies to inherit from, the most general first."},
		{Name: "source", Doc: "Where the provider documents its errors and limits."},
		{Name: "protocol", Enum: protocol.Names(), Default: "http", Doc: "The protocol that the provider speaks."},
		{Name: "match", Many: yamlfile.OrList, Object: matchObject, Doc: "The requests for which a transport picks this policy. It is not inherited."},
		{Name: "extract", Object: extractObject, Doc: "Where this provider's responses have the facts of an error."},
		{Name: "inspect", Many: yamlfile.OrList, Object: inspectObject, Doc: "Which 2xx responses can hide an error in the body. No other 2xx bodies are read."},
		{Name: "operations", Many: yamlfile.OrList, Object: operationObject, Doc: "Gives names to the operations of HTTP requests."},
		{Name: "idempotent", Kind: kindOperation, Many: yamlfile.OrList, Doc: "Globs over the names of operations that are harmless to repeat although their HTTP method is not idempotent."},
		{Name: "attempt_timeout", Kind: yamlfile.Duration, Positive: true, Default: "none", Doc: "The longest time from the start of an attempt to the response's headers, and the longest pause while the body is read."},
		{Name: "backoff", Elem: &yamlfile.Field{Object: backoffObject}, Doc: "Schedules of delays, by name."},
		{Name: "costs", Elem: &yamlfile.Field{Elem: &yamlfile.Field{Kind: yamlfile.Int, Min: 0, Max: 1e12}}, Reserved: BytesCost, Doc: "Tables of costs, by name. Each table gives the units that an operation costs, by globs over names of operations. The key default is required."},
		{Name: "limits", Many: yamlfile.OrList, Object: limitObject, Doc: "The limits. A call waits until all that apply to it let it through, and takes from all of them at once."},
		{Name: "budget", Object: budgetObject, Doc: "Limits retries to a share of first attempts."},
		{Name: "breaker", Object: breakerObject, Doc: "A circuit breaker."},
		{Name: "remove", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "The inherited rules, limits, backoffs, costs, operations and idempotent globs to drop: each by its name, or by its section and name, as in limits.minute."},
		{Name: "rules", Many: yamlfile.List, Object: ruleObject, Doc: "The rules, in order. The first rule that matches wins."},
		{Name: "default", Enum: []string{"fail", "retry", "wait"}, Doc: `What to do if no rule matches. It is required, here or in a policy that this one extends. Decisions show it as the rule "default".`},
	},
}

// objects are all objects of a policy file.
var objects = []*yamlfile.Object{
	fileObject, matchObject, extractObject, extractorObject, hintExtractorObject, inspectObject,
	operationObject, backoffObject, limitObject, learnObject, learnNumberObject, learnTimeObject, budgetObject, breakerObject, ruleObject, holdObject, untilObject,
}

// Schema is the JSON Schema (draft 2020-12) of a policy file, rendered from
// the table that the decoder checks files against. policy.schema.json is a copy
// for editors. It says what a single file may hold. Load checks more than a schema can
// say: names, numbers that must fit together, expressions.
func Schema() []byte { return bytes.Clone(schema()) }

var schema = sync.OnceValue(func() []byte {
	return yamlfile.RenderSchema("Recourse policy", "policy/field.go", objects)
})
