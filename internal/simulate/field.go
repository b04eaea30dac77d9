package simulate

import (
	"bytes"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The tables in this file say what a scenario file may hold. The decoder checks files against
// them, and Schema is rendered from them.

// Bounds of a scenario.
const (
	maxMailboxes = 100_000
	maxWorkers   = 1_000_000
	maxDuration  = 7 * 24 * time.Hour
	maxCalls     = 2_000_000 // the most calls that may be expected to arrive
	maxList      = 1000      // entries of a list
)

const perPattern = `/(([0-9]+(\.[0-9]*)?|\.[0-9]+)?(ms|s|m|h|d))+$`

var (
	kindRate  = &yamlfile.Kind{What: "a rate such as 2/m", Unit: "/s", Code: "bad-rate", Read: readRate, Schema: yamlfile.Pattern(`^[0-9][0-9_]*(\.[0-9]*)?`+perPattern, 60)}
	kindQuota = &yamlfile.Kind{What: "a quota such as 15000/1m", Unit: "/1m", Code: "bad-quota", Read: readQuota, Schema: yamlfile.Pattern(`^[0-9][0-9_]*`+perPattern, 60)}
	kindRange = &yamlfile.Kind{What: "a range such as 1..100", Raw: true, Read: readRange, Schema: func(*yamlfile.Field) yamlfile.JSON {
		return yamlfile.JSON{{Name: "anyOf", Value: []any{
			yamlfile.JSON{{Name: "type", Value: "integer"}, {Name: "minimum", Value: 1}},
			yamlfile.JSON{{Name: "type", Value: "string"}, {Name: "pattern", Value: `^[0-9]+(\.\.([0-9]+)?)?$`}},
		}}}
	}}
)

type quota struct {
	n      int64
	window time.Duration
}

func readRate(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	x, err := units.ParseRate(in.Text)
	if err != nil {
		return nil, yamlfile.Bad("bad-rate", "so many a time, such as 2/m, 0.5/s or 10/1h", "%q is not a rate", yamlfile.Cut(in.Text))
	}
	return x, nil
}

func readQuota(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	n, window, bytes, err := units.ParseQuota(in.Text)
	if err != nil || bytes {
		return nil, yamlfile.Bad("bad-quota", "units a window, such as 15000/1m", "%q is not a quota", yamlfile.Cut(in.Text))
	}
	return quota{n, window}, nil
}

// readRange reads "1..100", "101.." or "7".
func readRange(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	bad := yamlfile.Bad("bad-range", "such as 1..100, 101.. for all from the 101st on, or 7 for that one", "%q is not a range of mailboxes", yamlfile.Cut(in.Text))
	first, last, two := strings.Cut(in.Text, "..")
	from, ok := number(first)
	if !ok {
		return nil, bad
	}
	switch {
	case !two:
		return Subset{from - 1, 1}, nil
	case last == "":
		return Subset{from - 1, 0}, nil
	}
	to, ok := number(last)
	if !ok || to < from {
		return nil, bad
	}
	return Subset{from - 1, to - from + 1}, nil
}

// number reads the number of a mailbox, which counts from 1.
func number(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n <= maxMailboxes && s[0] != '+'
}

var answerObject = &yamlfile.Object{
	ID: "answer", Title: "an answer", Short: "status",
	Doc: "What the server answers; a number alone is the status.",
	Fields: []yamlfile.Field{
		{Name: "status", Kind: yamlfile.Int, Min: 200, Max: 599, Required: true, Doc: "The HTTP status."},
		{Name: "headers", Elem: &yamlfile.Field{Kind: yamlfile.Text, Many: yamlfile.OrList}, Doc: "Headers, besides those that the other fields make."},
		{Name: "body", Kind: yamlfile.Text, Doc: "The body. One that begins with { is JSON, unless the headers say otherwise."},
		{Name: "retry_after", Kind: yamlfile.Duration, Doc: "What Retry-After says."},
		{Name: "until_free", Kind: yamlfile.Bool, Default: "false", Doc: "Retry-After says when the limit will let the next request pass."},
	},
	AtMostOne: []string{"retry_after", "until_free"},
}

var callObject = &yamlfile.Object{
	ID: "call", Title: "an entry of calls",
	Doc: "Calls of one operation, at random times at a rate, or of all mailboxes at one time.",
	Fields: []yamlfile.Field{
		{Name: "operation", Kind: yamlfile.Name, Required: true, Doc: "The policy's name of it: limits, costs and rules go by it."},
		{Name: "method", Kind: yamlfile.Method, Default: "GET", Doc: "The HTTP method."},
		{Name: "rate", Kind: kindRate, Doc: "So many for each mailbox, at random times: 2/m."},
		{Name: "at", Kind: yamlfile.Duration, Many: yamlfile.OrList, Doc: "One for each mailbox at each of these times: a herd."},
		{Name: "times", Kind: yamlfile.Int, Min: 1, Max: 10_000, Default: "1", Doc: "With at: so many for each mailbox."},
		{Name: "spread", Kind: yamlfile.Duration, Default: "0s", Doc: "With at: they come evenly within so long."},
		{Name: "mailboxes", Kind: kindRange, Default: "all", Doc: "Those that are called: 1..100, 101.. or 7."},
		{Name: "priority", Enum: []string{"interactive", "backfill"}, Default: "interactive", Doc: "Who goes first where calls wait for one limit."},
		{Name: "once", Kind: yamlfile.Bool, Default: "false", Doc: "It must not be carried out twice, as a message that is sent."},
	},
	OneOf: []string{"rate", "at"},
}

var limitObject = &yamlfile.Object{
	ID: "limit", Title: "a limit of the server",
	Doc: "What the server allows, whatever the policy says: a bucket, a quota or a number of requests at once.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Label, Doc: "For the reader."},
		{Name: "per", Enum: []string{"mailbox", "tenant", "all"}, Default: "mailbox", Doc: "Whom it counts together."},
		{Name: "rate", Kind: kindRate, Doc: "A bucket that fills with so many units: 250/s."},
		{Name: "burst", Kind: yamlfile.Int, Min: 1, Max: 1e12, Default: "what rate gives in a second", Doc: "With rate: units that pass at once."},
		{Name: "quota", Kind: kindQuota, Doc: "Units in each window, which begins with its first request: 15000/1m."},
		{Name: "concurrency", Kind: yamlfile.Int, Min: 1, Max: 1e6, Doc: "Requests at once."},
		{Name: "operations", Kind: yamlfile.Name, Many: yamlfile.OrList, Default: "all", Doc: "Operations that it counts."},
		{Name: "costs", Elem: &yamlfile.Field{Kind: yamlfile.Int, Min: 0, Max: 1e9}, Doc: "Units of an operation, by its name; any other costs 1."},
		{Name: "answer", Object: answerObject, Default: "429", Doc: "What is answered to a request beyond it. That request costs nothing."},
	},
	OneOf: []string{"rate", "quota", "concurrency"},
}

var latencyObject = &yamlfile.Object{
	ID: "latency", Title: "a latency", Short: "median", Example: "{median: 150ms, p99: 1s}",
	Doc: "How long an answer takes: a lognormal distribution. A duration alone is the median and no more.",
	Fields: []yamlfile.Field{
		{Name: "median", Kind: yamlfile.Duration, Required: true, Doc: "Half of the answers take no longer."},
		{Name: "p99", Kind: yamlfile.Duration, Default: "the median", Doc: "One in a hundred takes longer."},
	},
}

var tokensObject = &yamlfile.Object{
	ID: "tokens", Title: "tokens",
	Doc: "The access tokens of the mailboxes, and the endpoint that renews them.",
	Fields: []yamlfile.Field{
		{Name: "life", Kind: yamlfile.Duration, Positive: true, Default: "they do not expire", Doc: "How long an access token is good. Then the server answers 401."},
		{Name: "endpoint", Kind: yamlfile.Label, Default: "oauth2", Doc: "The policy that decides about failures of the token endpoint."},
		{Name: "latency", Object: latencyObject, Default: "the server's", Doc: "How long a refresh takes."},
		{Name: "expired", Object: answerObject, Default: "401", Doc: "What is answered to a request with a token that has expired."},
	},
}

var serverObject = &yamlfile.Object{
	ID: "server", Title: "the server",
	Doc: "The provider's side. It counts and refuses as this says, and knows nothing of its clients.",
	Fields: []yamlfile.Field{
		{Name: "latency", Object: latencyObject, Default: "{median: 150ms, p99: 1s}", Doc: "How long an answer takes."},
		{Name: "limits", Many: yamlfile.List, Object: limitObject, Doc: "What it allows."},
		{Name: "tokens", Object: tokensObject, Doc: "The access tokens of the mailboxes."},
	},
}

var faultObject = &yamlfile.Object{
	ID: "fault", Title: "a fault",
	Doc: "Something that is wrong with the server for a time. Of several that would befall a request the first does.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Text, Required: true, Doc: "For the reader."},
		{Name: "from", Kind: yamlfile.Duration, Required: true, Doc: "When it begins."},
		{Name: "to", Kind: yamlfile.Duration, Required: true, Doc: "When it ends."},
		{Name: "share", Kind: yamlfile.Float, Min: 0.0001, Max: 1, Default: "1", Doc: "Of the requests, those that meet it: 0.3."},
		{Name: "mailboxes", Kind: kindRange, Default: "all", Doc: "Whose requests meet it: 1..100, 101.. or 7."},
		{Name: "operations", Kind: yamlfile.Name, Many: yamlfile.OrList, Default: "all", Doc: "Operations that meet it."},
		{Name: "token_endpoint", Kind: yamlfile.Bool, Default: "false", Doc: "The token endpoint's requests meet it, instead of the API's."},
		{Name: "answer", Object: answerObject, Doc: "Requests are answered so, and not carried out, unless carried_out says so."},
		{Name: "carried_out", Kind: yamlfile.Bool, Default: "false", Doc: "With answer: requests are carried out, and then answered so. Whoever sends a message again then sends it twice."},
		{Name: "fails", Enum: []string{"reply_lost", "no_connection", "no_answer"}, Doc: "reply_lost: requests are carried out, and the connection breaks before the answer. no_connection: nothing can be sent. no_answer: nothing is carried out, and no answer ever comes."},
		{Name: "limits", Kind: yamlfile.Float, Min: 0.001, Max: 1000, Doc: "The server allows so much of what it does otherwise: 0.5."},
	},
	OneOf: []string{"answer", "fails", "limits"},
}

var scenarioObject = &yamlfile.Object{
	ID: "scenario", Title: "a scenario",
	Doc: "Recourse scenario: who calls what and when, what the provider's server allows, and what goes wrong. Times are since the beginning.",
	Fields: []yamlfile.Field{
		{Name: "version", Kind: yamlfile.Version, Required: true, Doc: "Version of this file format: 1."},
		{Name: "scenario", Kind: yamlfile.Label, Required: true, Doc: "Its name."},
		{Name: "shows", Kind: yamlfile.Text, Required: true, Doc: "What it is meant to show, for whoever reads the result."},
		{Name: "provider", Kind: yamlfile.Label, Required: true, Doc: "The policy of the calls."},
		{Name: "mailboxes", Kind: yamlfile.Int, Min: 1, Max: maxMailboxes, Required: true, Doc: "How many there are."},
		{Name: "tenants", Kind: yamlfile.Int, Min: 1, Max: maxMailboxes, Default: "1", Doc: "The mailboxes are spread over so many tenants."},
		{Name: "workers", Kind: yamlfile.Int, Min: 1, Max: maxWorkers, Default: "as many as mailboxes", Doc: "Calls at once. A call that waits in its worker counts."},
		{Name: "duration", Kind: yamlfile.Duration, Positive: true, Required: true, Doc: "For how long calls arrive."},
		{Name: "patience", Kind: yamlfile.Duration, Default: "1h", Doc: "How long after that the simulation goes on at most, for the calls that have not ended."},
		{Name: "interval", Kind: yamlfile.Duration, Positive: true, Default: "about a hundredth of duration", Doc: "Of the counts by time."},
		{Name: "max_inline", Kind: yamlfile.Duration, Positive: true, Default: "1m", Doc: "The longest wait that holds a worker: engine.Options.MaxInline."},
		{Name: "come_back", Kind: yamlfile.Duration, Default: "never", Doc: "A call that was given up as exhausted, budget, deadline or unavailable is made anew after so long, then after twice as long each time, up to an hour, at most 10 times: as a job engine does."},
		{Name: "calls", Many: yamlfile.List, Object: callObject, Required: true, Doc: "Who calls what, and when."},
		{Name: "server", Object: serverObject, Doc: "What the provider's server allows."},
		{Name: "faults", Many: yamlfile.List, Object: faultObject, Doc: "What goes wrong."},
	},
}

// scenarioObjects are all objects of a scenario file. The first is the file as a whole.
var scenarioObjects = []*yamlfile.Object{scenarioObject, callObject, serverObject, limitObject, latencyObject, tokensObject, faultObject, answerObject}

// Schema returns the JSON Schema (draft 2020-12) of a scenario file.
func Schema() []byte { return bytes.Clone(schema()) }

var schema = sync.OnceValue(func() []byte {
	return yamlfile.RenderSchema("Recourse scenario", "internal/simulate/field.go", scenarioObjects)
})
