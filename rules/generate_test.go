package rules

import (
	"fmt"
	"strings"
	"time"
)

// chooser makes the choices of the generators below: rapid's generator in the
// property test, the fuzzer's bytes in the fuzz test.
type chooser interface {
	choose(n int) int // 0 <= result < n
}

func pick[T any](c chooser, from []T) T { return from[c.choose(len(from))] }

// Small pools, so that rules and events meet often.
var (
	textFacts = []string{"provider", "operation", "method", "protocol", "imap_status", "type", "code", "network", "message", "body",
		"facts.a", "facts.b", `facts["a"]`, "facts?.b", `header("X-A")`, `header("x-b")`}
	intFacts      = []string{"status", "attempt"}
	durationFacts = []string{"retry_after", "elapsed"}
	boolFacts     = []string{"idempotent", "sent"}
	texts         = []string{"", "a", "A", "b", "ab", "GET", "http", "rateLimitExceeded", "É", "é", "İ", "i", "K", "k", "x y", "5", "-3", "\xff", "  a ",
		"Quota exceeded for quota metric 'Queries'", "Rate Limit exceeded", "rate-limit", "quota", "exceeded", "sKIP this", "ſkip", "ſKip", "try again later",
		"TRY AGAIN LATER", "again", "limit"}
	ints      = []int{-1, 0, 1, 2, 3, 200, 400, 403, 404, 429, 499, 500, 503, 599}
	durations = []string{"0s", "1s", "90s", "10m", "-1s", "1h"}
	patterns  = []string{"a", "^a", "(?i)quota", `\d+`, "^$", "É|k", "b$", `(?s).*`, `[^a]`,
		"(?i)rate.?limit|quota exceeded", "(?i)keep|skip", "^(a|ab|quota)", "(?i)^quota", "exceeded$", "(?i)[sk]kip", "metric '(Queries|Others)'", "(?i:rate) limit",
		"(?i)(rate|quota)[- ]?(limit|exceeded)", "(?i)^(try|skip) again later$", "quota|limit", "(?i)try (again )?later", "(a|b)+exceeded|x*quota", "(?i)skip", "skip"}
)

func literal(c chooser) string { return fmt.Sprintf("%q", pick(c, texts)) } // expr reads Go's escapes

// randomCondition writes a random condition of about the given depth.
func randomCondition(c chooser, depth int) string {
	if depth <= 0 {
		return atom(c)
	}
	sub := func() string { return randomCondition(c, depth-1) }
	switch c.choose(14) {
	case 0, 1, 2, 3:
		return sub() + pick(c, []string{" and ", " && "}) + sub()
	case 4, 5, 6:
		return "(" + sub() + pick(c, []string{" or ", " || "}) + sub() + ")"
	case 7:
		return "not (" + sub() + ")"
	case 8:
		return "!(" + sub() + ")"
	case 9:
		return "(" + sub() + " ? " + sub() + " : " + sub() + ")"
	case 10:
		return "(if " + sub() + " { " + sub() + " } else { " + sub() + " })"
	case 11:
		return "((" + sub() + ") " + pick(c, []string{"==", "!="}) + " (" + sub() + "))"
	case 12:
		name := fmt.Sprintf("v%d", depth)
		switch c.choose(3) {
		case 0:
			return fmt.Sprintf("(let %s = %s; %s == %s and %s)", name, text(c, 1, ""), name, literal(c), sub())
		case 1:
			return fmt.Sprintf("(let %s = %s; %s > %s or %s)", name, number(c, 1), name, number(c, 0), sub())
		default:
			return fmt.Sprintf("(let %s = %s; %s or %s)", name, sub(), name, sub())
		}
	}
	return atom(c)
}

func atom(c chooser) string { return atomOver(c, "") }

// atomOver writes a condition without and, or, not; it is # where that exists.
func atomOver(c chooser, it string) string {
	compare := []string{"==", "!=", "<", "<=", ">", ">="}
	search := []string{"contains", "startsWith", "endsWith", "not contains", "not startsWith", "not endsWith"}
	if it == "" && c.choose(4) > 0 {
		return plainAtom(c) // what packs are made of
	}
	switch c.choose(20) {
	case 0:
		return text(c, 1, it) + " " + pick(c, compare) + " " + text(c, 1, it)
	case 1:
		return literal(c) + " " + pick(c, compare) + " " + text(c, 1, it)
	case 2:
		return text(c, 1, it) + " " + pick(c, search) + " " + text(c, 0, it)
	case 3:
		return text(c, 1, it) + " " + pick(c, search) + " " + literal(c)
	case 4:
		return "lower(" + text(c, 1, it) + ") " + pick(c, []string{"==", "!=", "contains", "startsWith", "endsWith", "<"}) + " " + literal(c)
	case 5:
		return "lower(" + text(c, 1, it) + ") in [" + literal(c) + ", " + literal(c) + "]"
	case 6:
		return text(c, 1, it) + pick(c, []string{" matches ", " not matches "}) + "`" + pick(c, patterns) + "`"
	case 7:
		return "lower(" + text(c, 1, it) + ") matches `" + pick(c, patterns) + "`"
	case 8:
		return number(c, 2) + " " + pick(c, compare) + " " + number(c, 2)
	case 9:
		return duration(c) + " " + pick(c, compare) + " " + duration(c)
	case 10:
		return text(c, 1, it) + pick(c, []string{" in", " not in"}) + " codes"
	case 11:
		return pick(c, boolFacts) + pick(c, []string{" == ", " != "}) + pick(c, append([]string{"true", "false"}, boolFacts...))
	case 12:
		return fmt.Sprintf("%s(%s, %s)", pick(c, []string{"hasPrefix", "hasSuffix"}), text(c, 0, it), literal(c))
	case 13:
		return text(c, 0, it) + " in [" + literal(c) + ", " + text(c, 0, it) + "]"
	case 14: // for expr's VM
		return pick(c, []string{
			"status / 100 == 4.04", "int(status / 100) == 4", "first(codes) == \"a\"", "last(codes) != \"b\"", "find(codes, # == \"a\") == \"a\"",
			"len(filter(codes, # == \"b\")) > 0", "\"a\" in map(codes, lower(#))", "codes == [\"a\"]", "codes != nil", "upper(code) == \"A\"",
			"elapsed.Seconds() > 1.5", "split(message, \" \")[1] == \"y\"", "(code ?? \"z\") == \"a\"", "findIndex(codes, # == \"b\") == 1",
			"fromJSON(body).error.code == 403", "fromJSON(body)?.error?.code == 403", "status > 403.5", "float(status) == 404", "codes[attempt] == \"a\"",
			"message[0:1] == \"a\"", "any(split(message, \" \"), # == \"x\")", "string(status) == \"404\"", "max(status, attempt) > 404",
			"any(codes, {let l = lower(#); l == \"a\"})", "{\"a\": 1}[code] == 1", "code in {\"a\": 1, \"b\": 2}", "join(codes, \",\") == \"a,b\"",
			"any(1..3, # == attempt)", "all(codes, #index < 2)", "trimPrefix(code, \"a\") == \"b\"", "type in [1, \"a\"]", "codes[0:1] == codes",
		})
	case 15:
		if it == "" {
			return fmt.Sprintf("%s(codes, %s)", pick(c, []string{"any", "all", "none", "one"}), predicate(c))
		}
	case 16:
		if it == "" {
			return fmt.Sprintf("%s(codes, %s) %s %s(codes, %s)", pick(c, []string{"any", "all", "none"}), predicate(c),
				pick(c, []string{"and", "or"}), pick(c, []string{"any", "all", "none"}), predicate(c))
		}
	case 17:
		if it == "" {
			return fmt.Sprintf("count(codes, %s) %s %d", predicate(c), pick(c, compare), c.choose(4))
		}
	case 18:
		return fmt.Sprintf("%d %s %s %s %d", pick(c, ints), pick(c, []string{"<", "<="}), pick(c, intFacts), pick(c, []string{"<", "<=", ">"}), pick(c, ints))
	}
	return plainAtom(c)
}

// plainAtom writes a condition as real policies hold them.
func plainAtom(c chooser) string {
	switch c.choose(15) {
	case 12:
		return fmt.Sprintf("%s matches `%s`", pick(c, textFacts), pick(c, patterns))
	case 13:
		return fmt.Sprintf("message matches `%s`", pick(c, patterns))
	case 14:
		return fmt.Sprintf("%s contains %s", pick(c, textFacts), literal(c))
	case 0, 1:
		return fmt.Sprintf("%s %s %d", pick(c, intFacts), pick(c, []string{"==", "==", "==", "!=", "<", "<=", ">", ">="}), pick(c, ints))
	case 2:
		return fmt.Sprintf("status %s [%d, %d, %d]", pick(c, []string{"in", "not in"}), pick(c, ints), pick(c, ints), pick(c, ints))
	case 3:
		lo := pick(c, ints)
		return fmt.Sprintf("status %s %d..%d", pick(c, []string{"in", "not in"}), lo, lo+c.choose(200))
	case 4, 5:
		return fmt.Sprintf("%s %s %s", pick(c, textFacts), pick(c, []string{"==", "==", "!="}), literal(c))
	case 6:
		return fmt.Sprintf("%s %s [%s, %s]", pick(c, textFacts), pick(c, []string{"in", "not in"}), literal(c), literal(c))
	case 7, 8:
		return fmt.Sprintf("%s %s codes", literal(c), pick(c, []string{"in", "in", "not in"}))
	case 9:
		return pick(c, boolFacts)
	case 10:
		return fmt.Sprintf("%s %s duration(%q)", pick(c, durationFacts), pick(c, []string{"==", "!=", "<", "<=", ">", ">="}), pick(c, durations))
	}
	return fmt.Sprintf("any(codes, # %s %s)", pick(c, []string{"==", "!=", "in ['a', 'b'] or # =="}), literal(c))
}

func predicate(c chooser) string {
	p := atomOver(c, "#")
	switch c.choose(4) {
	case 0:
		return p + " and " + atomOver(c, "#")
	case 1:
		return "not (" + p + ")"
	}
	return p
}

func text(c chooser, depth int, it string) string {
	if it != "" && c.choose(2) == 0 {
		return it
	}
	if depth > 0 {
		switch c.choose(10) {
		case 0:
			return fmt.Sprintf("codes[%d]", c.choose(4)-2)
		case 1:
			return "trim(" + text(c, 0, it) + ")"
		case 2:
			return fmt.Sprintf("(%s ? %s : %s)", plainAtom(c), text(c, 0, it), text(c, 0, it))
		case 3:
			return "lower(" + text(c, 0, it) + ")"
		case 4:
			return "(" + text(c, 0, it) + " + " + literal(c) + ")"
		}
	}
	return pick(c, textFacts)
}

func number(c chooser, depth int) string {
	if depth > 0 {
		switch c.choose(12) {
		case 0:
			return fmt.Sprintf("(%s %s %s)", number(c, depth-1), pick(c, []string{"+", "-", "*", "%"}), number(c, depth-1))
		case 1:
			return "len(codes)"
		case 2:
			return "len(" + text(c, 1, "") + ")"
		case 3:
			return "int(" + text(c, 1, "") + ")"
		case 4:
			return "indexOf(" + text(c, 0, "") + ", " + literal(c) + ")"
		case 5:
			return fmt.Sprintf("(%s ? %s : %s)", plainAtom(c), number(c, depth-1), number(c, depth-1))
		case 6:
			return "count(codes, # != " + literal(c) + ")"
		case 7:
			return "-" + pick(c, intFacts)
		}
	}
	if c.choose(2) == 0 {
		return fmt.Sprint(pick(c, ints))
	}
	return pick(c, intFacts)
}

func duration(c chooser) string {
	switch c.choose(5) {
	case 0:
		return fmt.Sprintf("duration(%q)", pick(c, durations))
	case 1:
		return "(" + pick(c, durationFacts) + pick(c, []string{" + ", " - "}) + pick(c, durationFacts) + ")"
	case 2:
		return "(" + pick(c, durationFacts) + " * " + pick(c, []string{"2", "attempt", "status"}) + ")"
	}
	return pick(c, durationFacts)
}

// randomEvent fills an event from the same pools.
func randomEvent(c chooser) *Event {
	e := &Event{
		Provider: pick(c, texts), Operation: pick(c, texts), Method: pick(c, texts), Protocol: pick(c, texts), IMAPStatus: pick(c, texts),
		Type: pick(c, texts), Message: pick(c, texts) + pick(c, texts) + pick(c, texts), Network: pick(c, texts),
		Body:   pick(c, append([]string{`{"error":{"code":403}}`, `{"error":3}`, `[`}, texts...)),
		Status: pick(c, ints), Attempt: pick(c, ints[:5]), Idempotent: c.choose(2) == 0, Sent: c.choose(2) == 0,
	}
	e.RetryAfter, _ = time.ParseDuration(pick(c, durations))
	e.Elapsed, _ = time.ParseDuration(pick(c, durations))
	for range c.choose(4) {
		e.Codes = append(e.Codes, pick(c, texts))
	}
	if c.choose(2) == 0 {
		e.Facts = map[string]string{"a": pick(c, texts)}
	}
	if c.choose(2) == 0 {
		e.Header = map[string][]string{"X-A": {pick(c, texts), "z"}, "X-B": {}}
	}
	return e
}

// ruleSet writes random rules, of the odd kind that may fail or be refused, and
// of the plain kind that the index lives on.
func ruleSet(c chooser, most int) []Rule {
	var rules []Rule
	for i := range 1 + c.choose(most) {
		rules = append(rules, Rule{Name: fmt.Sprint("r", i), When: randomCondition(c, c.choose(4))})
	}
	return rules
}

// bytesChooser chooses by the bytes of a fuzzer; 0 when they have run out.
type bytesChooser struct{ data []byte }

func (b *bytesChooser) choose(n int) int {
	if len(b.data) == 0 {
		return 0
	}
	v := int(b.data[0])
	b.data = b.data[1:]
	return v % n
}

func describe(rules []Rule) string {
	var b strings.Builder
	for i, r := range rules {
		fmt.Fprintf(&b, "  %d: %s\n", i, r.When)
	}
	return b.String()
}
