package simulate

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
)

var update = flag.Bool("update", false, "rewrite scenario.schema.json")

func TestSchemaIsCurrent(t *testing.T) {
	const file = "scenario.schema.json"
	if !json.Valid(Schema()) {
		t.Fatalf("Schema() is not JSON:\n%s", Schema())
	}
	if *update {
		if err := os.WriteFile(file, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Schema()) {
		t.Errorf("%s is not what Schema() renders: run go test ./internal/simulate -update", file)
	}
}

// scenarioText is a scenario that is right, with more lines.
func scenarioText(more string) string { return scenarioWith("1", "10", "10m", more) }

// scenarioWith is a scenario of that version, number of mailboxes and duration, with more lines.
func scenarioWith(version, mailboxes, duration, more string) string {
	return "version: " + version + "\nscenario: x\nshows: x\nprovider: http\nmailboxes: " + mailboxes + "\nduration: " + duration + "\n" + more
}

const someCalls = "calls: [{operation: get, rate: 1/m}]\n"

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		name, given string
		want        string // line:column: code; parts of the message
	}{
		{"nothing", "", "1:1 empty-file"},
		{"no mapping", "[]", "1:1 wrong-type"},
		{"not YAML", "{", "1:1 "},
		{"no calls", scenarioText(""), "1:1 missing-field"},
		{"an empty list of calls", scenarioText("calls: []\n"), "7:8 empty-value"},
		{"no mailboxes", scenarioWith("1", "0", "10m", someCalls), "5:12 out-of-range"},
		{"too many mailboxes", scenarioWith("1", "100001", "10m", someCalls), "5:12 out-of-range"},
		{"no duration", scenarioWith("1", "10", "0s", someCalls), "6:11 out-of-range"},
		{"too long", scenarioWith("1", "10", "8d", someCalls), "6:11 out-of-range"},
		{"too patient", scenarioText(someCalls + "patience: 8d\n"), "8:11 out-of-range"},
		{"no workers", scenarioText(someCalls + "workers: 0\n"), "8:10 out-of-range"},
		{"an unknown field", scenarioText(someCalls + "wokers: 3\n"), "8:1 unknown-field"},
		{"another version", scenarioWith("2", "10", "10m", someCalls), "1:10 unsupported-version"},
		{"too many calls", scenarioText("calls: [{operation: get, rate: 10000/s}]\n"), "7:8 too-costly"},
		{"a rate without a time", scenarioText("calls: [{operation: get, rate: 1}]\n"), "7:32 bad-rate"},
		{"a rate of nothing", scenarioText("calls: [{operation: get, rate: 0/s}]\n"), "7:32 bad-rate"},
		{"a rate and times", scenarioText("calls: [{operation: get, rate: 1/s, at: 1m}]\n"), "7:37 conflict"},
		{"neither a rate nor times", scenarioText("calls: [{operation: get}]\n"), "7:9 missing-field"},
		{"a spread of a rate", scenarioText("calls: [{operation: get, rate: 1/m, spread: 1s}]\n"), "7:37 conflict"},
		{"a herd after the end", scenarioText("calls: [{operation: get, at: 10m}]\n"), "7:30 out-of-range"},
		{"mailboxes that there are not", scenarioText("calls: [{operation: get, rate: 1/m, mailboxes: 5..11}]\n"), "7:48 out-of-range"},
		{"mailboxes the wrong way round", scenarioText("calls: [{operation: get, rate: 1/m, mailboxes: 5..4}]\n"), "7:48 bad-range"},
		{"mailboxes in words", scenarioText("calls: [{operation: get, rate: 1/m, mailboxes: some}]\n"), "7:48 bad-range"},
		{"a method that is none", scenarioText("calls: [{operation: get, rate: 1/m, method: 'A B'}]\n"), "7:45 bad-name"},
		{"an unknown priority", scenarioText("calls: [{operation: get, rate: 1/m, priority: high}]\n"), "7:47 unknown-value"},
		{"a limit of two kinds", scenarioText(someCalls + "server: {limits: [{rate: 1/s, concurrency: 1}]}\n"), "8:31 conflict"},
		{"a burst of a quota", scenarioText(someCalls + "server: {limits: [{quota: 5/1m, burst: 1}]}\n"), "8:33 conflict"},
		{"a cost beyond the burst", scenarioText(someCalls + "server: {limits: [{rate: 1/s, burst: 5, costs: {get: 6}}]}\n"), "8:54 out-of-range"},
		{"an answer that is none", scenarioText(someCalls + "server: {limits: [{rate: 1/s, answer: 1000}]}\n"), "8:39 out-of-range"},
		{"a 99th percentile below the median", scenarioText(someCalls + "server: {latency: {median: 2s, p99: 1s}}\n"), "8:37 out-of-range"},
		{"a fault that ends first", scenarioText(someCalls + "faults: [{name: x, from: 2m, to: 1m, answer: 503}]\n"), "8:34 out-of-range"},
		{"a fault after the end", scenarioText(someCalls + "faults: [{name: x, from: 10m, to: 11m, answer: 503}]\n"), "8:26 out-of-range"},
		{"a fault without an end", scenarioText(someCalls + "faults: [{name: x, from: 1m, to: 3h, answer: 503}]\n"), "8:34 out-of-range"},
		{"a fault of no kind", scenarioText(someCalls + "faults: [{name: x, from: 1m, to: 2m}]\n"), "8:10 missing-field"},
		{"a fault of two kinds", scenarioText(someCalls + "faults: [{name: x, from: 1m, to: 2m, answer: 503, limits: 0.5}]\n"), "8:51 conflict"},
		{"a share of limits", scenarioText(someCalls + "faults: [{name: x, from: 1m, to: 2m, share: 0.5, limits: 0.5}]\n"), "8:38 conflict"},
		{"carried out without an answer", scenarioText(someCalls + "faults: [{name: x, from: 1m, to: 2m, fails: no_answer, carried_out: true}]\n"), "8:56 conflict"},
		{"an unknown failure", scenarioText(someCalls + "faults: [{name: x, from: 1m, to: 2m, fails: answer_lost}]\n"), "8:45 unknown-value"},
		{"an anchor", scenarioText("calls: &x [{operation: get, rate: 1/m}]\n"), "7:8 anchor"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, ds := Parse(policy.File{Name: "x.yaml", Data: []byte(tt.given)})
			if s != nil || len(ds) == 0 {
				t.Fatalf("it was read, with %v", ds)
			}
			var got []string
			for _, d := range ds {
				got = append(got, fmt.Sprintf("%d:%d %s", d.Pos.Line, d.Pos.Column, d.Code))
			}
			if !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got %q, want %q first\n%s", got, tt.want, ds[0])
			}
		})
	}
}

// Every field is read into its place.
func TestParse(t *testing.T) {
	s, ds := Parse(policy.File{Name: "x.yaml", Data: []byte(`version: 1
scenario: all
shows: everything
provider: gmail
mailboxes: 100
tenants: 4
workers: 7
duration: 1h
patience: 2h
interval: 1m
max_inline: 5s
come_back: 2m
calls:
  - {operation: a, method: post, rate: 6/m, mailboxes: 2..5, priority: backfill, once: true}
  - {operation: b, at: [20m, 10m], times: 3, spread: 2s, mailboxes: 7}
server:
  latency: {median: 1s, p99: 2s}
  limits:
    - {name: l, per: tenant, rate: 2/s, burst: 9, operations: [a, b], costs: {a: 3}, answer: {status: 403, headers: {x-a: b}, body: "{}", until_free: true}}
    - {per: all, quota: 5/1m}
    - {concurrency: 4, answer: {status: 503, retry_after: 90s}}
  tokens: {life: 30m, endpoint: entra, latency: 3s, expired: 403}
faults:
  - {name: one, from: 1m, to: 2m, share: 0.25, mailboxes: 50.., operations: a, answer: 500, carried_out: true}
  - {name: two, from: 2m, to: 3m, token_endpoint: true, fails: no_answer}
  - {name: three, from: 3m, to: 4m, limits: 0.5}
`)})
	if s == nil {
		t.Fatal(ds.Err())
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"the whole", fmt.Sprint(s.Name, s.Shows, s.Provider, s.Mailboxes, s.Tenants, s.Workers, s.Duration, s.Patience, s.Interval, s.MaxInline, s.ComeBack),
			fmt.Sprint("all", "everything", "gmail", 100, 4, 7, time.Hour, 2*time.Hour, time.Minute, 5*time.Second, 2*time.Minute)},
		{"calls", fmt.Sprintf("%+v", s.Calls), "[{Operation:a Method:POST Mailboxes:{First:1 Count:4} Rate:0.1 At:[] Times:1 Spread:0s Priority:1 Once:true} " +
			"{Operation:b Method:GET Mailboxes:{First:6 Count:1} Rate:0 At:[10m0s 20m0s] Times:3 Spread:2s Priority:0 Once:false}]"},
		{"latency", s.Server.Latency, Latency{time.Second, 2 * time.Second}},
		{"limits", fmt.Sprintf("%+v", s.Server.Limits), "[{Name:l Per:tenant Rate:2 Burst:9 Quota:0 Window:0s Concurrency:0 Operations:[a b] Costs:map[a:3] Answer:{Status:403 Header:map[Content-Type:[application/json] X-A:[b]] Body:[123 125] RetryAfter:0s UntilFree:true}} " +
			"{Name: Per:all Rate:0 Burst:1 Quota:5 Window:1m0s Concurrency:0 Operations:[] Costs:map[] Answer:{Status:429 Header:map[] Body:[] RetryAfter:0s UntilFree:false}} " +
			"{Name: Per:mailbox Rate:0 Burst:1 Quota:0 Window:0s Concurrency:4 Operations:[] Costs:map[] Answer:{Status:503 Header:map[] Body:[] RetryAfter:1m30s UntilFree:false}}]"},
		{"tokens", fmt.Sprintf("%+v", s.Server.Tokens), "{Life:30m0s Endpoint:entra Latency:{Median:3s P99:3s} Expired:{Status:403 Header:map[] Body:[] RetryAfter:0s UntilFree:false}}"},
		{"faults", fmt.Sprintf("%+v", s.Faults), "[{Name:one From:1m0s To:2m0s Share:0.25 Mailboxes:{First:49 Count:0} Operations:[a] Tokens:false Kind:0 Answer:{Status:500 Header:map[] Body:[] RetryAfter:0s UntilFree:false} CarriedOut:true Limits:1} " +
			"{Name:two From:2m0s To:3m0s Share:1 Mailboxes:{First:0 Count:0} Operations:[] Tokens:true Kind:3 Answer:{Status:0 Header:map[] Body:[] RetryAfter:0s UntilFree:false} CarriedOut:false Limits:1} " +
			"{Name:three From:3m0s To:4m0s Share:1 Mailboxes:{First:0 Count:0} Operations:[] Tokens:false Kind:4 Answer:{Status:0 Header:map[] Body:[] RetryAfter:0s UntilFree:false} CarriedOut:false Limits:0.5}]"},
	} {
		if c.got != c.want {
			t.Errorf("%s\ngot  %v\nwant %v", c.what, c.got, c.want)
		}
	}
}
