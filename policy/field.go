package policy

import (
	"bytes"
	"sync"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The fields of a policy file, in one table.

// engineLabels are what the engine says of calls that it ends itself. A worker
// acts on each in one way (comes back at the time that is known, tells whoever
// runs it), so no rule about a reply may say them.
var engineLabels = []string{"exhausted", "budget", "deadline", "canceled", "unavailable", "misconfigured"}

// dimensions are what a limit, budget or breaker may be kept by.
var dimensions = []string{"account", "app", "tenant", "host", "ip", "device", "operation"}

var matchObject = &yamlfile.Object{
	ID: "match", Title: "a match", Example: "{host: api.example.com, path: /v1/**}",
	Doc: "Requests that this policy is for. The longest path wins.",
	Fields: []yamlfile.Field{
		{Name: "host", Kind: kindHost, Required: true, Doc: `Host name, exact or with a leading "*." that stands for one or more labels. With ":port" it must have that port.`},
		{Name: "path", Kind: kindPath, Default: "every path", Doc: "Path glob: * within a segment, ** for any number of segments."},
	},
}

// extractorFields are what an extractor reads; the extractors of retry_after also say `as`.
var extractorFields = append(formFields(),
	yamlfile.Field{Name: "match", Kind: extract.Pattern, Default: "all of it", Doc: "With anything but text: a regular expression (RE2) over what is found. It yields the first group, or the whole match."},
	yamlfile.Field{Name: "when", Kind: kindWhen, Default: "always", Doc: `Expression over status, header("NAME"), method and operation: only where it holds is this looked at.`},
	yamlfile.Field{Name: "fold", Kind: yamlfile.Bool, Default: "false", Doc: "Lower-case what is found."},
)

// formFields are the forms of extractors, of which each says one.
func formFields() (fields []yamlfile.Field) {
	for _, form := range extract.Forms {
		fields = append(fields, form.Field)
	}
	return fields
}

// extractorFacts are what an extractor's condition may read: what is known before
// anything has been extracted.
var extractorFacts = []string{"status", "header", "method", "operation"}

var extractorObject = &yamlfile.Object{
	ID: "extractor", Title: "an extractor", Example: "{json: error.code}",
	Doc:    "Where a fact stands in a response.",
	Fields: extractorFields,
	OneOf:  extract.Names(),
}

var hintExtractorObject = &yamlfile.Object{
	ID: "hint_extractor", Title: "an extractor of retry_after", Example: "{header: X-Retry-In, as: s}",
	Doc:    "Where the time to come back stands in a response, and how it is written.",
	Fields: append(extractorFields[:len(extractorFields):len(extractorFields)], asField),
	OneOf:  extract.Names(),
}

// asField says how a time is written.
var asField = yamlfile.Field{
	Name: "as", Enum: []string{"s", "ms", "duration", "time", "epoch"}, Default: "by its form", Doc: `How it is written: seconds, milliseconds, "1m30s", a date, or seconds since 1970.`,
}

var extractObject = &yamlfile.Object{
	ID: "extract", Title: "extract",
	Doc: "Where this provider keeps the facts of an error. The first extractor that yields something wins.",
	Fields: []yamlfile.Field{
		{Name: "type", Many: yamlfile.OrList, Object: extractorObject, Doc: "The error's type: `type` in a rule."},
		{Name: "codes", Many: yamlfile.OrList, Object: extractorObject, Doc: "The error's codes, `codes` and `code` in a rule: what all extractors yield, in order, without repeats."},
		{Name: "message", Many: yamlfile.OrList, Object: extractorObject, Doc: "The text for people: `message` in a rule."},
		{Name: "retry_after", Many: yamlfile.OrList, Object: hintExtractorObject, Doc: "When to come back, if not in a Retry-After header: `retry_after` in a rule."},
		{Name: "facts", Elem: &yamlfile.Field{Many: yamlfile.OrList, Object: extractorObject}, Doc: "Facts of the policy's own: `facts.NAME` in a rule."},
	},
}

var inspectObject = &yamlfile.Object{
	ID: "inspect", Title: "an inspect entry", Example: "{status: 200, operations: [batch]}",
	Doc: "Where a 2xx response can hide an error. Only there is its body read, and then replayed.",
	Fields: []yamlfile.Field{
		{Name: "status", Kind: yamlfile.Int, Min: 200, Max: 299, Default: "any 2xx", Doc: "HTTP status."},
		{Name: "operations", Kind: kindOperation, Many: yamlfile.OrList, Default: "every operation", Doc: "Operations, as globs."},
		{Name: "content_type", Kind: kindMedia, Default: "any", Doc: "Media type, or its beginning."},
		{Name: "max", Kind: yamlfile.Size, Min: 1, Max: 1 << 20, Default: "64KiB", Doc: "How much of the body is read, at most 1MiB."},
	},
}

var operationObject = &yamlfile.Object{
	ID: "operation", Title: "an operation", Example: "{method: GET, path: /v1/messages/*, operation: messages.get}",
	Doc: "Names an HTTP request's operation. All conditions given must hold; the first entry that matches wins.",
	Fields: []yamlfile.Field{
		{Name: "operation", Kind: yamlfile.Name, Required: true, Doc: "The name, for rules, costs and limits."},
		{Name: "method", Kind: yamlfile.Method, Default: "any", Doc: "HTTP method."},
		{Name: "host", Kind: kindHost, Default: "any", Doc: `Host name, exact or with a leading "*.".`},
		{Name: "path", Kind: kindOperationPath, Default: "any", Doc: "Path glob: * within a segment, ** for any number of segments, {name} for a segment that rules read as facts.name, and that limits may count by."},
		{Name: "query", Elem: &yamlfile.Field{Kind: kindGlob}, Doc: "Query parameters and globs over their values."},
		{Name: "header", Elem: &yamlfile.Field{Kind: kindGlob}, Doc: "Request headers and globs over their values."},
		{Name: "form", Elem: &yamlfile.Field{Kind: kindGlob}, Doc: "Fields of an application/x-www-form-urlencoded body and globs over their values."},
		{Name: "token", Kind: yamlfile.Bool, Default: "false", Doc: "It is a request for tokens, such as a refresh: its credentials are not the account's access token."},
	},
}

var backoffObject = &yamlfile.Object{
	ID: "backoff", Title: "a backoff", Example: "{initial: 1s, max: 64s, attempts: 6}", Foreign: foreignBackoffFields,
	Doc: "A schedule of delays: initial·multiplier^(n-1) after the n-th failure, capped at max, then jitter, never below min. It needs attempts or elapsed, so that it ends.",
	Fields: []yamlfile.Field{
		{Name: "initial", Kind: yamlfile.Duration, Positive: true, Default: "1s", Doc: "Delay after the first failure, before jitter."},
		{Name: "min", Kind: yamlfile.Duration, Default: "0s", Doc: "No delay is shorter, whatever the jitter."},
		{Name: "max", Kind: yamlfile.Duration, Positive: true, Default: "64s, or initial where that is longer", Doc: "Cap of the delay, before jitter."},
		{Name: "multiplier", Kind: yamlfile.Float, Min: 1, Max: 1000, Default: "2", Doc: "Growth from one delay to the next."},
		{Name: "jitter", Kind: kindJitter, Default: "equal", Doc: "How chance spreads the delay d: none = d, equal = d/2 to d, full = 0 to d, decorrelated = min to three times the delay before, +1s = d to d + 1s, 25% = a quarter less to a quarter more."},
		{Name: "attempts", Kind: yamlfile.Int, Min: 1, Max: 65535, Default: "no bound but elapsed", Doc: "Attempts in all, the first one included."},
		{Name: "elapsed", Kind: yamlfile.Duration, Positive: true, Default: "no bound but attempts", Doc: "Time spent trying, looked at from the second retry on. Waits that the server asked for do not count."},
	},
}

var budgetObject = &yamlfile.Object{
	ID: "budget", Title: "budget", Example: "{ratio: 0.2, min: 10/s}",
	Doc: "Retries may be at most this share of first attempts. Waits that the server asked for are exempt.",
	Fields: []yamlfile.Field{
		{Name: "ratio", Kind: yamlfile.Float, Min: 0, Max: 1, Required: true, Doc: "Retries for each first attempt."},
		{Name: "min", Kind: kindRate, Default: "10/s", Doc: "Retries that are always allowed."},
		{Name: "key", Enum: append([]string{"provider"}, dimensions...), Default: "provider", Doc: "What the budget is kept by."},
	},
}

var breakerObject = &yamlfile.Object{
	ID: "breaker", Title: "breaker", Example: "{failures: 5, open: 30s}",
	Doc: "A circuit breaker: after failures in a row, or a share of failures in a window, calls fail at once for a while.",
	Fields: []yamlfile.Field{
		{Name: "key", Enum: append([]string{"provider"}, dimensions...), Default: "host", Doc: "What the breaker is kept by."},
		{Name: "failures", Kind: yamlfile.Int, Min: 1, Max: 1e6, Doc: "Failures in a row that open it."},
		{Name: "ratio", Kind: yamlfile.Float, Min: 0, Max: 1, Doc: "Share of failures in the window that opens it."},
		{Name: "min", Kind: yamlfile.Int, Min: 1, Max: 1e6, Default: "20", Doc: "Requests in the window before the share counts."},
		{Name: "window", Kind: yamlfile.Duration, Positive: true, Default: "10s", Doc: "Window of the share."},
		{Name: "open", Kind: yamlfile.Duration, Positive: true, Default: "30s", Doc: "How long it stays open before it lets a probe through."},
		{Name: "probes", Kind: yamlfile.Int, Min: 1, Max: 1e6, Default: "1", Doc: "Requests let through while it is half open."},
	},
}

var holdObject = &yamlfile.Object{
	ID: "hold", Title: "a hold",
	Doc: "A limit that is closed for the call's key, for everyone who uses that.",
	Fields: []yamlfile.Field{
		{Name: "limit", Kind: yamlfile.Name, Required: true, Doc: "The limit's name."},
		{Name: "for", Kind: yamlfile.Duration, Positive: true, Default: "until the wait is over", Doc: "How long it stays closed, at least; longer where the server asks for that."},
		{Name: "until", Object: untilObject, Default: "until the wait is over", Doc: "The time of day at which it opens again, and up to five minutes later by chance; later where the server asks for that."},
	},
	AtMostOne: []string{"for", "until"},
	Short:     "limit",
}

var untilObject = &yamlfile.Object{
	ID: "until", Title: "until",
	Doc: "A time that comes every day, such as that at which a provider's quota of the day begins anew.",
	Fields: []yamlfile.Field{
		{Name: "daily", Kind: kindDaily, Required: true, Doc: `The time of day, such as "00:00".`},
		{Name: "zone", Kind: kindZone, Default: "UTC", Doc: "The time zone that it is in, by its IANA name, such as America/Los_Angeles."},
	},
}

var ruleObject = &yamlfile.Object{
	ID: "rule", Title: "a rule", Example: "{name: gone, when: status == 404, action: fail}",
	Doc: "What to do with the events for which an expression holds. The first rule that matches wins.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Name, Required: true, Doc: "Unique name; decisions, metrics and tests show it."},
		{Name: "when", Kind: kindExpr, Required: true, Doc: `Expression over the event, such as: status == 429 and "quotaExceeded" in codes.`},
		{Name: "action", Required: true, Enum: Actions(), Foreign: foreignActions, Doc: actionDocs()},
		{Name: "as", Enum: []string{"permanent", "needs_user", "resync", "ambiguous"}, Open: true, NotAllowed: engineLabels, Default: "permanent", Doc: "With fail: the kind of failure, or a label of your own."},
		{Name: "backoff", Kind: yamlfile.Name, Default: "default", Doc: "With retry and wait: the schedule."},
		{Name: "wait", Kind: yamlfile.Duration, Positive: true, Doc: "With wait: a fixed time in place of a schedule."},
		{Name: "hint", Enum: hintNames[:], Default: "floor", Doc: "What a time that the server asks for does. floor: the schedule's delay, and never less than was asked for. exact: what was asked for, and the schedule only without it. ignore: nothing."},
		{Name: "max_wait", Kind: yamlfile.Duration, Positive: true, Default: "no bound of its own", Doc: "With retry and wait: the longest hint that is obeyed."},
		{Name: "over", Enum: overNames[:], Default: "defer", Doc: "With max_wait: what a longer hint does. defer hands back a time to resume at, fail gives up, ignore goes on as if there were no hint."},
		{Name: "hold", Object: holdObject, Many: yamlfile.OrList, Doc: "Limits that stay closed for this key: until the wait is over, or for as long as is said."},
		{Name: "replay", Enum: []string{"safe", "gate"}, Default: "gate", Doc: "safe: the server refused before processing, a repeat cannot do it twice. gate: only what is idempotent is repeated after an unknown outcome."},
		{Name: "override", Kind: yamlfile.Bool, Default: "false", Doc: "Takes the place of the inherited rule of this name, also for events that only that one was for. Without it, check warns of those."},
		{Name: "last", Kind: yamlfile.Bool, Default: "false", Doc: "Comes after the rules of the policies this one extends: a catch-all."},
	},
	AtMostOne: []string{"wait", "backoff"}, Foreign: foreignRuleFields,
}

// fileObject is the policy file as a whole.
var fileObject = &yamlfile.Object{
	ID: "policy", Title: "a policy", Example: "`version: 1`, `provider: acme` and `extends: [http]`, each on a line of its own", Foreign: foreignFileFields, Partial: true, AnyOf: []string{"default", "extends"},
	Doc: "Recourse policy: what to do after a call to a provider fails, and the limits to stay inside.",
	Fields: []yamlfile.Field{
		{Name: "version", Kind: yamlfile.Version, Required: true, Doc: "Version of this file format: 1."},
		{Name: "provider", Kind: yamlfile.Label, Required: true, Doc: "Unique name: calls name it, rules see it."},
		{Name: "extends", Kind: yamlfile.Label, Many: yamlfile.OrList, Doc: "Policies to inherit from, the most general first."},
		{Name: "source", Doc: "Where the provider documents this."},
		{Name: "protocol", Enum: protocol.Names(), Default: "http", Doc: "What the provider speaks."},
		{Name: "match", Many: yamlfile.OrList, Object: matchObject, Doc: "Lets a transport pick the policy. Not inherited."},
		{Name: "extract", Object: extractObject, Doc: "Where this provider keeps the facts of an error."},
		{Name: "inspect", Many: yamlfile.OrList, Object: inspectObject, Doc: "2xx bodies are read only where this says that an error can hide in them."},
		{Name: "operations", Many: yamlfile.OrList, Object: operationObject, Doc: "Names an HTTP request's operation."},
		{Name: "idempotent", Kind: kindOperation, Many: yamlfile.OrList, Doc: "Operations, as globs, that are harmless to repeat although the method says otherwise."},
		{Name: "attempt_timeout", Kind: yamlfile.Duration, Positive: true, Default: "none", Doc: "Time until the response's headers; the body may be idle for as long."},
		{Name: "backoff", Elem: &yamlfile.Field{Object: backoffObject}, Doc: "Named schedules of delays."},
		{Name: "costs", Elem: &yamlfile.Field{Elem: &yamlfile.Field{Kind: yamlfile.Int, Min: 0, Max: 1e12}}, Reserved: BytesCost, Doc: "Named tables: quota units by operation, as globs. The key default is required."},
		{Name: "limits", Many: yamlfile.OrList, Object: limitObject, Doc: "Limits: a call gets all that apply to it, or none."},
		{Name: "budget", Object: budgetObject, Doc: "Bounds retries to a share of first attempts."},
		{Name: "breaker", Object: breakerObject, Doc: "A circuit breaker."},
		{Name: "remove", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "Inherited rules, limits, backoffs, costs, operations and idempotent globs to drop, by name, or by section and name as in limits.minute."},
		{Name: "rules", Many: yamlfile.List, Object: ruleObject, Doc: "First match wins."},
		{Name: "default", Enum: []string{"fail", "retry", "wait"}, Doc: `What to do when no rule matches; required, here or in a policy it extends. Its rule is named "default".`},
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
