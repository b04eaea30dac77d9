package rules

import (
	"testing"
	"time"
)

// event is one on which the conditions of TestHolds are tried.
func event() *Event {
	return &Event{
		Provider: "gmail", Operation: "history.list", Method: "GET", Protocol: "http",
		Status: 403, Type: "PERMISSION_DENIED", Codes: []string{"rateLimitExceeded", "Second"},
		Message: "User-rate limit exceeded.  Retry after 2026-11-22T10:00:00.000Z",
		Facts:   map[string]string{"doc": "usageLimits"},
		Network: "", RetryAfter: 90 * time.Second, Attempt: 3, Elapsed: 10 * time.Minute,
		Idempotent: true, Sent: true,
		Header: map[string][]string{"X-Request-Id": {"abc", "def"}, "Retry-After": {"90"}},
		Body:   `{"error": {"code": 403}}`,
	}
}

func TestHolds(t *testing.T) {
	tests := []struct {
		when string
		want bool
	}{
		{`true`, true},
		{`false`, false},
		{`status == 403`, true},
		{`status != 403`, false},
		{`403 == status`, true},
		{`status >= 400 and status < 500`, true},
		{`400 <= status < 500`, true},
		{`status in 400..499`, true},
		{`status in [404, 410]`, false},
		{`status not in [404, 410]`, true},
		{`status / 100 == 4.03`, true},
		{`int(status / 100) == 4`, true},
		{`status % 100 == 3`, true},
		{`provider == "gmail" && protocol == 'http' and method == "GET"`, true},
		{`operation startsWith "history." or operation endsWith ".get"`, true},
		{`"rateLimitExceeded" in codes`, true},
		{`"nope" in codes`, false},
		{`"nope" not in codes`, true},
		{`code == "rateLimitExceeded"`, true},
		{`codes[1] == "Second"`, true},
		{`codes[-1] == "Second"`, true},
		{`codes[5] == "Second"`, false},
		{`codes[5] != "Second"`, false},
		{`not (codes[5] == "Second")`, false},
		{`false and codes[5] == "x" or true`, true},
		{`codes[5] == "x" or true`, true}, // expr folds `x or true` before it runs
		{`codes[5] == "x" or status == 403`, false},
		{`status == 403 or codes[5] == "x"`, true},
		{`len(codes) == 2`, true},
		{`any(codes, # startsWith "rate")`, true},
		{`all(codes, len(#) > 5)`, true},
		{`none(codes, # == "x")`, true},
		{`one(codes, # == "Second")`, true},
		{`count(codes, # != "") == 2`, true},
		{`lower(message) contains "user-rate"`, true},
		{`message matches "(?i)USER.RATE"`, true},
		{`message not matches "x{3}"`, true},
		{`facts.doc == "usageLimits"`, true},
		{`facts["doc"] == "usageLimits"`, true},
		{`facts.none == ""`, true},
		{`facts?.none == ""`, true},
		{`network == ""`, true},
		{`retry_after == duration("90s")`, true},
		{`retry_after > duration("1m") and elapsed >= duration("10m")`, true},
		{`elapsed.Minutes() == 10`, true},
		{`elapsed * 2 == duration("20m")`, true},
		{`attempt < 5`, true},
		{`idempotent and sent`, true},
		{`idempotent == sent`, true},
		{`!idempotent`, false},
		{`header("x-request-id") == "abc"`, true},
		{`header("X-Nope") == ""`, true},
		{`int(header("retry-after")) == 90`, true},
		{`int(header("x-nope")) == 90`, false},
		{`body contains "403"`, true},
		{`fromJSON(body).error.code == 403`, true},
		{`idempotent ? status == 403 : status == 404`, true},
		{`(status == 403 ? type : message) == "PERMISSION_DENIED"`, true},
		{`if sent { status == 403 } else { false }`, true},
		{`let m = lower(message); m contains "user" and m contains "retry"`, true},
		{`codes == nil`, false},
		{`(code ?? "x") == "rateLimitExceeded"`, true},
		{`message | lower() contains "user"`, true},
	}
	for _, tt := range tests {
		t.Run(tt.when, func(t *testing.T) {
			s, err := Compile([]Rule{{When: tt.when}}, Options{Facts: []string{"doc", "none"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct {
				name  string
				match func(*Event) int
			}{{"Match", s.Match}, {"MatchLinear", s.MatchLinear}} {
				if got := f.match(event()) == 0; got != tt.want {
					t.Errorf("%s(%q) = %v, want %v", f.name, tt.when, got, tt.want)
				}
			}
		})
	}
}
