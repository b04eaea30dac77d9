package suite

import (
	"bytes"
	"sync"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/policy"
)

// The tables in this file say what a suite may hold. Parse checks files against them, and
// Schema is rendered from them.

var givenObject = &yamlfile.Object{
	ID: "given", Title: "given",
	Doc: "A response, or the facts of one.",
	Fields: []yamlfile.Field{
		{Name: "url", Kind: yamlfile.Text, Doc: "The request's URL: the policy's operations name the operation by it, and its match must claim it."},
		{Name: "operation", Kind: yamlfile.Text, Doc: "The request's operation."},
		{Name: "method", Kind: yamlfile.Method, Doc: "The request's HTTP method; with a url GET is the default."},
		{Name: "protocol", Enum: protocol.Names(), Default: "as the policy says", Doc: "What the response speaks."},
		{Name: "idempotency_key", Kind: yamlfile.Text, Doc: "The request carried this Idempotency-Key."},
		{Name: "status", Kind: yamlfile.Int, Min: 0, Max: 999, Doc: "HTTP status or SMTP reply code."},
		{Name: "imap_status", Enum: []string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, Doc: "IMAP status, if not in the body."},
		{Name: "headers", Elem: &yamlfile.Field{Kind: yamlfile.Text, Many: yamlfile.OrList}, Doc: "Response headers."},
		{Name: "body", Kind: yamlfile.Text, Doc: "The response's body; the reply's text of SMTP and IMAP."},
		{Name: "network_error", Kind: yamlfile.Text, Doc: "Text of the error below the protocol."},
		{Name: "now", Kind: yamlfile.Text, Default: "2026-01-01T00:00:00Z", Doc: "When the response came, for times in it."},
		{Name: "attempt", Kind: yamlfile.Int, Min: 1, Max: 1e6, Default: "1", Doc: "This attempt's number."},
		{Name: "elapsed", Kind: yamlfile.Duration, Doc: "Time spent trying so far."},
		{Name: "idempotent", Kind: yamlfile.Bool, Default: "by method and policy", Doc: "A repeat is harmless."},
		{Name: "sent", Kind: yamlfile.Bool, Default: "by the network error", Doc: "The request may have reached the server."},
		{Name: "type", Kind: yamlfile.Text, Doc: "The fact type."},
		{Name: "code", Kind: yamlfile.Text, Doc: "The fact codes, where it is one."},
		{Name: "codes", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "The fact codes."},
		{Name: "message", Kind: yamlfile.Text, Doc: "The fact message."},
		{Name: "facts", Elem: &yamlfile.Field{Kind: yamlfile.Text}, Doc: "Facts of the policy's own."},
		{Name: "network", Enum: corpus.Networks, Doc: "The fact network."},
		{Name: "retry_after", Kind: yamlfile.Duration, Doc: "The fact retry_after."},
	},
	AtMostOne: []string{"code", "codes"},
}

var wantFields = []yamlfile.Field{
	{Name: "rule", Kind: yamlfile.Name, Doc: `The rule that decides; "default" and "success" too.`},
	{Name: "action", Enum: policy.Actions(), Doc: "The decision."},
	{Name: "as", Enum: []string{engine.AsPermanent, engine.AsNeedsUser, engine.AsResync, engine.AsAmbiguous, engine.AsExhausted, engine.AsCanceled}, Open: true, Doc: "The kind of failure."},
	{Name: "hint", Kind: yamlfile.Text, Doc: "What the server asked for: 30s, 29s..31s or 0s for nothing."},
	{Name: "delay", Kind: yamlfile.Text, Doc: "A range that holds every delay that chance can give: 1s..2s, 30s.. or ..64s."},
	{Name: "hold", Kind: yamlfile.Name, Many: yamlfile.OrList, Doc: "The limits that are closed; [] for none."},
	{Name: "hold_for", Kind: yamlfile.Text, Doc: "How long they are closed, as at the first refusal: a range that holds whatever chance gives, such as 24h or 8h..8h5m."},
	{Name: "limits", Kind: yamlfile.Name, Many: yamlfile.OrList, Doc: "The limits that count a request of this operation; [] for none."},
	{Name: "defer", Kind: yamlfile.Bool, Doc: "The call is handed back with a time to resume."},
	{Name: "exhausted", Kind: yamlfile.Bool, Doc: "Attempts, time or waits are used up."},
	{Name: "operation", Kind: yamlfile.Text, Doc: "The operation that the url names."},
	{Name: "type", Kind: yamlfile.Text, Doc: "The fact type, as extracted."},
	{Name: "codes", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "The fact codes, as extracted."},
	{Name: "message", Kind: yamlfile.Text, Doc: "The fact message, as extracted."},
	{Name: "facts", Elem: &yamlfile.Field{Kind: yamlfile.Text}, Doc: "Facts of the policy's own, as extracted, or as the url names them."},
	{Name: "idempotent", Kind: yamlfile.Bool, Doc: "A repeat is held to be harmless."},
	{Name: "learned", Elem: &yamlfile.Field{Object: learnedObject}, Doc: "What the response says of limits with `learn`, by their names; {} for nothing."},
}

var learnedObject = &yamlfile.Object{
	ID: "learned", Title: "a limit that is learned about", Example: "{remaining: 3, reset: 10m}",
	Doc: "What a response says of a limit, in the limit's units.",
	Fields: []yamlfile.Field{
		{Name: "remaining", Kind: yamlfile.Int, Min: 0, Max: 1e15, Doc: "What is left."},
		{Name: "reset", Kind: yamlfile.Text, Doc: "The time until it begins anew: 10m, 9m..10m, or 0s where the response does not say."},
		{Name: "limit", Kind: yamlfile.Int, Min: 0, Max: 1e15, Doc: "How much it is in all; 0 where the response does not say."},
	},
}

var wantObject = &yamlfile.Object{ID: "want", Title: "want", Doc: "What is expected of a decision. Only what is given is compared.", Fields: wantFields}

var suiteCaseObject = &yamlfile.Object{
	ID: "case", Title: "a case",
	Doc: "One response and what the policy must make of it.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Text, Required: true, Doc: "Unique in its suite; says what is special."},
		{Name: "given", Object: givenObject, Required: true, Doc: "A response, or the facts of one."},
		{Name: "want", Object: wantObject, Required: true, Doc: "What is expected of the decision."},
	},
}

var stepObject = &yamlfile.Object{
	ID: "step", Title: "a step",
	Doc: "One attempt of a script and the response that it meets.",
	Fields: []yamlfile.Field{
		{Name: "given", Object: givenObject, Default: "as the script's own", Doc: "A response, or the facts of one."},
		{Name: "repeat", Kind: yamlfile.Int, Min: 1, Max: 1000, Default: "1", Doc: "So many attempts in a row meet this response."},
		{Name: "takes", Kind: yamlfile.Duration, Default: "0s", Doc: "How long the attempt lasts."},
		{Name: "want", Object: wantObject, Doc: "What is expected of the decision about it."},
	},
}

var scriptWantObject = &yamlfile.Object{
	ID: "script_want", Title: "a script's want",
	Doc: "What is expected of the whole script, and of its last decision.",
	Fields: append([]yamlfile.Field{
		{Name: "attempts", Kind: yamlfile.Int, Min: 1, Max: 1e6, Doc: "Attempts in all."},
		{Name: "waited", Kind: yamlfile.Text, Doc: "Time between the attempts in all, with chance in its middle: 3s..5s."},
		{Name: "waits", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "Time between the attempts one by one, each a range that holds whatever chance gives."},
	}, wantFields...),
}

var scriptObject = &yamlfile.Object{
	ID: "script", Title: "a script",
	Doc: "One call in virtual time: the responses that its attempts meet, one after the other.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Text, Required: true, Doc: "Unique in its suite; says what is special."},
		{Name: "given", Object: givenObject, Doc: "What every step shares; a step's own values win."},
		{Name: "steps", Many: yamlfile.List, Object: stepObject, Required: true, Doc: "The attempts."},
		{Name: "want", Object: scriptWantObject, Required: true, Doc: "What is expected of the whole."},
	},
}

var suiteObject = &yamlfile.Object{
	ID: "suite", Title: "a suite",
	Doc: "Recourse test suite of one policy.",
	Fields: []yamlfile.Field{
		{Name: "version", Kind: yamlfile.Version, Required: true, Doc: "Version of this file format: 1."},
		{Name: "provider", Kind: yamlfile.Label, Required: true, Doc: "The policy under test."},
		{Name: "cases", Many: yamlfile.List, Object: suiteCaseObject, Doc: "One decision each."},
		{Name: "scripts", Many: yamlfile.List, Object: scriptObject, Doc: "A series of responses each."},
	},
}

// suiteObjects are all objects of a suite. The first is the file as a whole.
var suiteObjects = []*yamlfile.Object{suiteObject, suiteCaseObject, scriptObject, stepObject, givenObject, wantObject, learnedObject, scriptWantObject}

// Schema returns the JSON Schema (draft 2020-12) of a test suite, rendered from the
// tables that Parse checks files against. suite.schema.json is a copy for editors.
func Schema() []byte { return bytes.Clone(schema()) }

var schema = sync.OnceValue(func() []byte {
	return yamlfile.RenderSchema("Recourse test suite", "internal/suite/field.go", suiteObjects)
})
