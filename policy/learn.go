package policy

import (
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// learnFields are what the extractors of a `learn` read: headers only, since the body
// of a success is left alone.
var learnFields = []yamlfile.Field{
	{Name: "header", Kind: yamlfile.Header, Required: true, Doc: "The name of a response header, whose value is read."},
	{Name: "match", Kind: extract.Pattern, Default: "all of it", Doc: "A regular expression (RE2) that is applied to the value found. The result is its first group, or the whole match if it has no group."},
	{Name: "when", Kind: kindWhen, Default: "always", Doc: `Expression over status, header("NAME"), method and operation. The extractor is used only if it is true.`},
}

var learnNumberObject = &yamlfile.Object{
	ID: "learn_number", Title: "an extractor of a number", Example: "{header: X-RateLimit-Remaining}",
	Doc: "The response header that has a number.", Fields: learnFields,
}

var learnTimeObject = &yamlfile.Object{
	ID: "learn_time", Title: "an extractor of a time", Example: "{header: X-RateLimit-Reset, as: epoch}",
	Doc:    "The response header that has a time, and the format of the time.",
	Fields: append(learnFields[:len(learnFields):len(learnFields)], asField),
}

var learnObject = &yamlfile.Object{
	ID: "learn", Title: "learn", Example: "{remaining: {header: X-RateLimit-Remaining}, reset: {header: X-RateLimit-Reset, as: epoch}}",
	Doc: "Which response headers tell how much of the limit is left. They can only lower what the limit lets through.",
	Fields: []yamlfile.Field{
		{Name: "remaining", Object: learnNumberObject, Many: yamlfile.OrList, Required: true, Doc: "How much of the limit is left. The first extractor that finds a number wins."},
		{Name: "reset", Object: learnTimeObject, Many: yamlfile.OrList, Default: "with rate, what is left grows at that rate; with quota, it lasts for a whole window", Doc: "When the limit is reset. A time that has passed or is more than 7 days away is ignored, and so is the rest of that response."},
		{Name: "limit", Object: learnNumberObject, Many: yamlfile.OrList, Default: "the limit's own number", Doc: "With quota: the whole quota. It can lower the quota of the key, but never raises it."},
		{Name: "when", Kind: kindWhen, Default: "always", Doc: `Expression over status, header("NAME"), method and operation. Only a response for which it is true tells about this limit.`},
		{Name: "unit", Kind: yamlfile.Int, Min: 1, Max: 1e9, Default: "1", Doc: "How many units of the limit one of the header's units is, for a header that counts requests and a limit that counts costs."},
	},
}

// learn reads what a limit learns; nil = nothing.
func (c *compiler) learn(v *yamlfile.Value) *extract.Learn {
	from := v.Child("learn")
	if from == nil || from.Bad {
		return nil
	}
	if limit := from.Child("limit"); limit != nil && v.ByName["quota"] == nil && v.ByName["rate"] != nil {
		c.err(limit.KeySpan(), "misplaced-field", "a rate is not lowered by a number; `remaining` bounds it", "%q has no meaning without quota", "limit")
	}
	if c.p.Protocol != protocol.HTTP.Name {
		c.err(from.KeySpan(), "misplaced-field", "", "%q reads headers, and %s has none", "learn", c.p.Protocol)
	}
	learn := &extract.Learn{
		Remaining: c.extractors(from.Items("remaining")), Reset: c.extractors(from.Items("reset")), Limit: c.extractors(from.Items("limit")),
		Unit: yamlfile.GetOr[int64](from, "unit", 1),
	}
	learn.When, _ = yamlfile.Get[string](from, "when")
	learn.Holds = c.condition(from.Child("when"), from, extractorFacts)
	return learn
}
