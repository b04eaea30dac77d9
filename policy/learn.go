package policy

import (
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// learnFields are what the extractors of a `learn` read: headers only, since the body
// of a success is left alone.
var learnFields = []yamlfile.Field{
	{Name: "header", Kind: yamlfile.Header, Required: true, Doc: "Value of a response header."},
	{Name: "match", Kind: extract.Pattern, Default: "all of it", Doc: "A regular expression (RE2) over what is found. It yields the first group, or the whole match."},
	{Name: "when", Kind: kindWhen, Default: "always", Doc: `Expression over status, header("NAME"), method and operation: only where it holds is this looked at.`},
}

var learnNumberObject = &yamlfile.Object{
	ID: "learn_number", Title: "an extractor of a number", Example: "{header: X-RateLimit-Remaining}",
	Doc: "The response header that a number stands in.", Fields: learnFields,
}

var learnTimeObject = &yamlfile.Object{
	ID: "learn_time", Title: "an extractor of a time", Example: "{header: X-RateLimit-Reset, as: epoch}",
	Doc:    "The response header that a time stands in, and how it is written.",
	Fields: append(learnFields[:len(learnFields):len(learnFields)], asField),
}

var learnObject = &yamlfile.Object{
	ID: "learn", Title: "learn", Example: "{remaining: {header: X-RateLimit-Remaining}, reset: {header: X-RateLimit-Reset, as: epoch}}",
	Doc: "Where the headers of every response tell what is left of the limit. What they say only lowers what the limit lets through.",
	Fields: []yamlfile.Field{
		{Name: "remaining", Object: learnNumberObject, Many: yamlfile.OrList, Required: true, Doc: "How much is left. The first extractor that yields a number wins."},
		{Name: "reset", Object: learnTimeObject, Many: yamlfile.OrList, Default: "what is left fills at the limit's rate, or lasts for a whole window", Doc: "When the limit begins anew. A response that tells no time to come, or one more than 7 days away, is ignored."},
		{Name: "limit", Object: learnNumberObject, Many: yamlfile.OrList, Default: "the limit's own number", Doc: "With quota: how much it is in all. It lowers the quota of the key, and never raises it."},
		{Name: "when", Kind: kindWhen, Default: "always", Doc: `Expression over status, header("NAME"), method and operation: only a response for which it holds tells about this limit.`},
		{Name: "unit", Kind: yamlfile.Int, Min: 1, Max: 1e9, Default: "1", Doc: "How many units of the limit one of the header's is, where the header counts requests and the limit units."},
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
