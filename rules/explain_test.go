package rules

import (
	"fmt"
	"net/textproto"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/rules/internal/fact"
)

func TestExplain(t *testing.T) {
	const never = `status == 1`
	tests := []struct {
		when string
		want string // failed | saw | error
	}{
		{`status == 404`, `status == 404 | 403`},
		{`status == 403 and operation == "messages.get" and sent`, `operation == "messages.get" | "history.list"`},
		{`status == 403 && (type == "A" || code == "B") && sent`, `type == "A" || code == "B" | type="PERMISSION_DENIED" code="rateLimitExceeded"`},
		{"status == 403\n  and \"x\" in codes", `"x" in codes | ["rateLimitExceeded" "Second"]`},
		{`status in [404, 410] and sent`, `status in [404, 410] | 403`},
		{`400 <= status < 403`, `400 <= status < 403 | 403`},
		{`status in 500..599`, `status in 500..599 | 403`},
		{`not (status in 400..499)`, `not (status in 400..499) | 403`},
		{`retry_after > duration("10m")`, `retry_after > duration("10m") | 1m30s`},
		{`idempotent and not sent`, `not sent | true`},
		{`facts.a == "x"`, `facts.a == "x" | ""`},
		{`len(codes) == 0`, `len(codes) == 0 | 2`},
		{`any(codes, # startsWith "x")`, `any(codes, # startsWith "x") | ["rateLimitExceeded" "Second"]`},
		{`message contains "Quota"`, `message contains "Quota" | "User-rate limit exceeded.  Retry after 2026-11-22T10:00:00.000Z"`},
		{`message == "ü" and status == 404`, `message == "ü" | "User-rate limit exceeded.  Retry after 2026-11-22T10:00:00.000Z"`},
		{`body contains "nothing"`, `body contains "nothing" | (24 bytes)`},
		{`header("X-Request-ID") == "x"`, `header("X-Request-ID") == "x" | "abc"`},
		{`header("Set-Cookie") == "x"`, `header("Set-Cookie") == "x" | (0 bytes)`},
		{`codes[4] == "x"`, `codes[4] == "x" | ["rateLimitExceeded" "Second"] | rules: reads a code that is not there, or takes for a number or a duration what is none, or divides by zero`},
		{`first(split(code, "")) == "x"`, `first(split(code, "")) == "x" | "rateLimitExceeded"`},
		{`fromJSON(message).a == 1`, `fromJSON(message).a == 1 | "User-rate limit exceeded.  Retry after 2026-11-22T10:00:00.000Z" | rules: the text is not JSON`},
		{`let m = lower(message); status == 403 and m contains "z!"`, `let m = lower(message); status == 403 and m contains "z!" | "User-rate limit exceeded.  Retry after 2026-11-22T10:00:00.000Z"`},
		{`if sent { status == 404 } else { status == 403 }`, `if sent { status == 404 } else { status == 403 } | sent=true status=403`},
		{`sent and (idempotent ? status == 404 : false)`, `idempotent ? status == 404 : false | idempotent=true status=403`},
		{`false`, `false | `},
	}
	for _, tt := range tests {
		t.Run(tt.when, func(t *testing.T) {
			s, err := Compile([]Rule{{When: tt.when}, {When: never}, {When: "true"}, {When: "true"}}, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			steps := s.Explain(event())
			if len(steps) != 3 || steps[0].Held || steps[1].Held || !steps[2].Held {
				t.Fatalf("Explain = %+v, want two rules that do not hold and one that does", steps)
			}
			got := steps[0].Failed + " | " + steps[0].Saw
			if steps[0].Err != nil {
				got += " | " + steps[0].Err.Error()
			}
			if got != tt.want {
				t.Errorf("Explain(%q)\n got %s\nwant %s", tt.when, got, tt.want)
			}
		})
	}
}

func TestExplainShortensTexts(t *testing.T) {
	s, err := Compile([]Rule{{When: `message == "x"`}}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	got := s.Explain(&Event{Message: strings.Repeat("é", 5000)})[0].Saw
	if want := fmt.Sprintf("%q... (10000 bytes)", strings.Repeat("é", maxShown/2)); got != want {
		t.Errorf("Explain saw %s, want %s", got, want)
	}
}

func TestErrors(t *testing.T) {
	s, err := Compile([]Rule{{When: `codes[0] == "a"`}, {When: `int(code) == 4`}, {When: `len(codes) > 1 and codes[1] == "b"`}}, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Match(&Event{}); got != -1 {
		t.Errorf("Match = %d, want -1", got)
	}
	if got := s.Errors(); got != 2 {
		t.Errorf("Errors = %d, want 2: codes[0] and int(\"\")", got)
	}
}

func TestCanonicalHeader(t *testing.T) {
	for _, name := range []string{"", "a", "content-type", "CONTENT-TYPE", "x-ms-retry-after-ms", "ETag", "-a--b-", "a b", "é", "x_y", "1a-2B"} {
		if got, want := fact.CanonicalHeader(name), textproto.CanonicalMIMEHeaderKey(name); got != want {
			t.Errorf("canonicalHeader(%q) = %q, want %q", name, got, want)
		}
	}
}
