package suite

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
)

var update = flag.Bool("update", false, "rewrite suite.schema.json")

func TestSchemaIsCurrent(t *testing.T) {
	const file = "../../policy/suite.schema.json"
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
		t.Errorf("%s is not what Schema() renders: run go test ./internal/suite -update", file)
	}
}

func TestParse(t *testing.T) {
	const file = `version: 1
provider: shop
cases:
  - name: every field
    given:
      url: https://shop.example/orders
      operation: orders.create
      method: post
      protocol: http
      idempotency_key: k
      status: 429
      imap_status: NO
      headers: {retry-after: "7", x-a: [a, b]}
      body: |
        {"code": 1}
      network_error: EOF
      now: "2026-09-11T20:00:00Z"
      attempt: 2
      elapsed: 1m30s
      idempotent: true
      sent: false
      type: t
      codes: [a, b]
      message: m
      facts: {doc: usage}
      network: eof
      retry_after: 7s
    want:
      rule: throttled
      action: wait
      as: permanent
      hint: 7s
      delay: 7s..8s
      hold: [user, orders]
      defer: false
      exhausted: true
      operation: o
      type: t
      codes: c
      message: m
      idempotent: true
  - {name: little, given: {code: c}, want: {hold: []}}
scripts:
  - name: a script
    given: {method: GET}
    steps:
      - {given: {status: 503}, repeat: 3, takes: 100ms}
      - {given: {status: 200}, want: {action: accept}}
    want: {attempts: 4, waited: 1s.., waits: [1s, ..2s], action: accept}
`
	s, found := Parse(policy.File{Name: "shop_test.yaml", Data: []byte(file)})
	if s == nil || len(found) > 0 {
		t.Fatalf("Parse: %v", found)
	}
	yes, no := true, false
	typ, message, network, after := "t", "m", "eof", 7*time.Second
	if got, want := s.Cases[0].Given, (corpus.Case{
		URL: "https://shop.example/orders", Operation: "orders.create", Method: "POST", Protocol: "http", IdempotencyKey: "k",
		Status: 429, IMAPStatus: "NO", Headers: map[string][]string{"Retry-After": {"7"}, "X-A": {"a", "b"}},
		Body: []byte("{\"code\": 1}\n"), NetworkError: "EOF", Now: time.Date(2026, 9, 11, 20, 0, 0, 0, time.UTC),
		Attempt: 2, Elapsed: 90 * time.Second, Idempotent: &yes, Sent: &no,
		Facts: corpus.Facts{
			Type: &typ, Message: &message, Network: &network, Codes: []string{"a", "b"},
			Named: map[string]string{"doc": "usage"}, RetryAfter: &after,
		},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("given\n got %+v\nwant %+v", got, want)
	}
	w := s.Cases[0].Want
	if pos := w.At["hold"]; pos.Line != 34 || pos.Column != 13 || pos.File != "shop_test.yaml" {
		t.Errorf("hold stands at %+v, want shop_test.yaml:34:13", pos)
	}
	w.Pos, w.At = policy.Position{}, nil
	if want := (Want{
		Rule: "throttled", Action: "wait", As: "permanent", Hint: &Range{7 * time.Second, 7 * time.Second},
		Delay: &Range{7 * time.Second, 8 * time.Second}, Hold: []string{"user", "orders"}, Defer: &no, Exhausted: &yes,
		Operation: "o", Type: "t", Message: "m", Codes: []string{"c"}, Idempotent: &yes,
	}); !reflect.DeepEqual(w, want) {
		t.Errorf("want\n got %+v\nwant %+v", w, want)
	}
	if c := s.Cases[1]; !c.Want.HoldNothing || c.Want.Hold != nil || !reflect.DeepEqual(c.Given.Facts.Codes, []string{"c"}) {
		t.Errorf("little: %+v, want code c and no holds", c)
	}
	sc := s.Scripts[0]
	if sc.Name != "a script" || sc.Given.Method != "GET" || len(sc.Steps) != 2 || sc.Steps[0].Repeat != 3 ||
		sc.Steps[0].Takes != 100*time.Millisecond || sc.Steps[0].Want != nil || sc.Steps[1].Want.Action != "accept" {
		t.Errorf("script: %+v", sc)
	}
	if got, want := sc.Want.Waits, []Range{{time.Second, time.Second}, {0, 2 * time.Second}}; !reflect.DeepEqual(got, want) || sc.Want.Attempts != 4 || sc.Want.Action != "accept" {
		t.Errorf("script's want: %+v", sc.Want)
	}
}

// Each mistake is reported at its place: "line:column: message [code]".
func TestParseErrors(t *testing.T) {
	const head = "version: 1\nprovider: shop\n"
	tests := []struct{ name, in, want string }{
		{"nothing", "", `1:1: the file is empty [empty-file]`},
		{"no mapping", "[]", `1:1: the file must be a mapping: a suite with version, provider, cases …, this is a list [wrong-type]`},
		{"no provider", "version: 1\ncases: []", `1:1: a suite needs "provider" [missing-field]`},
		{"unknown field", head + "tests: []", `3:1: unknown field "tests" in a suite [unknown-field]`},
		{"a case without want", head + "cases: [{name: a, given: {status: 200}}]", `3:9: a case needs "want" [missing-field]`},
		{"a step without a response", head + "scripts: [{name: a, steps: [{repeat: 2}], want: {attempts: 2}}]", `3:29: a step needs "given" [missing-field]`},
		{"code and codes", head + "cases: [{name: a, given: {code: a, codes: [b]}, want: {action: fail}}]", `3:36: given has either "code" or "codes", not both [conflict]`},
		{"status as text", head + `cases: [{name: a, given: {status: "429"}, want: {action: fail}}]`, `3:35: "status" must be a whole number, this is text [wrong-type]`},
		{"header as number", head + `cases: [{name: a, given: {headers: {Retry-After: 7}}, want: {action: fail}}]`, `3:50: "Retry-After" must be text, this is a number [wrong-type]`},
		{"time", head + `cases: [{name: a, given: {now: today}, want: {action: fail}}]`, `3:32: "today" is not a time [bad-time]`},
		{"range", head + `cases: [{name: a, given: {}, want: {delay: 9s..7s}}]`, `3:44: "9s..7s" is not a time or a range of times [bad-range]`},
		{"range without a number", head + `cases: [{name: a, given: {}, want: {delay: ".."}}]`, `3:44: ".." is not a time or a range of times [bad-range]`},
		{"action", head + `cases: [{name: a, given: {}, want: {action: wiat}}]`, `3:45: "action" cannot be "wiat" [unknown-value]`},
		{"nothing wanted", head + `cases: [{name: a, given: {}, want: {}}]`, `3:30: nothing is wanted [empty-want]`},
		{"one name twice", head + "cases: [{name: a, given: {}, want: {action: fail}}]\nscripts: [{name: a, steps: [], want: {attempts: 1}}]", `4:18: "a" is the name of another test, on line 3 [duplicate-name]`},
		{"two at once", head + "cases: [{name: a, given: {statsu: 1}, want: {rul: b}}]", `3:27: unknown field "statsu" in given [unknown-field]` + "\n" + `3:46: unknown field "rul" in want [unknown-field]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, found := Parse(policy.File{Name: "f", Data: []byte(tt.in)})
			if s != nil || found.Err() == nil {
				t.Errorf("Parse(%s) has no errors", tt.in)
			}
			var lines []string
			for _, d := range found {
				first, _, _ := strings.Cut(d.String(), "\n")
				lines = append(lines, strings.TrimPrefix(first, "f:"))
			}
			if got := strings.Join(lines, "\n"); got != tt.want {
				t.Errorf("Parse(%s)\n got %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func TestParseRange(t *testing.T) {
	const s = time.Second
	tests := []struct {
		in    string
		want  Range
		again string // how it is written; "" = as it was read
		ok    bool
	}{
		{"7s", Range{7 * s, 7 * s}, "", true},
		{"7s..9s", Range{7 * s, 9 * s}, "", true},
		{"7s .. 9s", Range{7 * s, 9 * s}, "7s..9s", true},
		{"7s..", Range{7 * s, math.MaxInt64}, "", true},
		{"..9s", Range{0, 9 * s}, "", true},
		{"0s", Range{}, "", true},
		{"90s", Range{90 * s, 90 * s}, "1m30s", true},
		{"2h..1d", Range{2 * time.Hour, 24 * time.Hour}, "2h..24h", true},
		{"", Range{}, "", false},
		{"..", Range{}, "", false},
		{"7", Range{}, "", false},
		{"9s..7s", Range{}, "", false},
		{"7s..x", Range{}, "", false},
		{"x..7s", Range{}, "", false},
		{"7s..8s..9s", Range{}, "", false},
	}
	for _, tt := range tests {
		got, err := ParseRange(tt.in)
		if (err == nil) != tt.ok || tt.ok && got != tt.want {
			t.Errorf("ParseRange(%q) = %+v, %v; want %+v, ok %t", tt.in, got, err, tt.want, tt.ok)
			continue
		}
		if tt.again == "" {
			tt.again = tt.in
		}
		if tt.ok && got.String() != tt.again {
			t.Errorf("ParseRange(%q) is written %q, want %q", tt.in, got, tt.again)
		}
	}
}

func TestRangeHolds(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		r           Range
		least, most time.Duration
		want        bool
	}{
		{Range{7 * s, 9 * s}, 7 * s, 9 * s, true},
		{Range{7 * s, 9 * s}, 8 * s, 8 * s, true},
		{Range{7 * s, 9 * s}, 6 * s, 9 * s, false},
		{Range{7 * s, 9 * s}, 7 * s, 10 * s, false},
		{Range{7 * s, 9 * s}, 7*s - 1, 9*s + 1, true}, // less than a microsecond
		{Range{7 * s, math.MaxInt64}, 7 * s, 1000 * time.Hour, true},
		{Range{0, 0}, 0, 0, true},
		{Range{0, 0}, 0, time.Millisecond, false},
	} {
		if got := tt.r.Holds(tt.least, tt.most); got != tt.want {
			t.Errorf("%s holds %s to %s: %t, want %t", tt.r, tt.least, tt.most, got, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "a_test.yaml", "b.yml", "b_test.yml", "c.yaml", ".d_test.yaml", "e_test.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x: 1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct{ name, args, want string }{
		{"directory", ".", "a_test.yaml b_test.yml"},
		{"suite", "a_test.yaml", "a_test.yaml"},
		{"policy", "b.yml", "b_test.yml"},
		{"policy without a suite", "c.yaml", ""},
		{"all, once", "a.yaml a_test.yaml .", "a_test.yaml b_test.yml"},
		{"missing suite", "none_test.yaml", "error"},
		{"missing policy", "none.yaml", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var paths []string
			for arg := range strings.FieldsSeq(tt.args) {
				paths = append(paths, filepath.Join(dir, arg))
			}
			files, err := Read(paths...)
			var got []string
			for _, f := range files {
				got = append(got, filepath.Base(f.Name))
			}
			if err != nil {
				got = []string{"error"}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("Read(%s) = %v (%v), want %s", tt.args, got, err, tt.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("version: 1\nprovider: shop\ncases: [{name: a, given: {status: 429, headers: {Retry-After: \"7\"}}, want: {delay: 7s..8s, hold: []}}]"))
	f.Add([]byte("version: 1\nprovider: shop\nscripts: [{name: a, steps: [{given: {now: x}, repeat: 3}], want: {waits: [1s]}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, found := Parse(policy.File{Name: "f", Data: data})
		if (s == nil) != (found.Err() != nil) {
			t.Errorf("Parse(%q): suite %v, problems %v", data, s, found)
		}
	})
}
