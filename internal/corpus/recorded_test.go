package corpus

import (
	"encoding/json"
	"net/textproto"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
)

func TestParseExtracted(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, tt := range []struct {
		name, in string
		want     Facts
	}{
		{"nothing was there", `{"extracted":{}}`, Facts{Type: text(""), Message: text(""), Network: text(""), Codes: []string{}, RetryAfter: new(time.Duration)}},
		{"all", `{"extracted":{"type":"t","codes":["a","b"],"message":"m","network":"eof","retry_after":"1m30s","other":[]},"facts":{"f":"v"}}`,
			Facts{Type: text("t"), Message: text("m"), Network: text("eof"), Codes: []string{"a", "b"}, RetryAfter: ptr(90 * time.Second), Named: map[string]string{"f": "v"}}},
		{"nulls", `{"extracted":{"type":null,"codes":null}}`, Facts{Type: text(""), Message: text(""), Network: text(""), Codes: []string{}, RetryAfter: new(time.Duration)}},
		{"not there", `{"type":"t","codes":["a"],"message":"m"}`, Facts{}},
	} {
		got, err := ParseCase([]byte(tt.in))
		if err != nil || !reflect.DeepEqual(got.Facts, tt.want) {
			t.Errorf("%s: given %s\ngot  %+v, %v\nwant %+v", tt.name, tt.in, got.Facts, err, tt.want)
		}
	}
	for in, want := range map[string]string{
		`{"extracted":[]}`:                     "extracted: want an object, got an array",
		`{"extracted":{"type":1}}`:             "extracted: type: want a string, got a number",
		`{"extracted":{"codes":[1]}}`:          "extracted: codes: want a string, got a number",
		`{"extracted":{"network":"down"}}`:     "extracted: network: want one of ",
		`{"extracted":{"retry_after":"soon"}}`: "extracted: retry_after: want a duration such as 30s",
	} {
		if _, err := ParseCase([]byte(in)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("given %s\ngot  %v\nwant %s", in, err, want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// A record is read as it was written, and nothing of it is left out.
func TestRecordIsRead(t *testing.T) {
	body := "words"
	rec := Record{
		ID: "r-1", Provider: "gmail", Protocol: "http", Account: "hash", Operation: "messages.get", Method: "GET", Status: 403,
		Headers: map[string][]string{"Retry-After": {"7"}, "X-A": {}}, Body: &body, Now: "2026-11-30T12:00:00.5Z", Attempt: 2, Elapsed: 1.5,
		Idempotent: ptr(true), Sent: true, State: json.RawMessage(`{"v":1,"n":1}`), Facts: map[string]string{"quota": "q"},
		Extracted: Extracted{Type: "t", Codes: []string{"c"}, Message: "m", Network: "reset", RetryAfter: "7s"},
		ReadBy:    map[string]string{"codes": "1"}, NotRecorded: []string{"type"}, Decided: Decided{Rule: "r"}, OneIn: 100,
	}
	line, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCase(line)
	if err != nil {
		t.Fatal(err)
	}
	want := Case{
		ID: json.RawMessage(`"r-1"`), Provider: "gmail", Protocol: "http", Operation: "messages.get", Method: "GET", Status: 403,
		Headers: map[string][]string{"Retry-After": {"7"}}, Body: []byte("words"), Now: time.Date(2026, 11, 30, 12, 0, 0, 5e8, time.UTC), Attempt: 2,
		Elapsed: 1500 * time.Millisecond, Idempotent: ptr(true), Sent: ptr(true), State: json.RawMessage(`{"v":1,"n":1}`),
		Facts: Facts{Type: ptr("t"), Codes: []string{"c"}, Message: ptr("m"), Network: ptr("reset"), RetryAfter: ptr(7 * time.Second), Named: map[string]string{"quota": "q"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("given %s\ngot  %+v\nwant %+v", line, got, want)
	}
}

// Whatever header is read of every answer is recorded.
func TestStandardHeaders(t *testing.T) {
	code, err := os.ReadFile("../../engine/classify/retryafter.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"((?:[A-Z][a-z]*-)+[A-Z][a-z]*|Ratelimit)"`).FindAllStringSubmatch(string(code), -1) {
		if name := textproto.CanonicalMIMEHeaderKey(m[1]); !slices.Contains(StandardHeaders, name) {
			t.Errorf("%s is read, and not recorded", name)
		}
	}
}

// What reads a fact has another hash wherever it may read another value, and no other.
func TestReaders(t *testing.T) {
	const template = `
version: 1
provider: shop
extract:
  type: ${type}
  codes: ${codes}
  message: ${message}
  retry_after: ${retry_after}
  facts: {doc: ${doc}}
operations: [{method: GET, path: ${path}, operation: a}]
rules: [{name: gone, when: status == 404, action: ${action}}]
backoff: {default: ${backoff}}
default: fail
`
	base := map[string]string{
		"type":        "[{json: type}]",
		"codes":       `[{json: error}, {text: 'E(\d+)'}]`,
		"message":     "[{json: text}]",
		"retry_after": "[{json: wait, as: s}]",
		"doc":         "[{header: X-Doc}]",
		"path":        "/a",
		"action":      "fail",
		"backoff":     "{attempts: 4}",
	}
	// readers are those of a policy with the text in place of one part of base; "" = base itself.
	readers := func(part, text string) map[string]string {
		yaml := os.Expand(template, func(name string) string {
			if name == part {
				return text
			}
			return base[name]
		})
		set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(yaml)}}, policy.LoadOptions{})
		if set == nil {
			t.Fatal(found.Err())
		}
		p, _ := set.Policy("shop")
		return Readers(p)
	}
	was := readers("", "")
	for _, tt := range []struct{ part, text, changed string }{
		{"type", "[{json: kind}]", "type"},
		{"type", "[{json: type, fold: true}]", "type"},
		{"type", "[{xml: type}]", "type"},
		{"codes", `[{json: error}, {text: 'F(\d+)'}]`, "codes"},
		{"codes", `[{text: 'E(\d+)'}]`, "codes"},
		{"codes", `[{json: error, when: status == 400}, {text: 'E(\d+)'}]`, "codes"},
		{"codes", `[{json: error, match: 'x(.)'}, {text: 'E(\d+)'}]`, "codes"},
		{"message", "[{json: message}]", "message retry_after"}, // what text patterns see of the hint
		{"retry_after", "[{json: wait, as: ms}]", "retry_after"},
		{"doc", "[{header: X-Other}]", "facts.doc"},
		{"path", "/b", "operation"},
		{"action", "retry", ""},
		{"backoff", "{attempts: 3}", ""},
	} {
		var changed []string
		for fact, hash := range readers(tt.part, tt.text) {
			if was[fact] != hash {
				changed = append(changed, fact)
			}
		}
		slices.Sort(changed)
		if got := strings.Join(changed, " "); got != tt.changed {
			t.Errorf("given %s: %s\nchanged %q, want %q", tt.part, tt.text, got, tt.changed)
		}
	}
}
