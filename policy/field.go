package policy

import "github.com/recourse-go/recourse/internal/protocol"

// The fields of a policy file, in one table.

// engineLabels are what the engine says of calls that it ends itself. A worker
// acts on each in one way (comes back at the time that is known, tells whoever
// runs it), so no rule about a reply may say them.
var engineLabels = []string{"exhausted", "budget", "deadline", "canceled", "unavailable", "misconfigured"}

// dimensions are what a limit, budget or breaker may be kept by.
var dimensions = []string{"account", "app", "tenant", "host", "ip", "device", "operation"}

var matchObject = &object{
	id: "match", title: "a match",
	doc: "Requests that this policy is for. The longest path wins.",
	fields: []field{
		{name: "host", kind: kindHost, required: true, doc: `Host name, exact or with a leading "*." that stands for one or more labels. With ":port" it must have that port.`},
		{name: "path", kind: kindPath, def: "every path", doc: "Path glob: * within a segment, ** for any number of segments."},
	},
}

// extractorFields are what an extractor reads; the extractors of retry_after also say `as`.
var extractorFields = []field{
	{name: "json", kind: kindJSON, doc: "gjson path into a JSON body, such as error.errors.#.reason."},
	{name: "xml", kind: kindXML, doc: `Text of an XML element by local name, or 'Value[@Name="X"]' by the value of an attribute too. 'Fault/faultcode' names its parent, '/Sync/*/Status' all from the root on.`},
	{name: "xml_name", kind: kindElement, doc: "Local names of an XML element's children."},
	{name: "header", kind: Header, doc: "Value of a response header."},
	{name: "text", kind: kindRegexp, doc: "Regular expression (RE2) over the message, else, of a refusal (never of a 2xx), the first 4 KiB of the body. It yields the first group, or the whole match."},
	{name: "fold", kind: Bool, def: "false", doc: "Lower-case what is found."},
}

var extractorKinds = []string{"json", "xml", "xml_name", "header", "text"}

var extractorObject = &object{
	id: "extractor", title: "an extractor",
	doc:    "Where a fact stands in a response.",
	fields: extractorFields,
	oneOf:  extractorKinds,
}

var hintExtractorObject = &object{
	id: "hint_extractor", title: "an extractor of retry_after",
	doc: "Where the time to come back stands in a response, and how it is written.",
	fields: append(extractorFields[:len(extractorFields):len(extractorFields)],
		field{name: "as", enum: []string{"s", "ms", "duration", "time", "epoch"}, def: "by its form", doc: `How it is written: seconds, milliseconds, "1m30s", a date, or seconds since 1970.`}),
	oneOf: extractorKinds,
}

var extractObject = &object{
	id: "extract", title: "extract",
	doc: "Where this provider keeps the facts of an error. The first extractor that yields something wins.",
	fields: []field{
		{name: "type", many: orList, object: extractorObject, doc: "The error's type: `type` in a rule."},
		{name: "codes", many: orList, object: extractorObject, doc: "The error's codes, `codes` and `code` in a rule: what all extractors yield, in order, without repeats."},
		{name: "message", many: orList, object: extractorObject, doc: "The text for people: `message` in a rule."},
		{name: "retry_after", many: orList, object: hintExtractorObject, doc: "When to come back, if not in a Retry-After header: `retry_after` in a rule."},
		{name: "facts", elem: &field{many: orList, object: extractorObject}, doc: "Facts of the policy's own: `facts.NAME` in a rule."},
	},
}

var inspectObject = &object{
	id: "inspect", title: "an inspect entry",
	doc: "Where a 2xx response can hide an error. Only there is its body read, and then replayed.",
	fields: []field{
		{name: "status", kind: Int, min: 200, max: 299, def: "any 2xx", doc: "HTTP status."},
		{name: "operations", kind: kindGlob, many: orList, def: "every operation", doc: "Operations, as globs."},
		{name: "content_type", kind: kindMedia, def: "any", doc: "Media type, or its beginning."},
		{name: "max", kind: Size, min: 1, max: 1 << 20, def: "64KiB", doc: "How much of the body is read, at most 1MiB."},
	},
}

var operationObject = &object{
	id: "operation", title: "an operation",
	doc: "Names an HTTP request's operation. All conditions given must hold; the first entry that matches wins.",
	fields: []field{
		{name: "operation", kind: Name, required: true, doc: "The name, for rules, costs and limits."},
		{name: "method", kind: Method, def: "any", doc: "HTTP method."},
		{name: "host", kind: kindHost, def: "any", doc: `Host name, exact or with a leading "*.".`},
		{name: "path", kind: kindPath, def: "any", doc: "Path glob: * within a segment, ** for any number of segments."},
		{name: "query", elem: &field{kind: kindGlob}, doc: "Query parameters and globs over their values."},
		{name: "header", elem: &field{kind: kindGlob}, doc: "Request headers and globs over their values."},
		{name: "form", elem: &field{kind: kindGlob}, doc: "Fields of an application/x-www-form-urlencoded body and globs over their values."},
		{name: "token", kind: Bool, def: "false", doc: "It is a request for tokens, such as a refresh: its credentials are not the account's access token."},
	},
}

var backoffObject = &object{
	id: "backoff", title: "a backoff",
	doc: "A schedule of delays: initial·multiplier^(n-1) after the n-th failure, capped at max, then jitter, never below min. It needs attempts or elapsed, so that it ends.",
	fields: []field{
		{name: "initial", kind: Duration, positive: true, def: "1s", doc: "Delay after the first failure, before jitter."},
		{name: "min", kind: Duration, def: "0s", doc: "No delay is shorter, whatever the jitter."},
		{name: "max", kind: Duration, positive: true, def: "64s, or initial where that is longer", doc: "Cap of the delay, before jitter."},
		{name: "multiplier", kind: Float, min: 1, max: 1000, def: "2", doc: "Growth from one delay to the next."},
		{name: "jitter", enum: []string{string(JitterNone), string(JitterEqual), string(JitterFull), string(JitterDecorrelated)}, def: "equal", doc: "How chance spreads the delay d: none = d, equal = d/2 to d, full = 0 to d, decorrelated = min to three times the delay before."},
		{name: "attempts", kind: Int, min: 1, max: 65535, def: "no bound but elapsed", doc: "Attempts in all, the first one included."},
		{name: "elapsed", kind: Duration, positive: true, def: "no bound but attempts", doc: "Time spent trying, looked at from the second retry on. Waits that the server asked for do not count."},
	},
}

var limitObject = &object{
	id: "limit", title: "a limit",
	doc: "A limit of the provider's: a bucket (rate, burst), a quota, a number of requests at once (concurrency), or, with none of these, a gate that only a hold closes.",
	fields: []field{
		{name: "name", kind: Name, required: true, doc: "Unique name; a rule's hold names it."},
		{name: "key", many: orList, required: true, enum: dimensions, doc: "What the limit is kept by."},
		{name: "rate", kind: kindRate, doc: "Units a time, such as 250/s or 100/m."},
		{name: "burst", kind: Int, min: 1, max: 1e15, def: "with rate: one second's units, at least the dearest cost; with quota: 1 % of it, at least the dearest cost (25 % if the cost is bytes)", doc: "Units that can pass at once."},
		{name: "quota", kind: kindQuota, doc: "Never more than this in any window, such as 15000/1m or 150MB/5m."},
		{name: "concurrency", kind: Int, min: 1, max: 1e6, doc: "Requests at once."},
		{name: "cost", kind: Name, def: "1 a request", doc: "The table of costs that a request is charged by; bytes is built in, the request's size."},
		{name: "operations", kind: kindGlob, many: orList, def: "every operation", doc: "Operations that count, as globs."},
		{name: "adapt", enum: []string{"aimd"}, def: "a fixed rate", doc: "aimd: halve the rate when the provider refuses, and raise it step by step."},
	},
	atMostOne: []string{"rate", "quota", "concurrency"},
}

var budgetObject = &object{
	id: "budget", title: "budget",
	doc: "Retries may be at most this share of first attempts. Waits that the server asked for are exempt.",
	fields: []field{
		{name: "ratio", kind: Float, min: 0, max: 1, required: true, doc: "Retries for each first attempt."},
		{name: "min", kind: kindRate, def: "10/s", doc: "Retries that are always allowed."},
		{name: "key", enum: append([]string{"provider"}, dimensions...), def: "provider", doc: "What the budget is kept by."},
	},
}

var breakerObject = &object{
	id: "breaker", title: "breaker",
	doc: "A circuit breaker: after failures in a row, or a share of failures in a window, calls fail at once for a while.",
	fields: []field{
		{name: "key", enum: append([]string{"provider"}, dimensions...), def: "host", doc: "What the breaker is kept by."},
		{name: "failures", kind: Int, min: 1, max: 1e6, doc: "Failures in a row that open it."},
		{name: "ratio", kind: Float, min: 0, max: 1, doc: "Share of failures in the window that opens it."},
		{name: "min", kind: Int, min: 1, max: 1e6, def: "20", doc: "Requests in the window before the share counts."},
		{name: "window", kind: Duration, positive: true, def: "10s", doc: "Window of the share."},
		{name: "open", kind: Duration, positive: true, def: "30s", doc: "How long it stays open before it lets a probe through."},
		{name: "probes", kind: Int, min: 1, max: 1e6, def: "1", doc: "Requests let through while it is half open."},
	},
}

var ruleObject = &object{
	id: "rule", title: "a rule",
	doc: "What to do with the events for which an expression holds. The first rule that matches wins.",
	fields: []field{
		{name: "name", kind: Name, required: true, doc: "Unique name; decisions, metrics and tests show it."},
		{name: "when", kind: kindExpr, required: true, doc: `Expression over the event, such as: status == 429 and "quotaExceeded" in codes.`},
		{name: "action", required: true, enum: []string{"accept", "retry", "wait", "reauth", "fail"}, doc: "accept: no error after all. retry: again after a backoff. wait: again when the server said. reauth: refresh the credentials once, then again. fail: give up."},
		{name: "as", enum: []string{"permanent", "needs_user", "resync", "ambiguous"}, open: true, notAllowed: engineLabels, def: "permanent", doc: "With fail: the kind of failure, or a label of your own."},
		{name: "backoff", kind: Name, def: "default", doc: "With retry and wait: the schedule."},
		{name: "wait", kind: Duration, positive: true, doc: "With wait: a fixed time in place of a schedule."},
		{name: "max_wait", kind: Duration, positive: true, def: "no bound of its own", doc: "With retry and wait: the longest hint that is obeyed."},
		{name: "over", enum: []string{"defer", "fail"}, def: "defer", doc: "With max_wait: what a longer hint does. defer hands back a time to resume at."},
		{name: "hold", kind: Name, many: orList, doc: "Limits that stay closed for this key until the wait is over."},
		{name: "replay", enum: []string{"safe", "gate"}, def: "gate", doc: "safe: the server refused before processing, a repeat cannot do it twice. gate: only what is idempotent is repeated after an unknown outcome."},
		{name: "last", kind: Bool, def: "false", doc: "Comes after the rules of the policies this one extends: a catch-all."},
	},
	atMostOne: []string{"wait", "backoff"},
}

// fileObject is the policy file as a whole.
var fileObject = &object{
	id: "policy", title: "a policy", partial: true,
	doc: "Recourse policy: what to do after a call to a provider fails, and the limits to stay inside.",
	fields: []field{
		{name: "version", kind: Version, required: true, doc: "Version of this file format: 1."},
		{name: "provider", kind: Label, required: true, doc: "Unique name: calls name it, rules see it."},
		{name: "extends", kind: Label, many: orList, doc: "Policies to inherit from, the most general first."},
		{name: "source", doc: "Where the provider documents this."},
		{name: "protocol", enum: protocol.Names(), def: "http", doc: "What the provider speaks."},
		{name: "match", many: orList, object: matchObject, doc: "Lets a transport pick the policy. Not inherited."},
		{name: "extract", object: extractObject, doc: "Where this provider keeps the facts of an error."},
		{name: "inspect", many: orList, object: inspectObject, doc: "2xx bodies are read only where this says that an error can hide in them."},
		{name: "operations", many: orList, object: operationObject, doc: "Names an HTTP request's operation."},
		{name: "idempotent", kind: kindGlob, many: orList, doc: "Operations, as globs, that are harmless to repeat although the method says otherwise."},
		{name: "attempt_timeout", kind: Duration, positive: true, def: "none", doc: "Time until the response's headers; the body may be idle for as long."},
		{name: "backoff", elem: &field{object: backoffObject}, doc: "Named schedules of delays."},
		{name: "costs", elem: &field{elem: &field{kind: Int, min: 0, max: 1e12}}, reserved: BytesCost, doc: "Named tables: quota units by operation, as globs. The key default is required."},
		{name: "limits", many: orList, object: limitObject, doc: "Limits: a call gets all that apply to it, or none."},
		{name: "budget", object: budgetObject, doc: "Bounds retries to a share of first attempts."},
		{name: "breaker", object: breakerObject, doc: "A circuit breaker."},
		{name: "remove", kind: Text, many: orList, doc: "Inherited rules, limits, backoffs, costs, operations and idempotent globs to drop, by name, or by section and name as in limits.minute."},
		{name: "rules", many: list, object: ruleObject, doc: "First match wins."},
		{name: "default", enum: []string{"fail", "retry", "wait"}, doc: `What to do when no rule matches; required, here or in a policy it extends. Its rule is named "default".`},
	},
}

// objects are all objects of a policy file.
var objects = []*object{
	fileObject, matchObject, extractObject, extractorObject, hintExtractorObject, inspectObject,
	operationObject, backoffObject, limitObject, budgetObject, breakerObject, ruleObject,
}
