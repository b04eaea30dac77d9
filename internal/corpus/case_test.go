package corpus

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseCase(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		name string
		in   string
		want Case
	}{
		{"empty object", `{}`, Case{}},
		{"space around", "\t {\"id\": \"a\"} \r", Case{ID: []byte(`"a"`)}},
		{"every field", `{"id":"a","provider":"gmail","protocol":"HTTP","operation":"messages.get","method":"get",
			"status":429,"headers":{"retry-after":"7"},"body":"x","now":"2026-09-11T19:59:30.5Z","attempt":3,
			"elapsed_seconds":1.5,"idempotent":true,"sent":false,"idempotency_key":"k","state":{"v":1}}`,
			Case{ID: []byte(`"a"`), Provider: "gmail", Protocol: "http", Operation: "messages.get", Method: "GET",
				Status: 429, Headers: map[string][]string{"Retry-After": {"7"}}, Body: []byte("x"),
				Now: time.Date(2026, 9, 11, 19, 59, 30, 5e8, time.UTC), Attempt: 3, Elapsed: 1500 * time.Millisecond,
				Idempotent: &yes, Sent: &no, IdempotencyKey: "k", State: []byte(`{"v":1}`)}},
		{"imap", `{"protocol":"imap","imap_status":"no","body":"a NO x","network_error":"EOF"}`,
			Case{Protocol: "imap", IMAPStatus: "NO", Body: []byte("a NO x"), NetworkError: "EOF"}},
		{"nulls", `{"id":null,"status":null,"headers":null,"body":null,"now":null,"idempotent":null,"state":null}`, Case{}},
		{"number as id", `{"id":17}`, Case{ID: []byte(`17`)}},
		{"unknown fields", `{"want_action":"retry-backoff","also_ok":["x"],"why":{"a":[1]}}`, Case{}},
		{"status as float", `{"status":429.0}`, Case{Status: 429}},
		{"headers as lists", `{"headers":{"x-a":["1","2"],"X-A":"3","x-n":4,"x-null":null}}`,
			Case{Headers: map[string][]string{"X-A": {"1", "2", "3"}, "X-N": {"4"}}}},
		{"body as JSON", `{"body":{"error": {"code":1}}}`, Case{Body: []byte(`{"error": {"code":1}}`)}},
		{"base64 wins", `{"body_base64":"aGk=","body":"no"}`, Case{Body: []byte("hi")}},
		{"base64 after body", `{"body":"no","body_base64":"aGk"}`, Case{Body: []byte("hi")}},
		{"base64 of URLs", `{"body_base64":"-_8="}`, Case{Body: []byte{0xfb, 0xff}}},
		{"no base64", `{"body_base64":"","body":"yes"}`, Case{Body: []byte("yes")}},
		{"escapes", `{"body":"é\u00e9\n\""}`, Case{Body: []byte("éé\n\"")}},
		{"no time", `{"now":""}`, Case{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseCase([]byte(tt.in))
			if err != nil {
				t.Fatalf("ParseCase(%s): %v", tt.in, err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("ParseCase(%s)\n got %+v\nwant %+v", tt.in, got, tt.want)
			}
		})
	}
}

func TestParseCaseErrors(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", ``, `not JSON: nothing there`},
		{"text", `hello`, `not JSON: unexpected 'h' at byte 1`},
		{"cut short", `{"id":"a","body":"x`, `not JSON: it ends in the middle of a value, at byte 19`},
		{"two objects", `{}{}`, `not JSON: unexpected '{' at byte 3`},
		{"array", `[{"id":"a"}]`, `want a JSON object, got an array`},
		{"string", `"a"`, `want a JSON object, got a string`},
		{"null", `null`, `want a JSON object, got null`},
		{"id", `{"id":true}`, `id: want a string, got a boolean`},
		{"provider", `{"provider":1}`, `provider: want a string, got a number`},
		{"protocol", `{"protocol":"jmap"}`, `protocol: want one of http, smtp, imap, got "jmap"`},
		{"protocol's type", `{"protocol":1}`, `protocol: want a string, got a number`},
		{"status as text", `{"status":"429"}`, `status: want a number, got a string`},
		{"status with fraction", `{"status":4.5}`, `status: want a whole number from 0 to 999, got 4.5`},
		{"status out of range", `{"status":1e300}`, `status: want a whole number from 0 to 999, got 1e300`},
		{"negative status", `{"status":-1}`, `status: want a whole number from 0 to 999, got -1`},
		{"headers", `{"headers":["a"]}`, `headers: want an object, got an array`},
		{"header", `{"headers":{"a":{}}}`, `headers: "A": want a string or an array of strings, got an object`},
		{"header in list", `{"headers":{"a":["x",true]}}`, `headers: "A": want a string or an array of strings, got a boolean`},
		{"body", `{"body":1}`, `body: want a string, got a number`},
		{"base64", `{"body_base64":"a!"}`, `body_base64: not base64 at character 2`},
		{"time", `{"now":"yesterday"}`, `now: want a time like 2006-01-02T15:04:05Z, got "yesterday"`},
		{"attempt", `{"attempt":-3}`, `attempt: want a whole number from 0 to 1000000, got -3`},
		{"elapsed", `{"elapsed_seconds":-1}`, `elapsed_seconds: want seconds from 0 to 9e9, got -1`},
		{"elapsed's type", `{"elapsed_seconds":"1"}`, `elapsed_seconds: want a number of seconds, got a string`},
		{"idempotent", `{"idempotent":"yes"}`, `idempotent: want true or false, got a string`},
		{"state", `{"state":"x"}`, `state: want an object, got a string`},
		{"long value", `{"protocol":"` + strings.Repeat("x", 100) + `"}`,
			`protocol: want one of http, smtp, imap, got "` + strings.Repeat("x", 60) + `…"`},
		{"too deep", `{"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`, `not JSON to be read: nested deeper than 1000`},
		{"endlessly deep", strings.Repeat(`{"x":`, 1<<18), `not JSON to be read: nested deeper than 1000`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseCase([]byte(tt.in))
			if err == nil {
				t.Fatalf("ParseCase(%.80s): no error, want %q", tt.in, tt.want)
			}
			if err.Error() != tt.want {
				t.Errorf("ParseCase(%.80s)\n got %v\nwant %s", tt.in, err, tt.want)
			}
		})
	}
}

// Many brackets side by side, or inside strings, are no deep nesting.
func TestManyBrackets(t *testing.T) {
	for name, in := range map[string]string{
		"side by side":   `{"x":[` + strings.Repeat("[],", 5000) + `[]]}`,
		"inside strings": `{"x":"` + strings.Repeat(`[\"`, 5000) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseCase([]byte(in)); err != nil {
				t.Errorf("ParseCase(%.40s…): %v, want no error", in, err)
			}
		})
	}
}

func TestSalvageID(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"cut short", `{"id":"a-1","body":"x`, `"a-1"`},
		{"bad field", `{"id":7,"status":"x"}`, `7`},
		{"id last", `{"status":"x","id":"b"}`, `"b"`},
		{"no id", `{"status":"x"}`, ``},
		{"id cut short", `{"id":"a-`, ``},
		{"id of the wrong kind", `{"id":{}}`, ``},
		{"no JSON", `id`, ``},
		{"nothing", ``, ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(salvageID([]byte(tt.in))); got != tt.want {
				t.Errorf("salvageID(%s) = %s, want %s", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzParseCase(f *testing.F) {
	f.Add([]byte(`{"id":"a","provider":"gmail","status":429,"headers":{"Retry-After":["7"]},"body":"x"}`))
	f.Add([]byte(`{"body_base64":"` + base64.StdEncoding.EncodeToString([]byte{0, 255}) + `"}`))
	f.Add([]byte(`{"id":"a","state":{"v":1,"b":[1,2,3,4]}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := ParseCase(line)
		if err == nil && (c.Status < 0 || c.Elapsed < 0 || c.Attempt < 0) {
			t.Errorf("ParseCase(%q) = %+v: negative", line, c)
		}
		salvageID(line)
	})
}
