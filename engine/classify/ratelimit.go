package classify

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// The headers RateLimit, RateLimit-Reset and X-RateLimit-Reset, which say when a limit is reset:
// see serverHint.

// rateLimit reads the headers that say when a limit is reset.
type rateLimit struct {
	c         *clock
	t         *Trace
	a         *asked
	throttled bool // the status is 429
	beaten    bool // a header of higher rank has asked for a wait; the others are only traced
}

// read uses what one header says. exhausted is the longest wait of the limits of which
// nothing remains, and all the longest wait of all limits. The latter counts for a 429
// of which no limit is exhausted.
func (r *rateLimit) read(name, value string, exhausted, all time.Duration) {
	d := exhausted
	if d == 0 && r.throttled {
		d = all
	}
	var why string
	switch {
	case all == 0:
		why = whyPast
	case d == 0:
		why = "something remains"
	case d > maxHint:
		why = whyTooLong
		r.a.ignore(d, name)
	case r.beaten:
		why = "another header wins"
	default:
		r.a.wait, r.a.from = d, written(name)
		r.beaten = true
	}
	if r.t != nil {
		r.t.add("retry_after", "header "+written(name), value, why)
	}
}

// rateLimitHeader is the header RateLimit in each form that its drafts have had:
// `"default";r=0;t=30` (-08 and later, also with l=) and
// `limit=100, remaining=0, reset=30` (-07).
const rateLimitHeader = "Ratelimit"

// structured reads the header RateLimit. As the drafts demand, a malformed header is ignored as
// a whole.
func (r *rateLimit) structured(lines []string) {
	if len(lines) == 0 {
		return
	}
	value := lines[0]
	if len(lines) > 1 {
		value = strings.Join(lines, ",")
	}
	var waits resetWaits
	if !waits.read(value) {
		if r.t != nil {
			r.t.add("retry_after", "header "+written(rateLimitHeader), value, whyUnreadable)
		}
		return
	}
	r.read(rateLimitHeader, value, waits.exhausted, waits.all)
}

// resetWaits are the waits until limits are reset.
type resetWaits struct {
	exhausted time.Duration // the longest of the limits of which nothing remains
	all       time.Duration // the longest of all
}

// add adds a limit that is reset after some seconds, and of which remaining requests are left.
// Both are -1 if they are not known.
func (w *resetWaits) add(seconds, remaining int64) {
	if seconds <= 0 {
		return
	}
	wait := decimal{whole: seconds}.times(time.Second)
	w.all = max(w.all, wait)
	if remaining == 0 {
		w.exhausted = max(w.exhausted, wait)
	}
}

// read reads the value of the header RateLimit, and reports whether it is well formed.
func (w *resetWaits) read(value string) bool {
	if len(value) > 4096 {
		return false
	}
	remaining, reset := int64(-1), int64(-1) // of the form of -07
	for value != "" {
		var item string
		var ok bool
		if item, value, ok = cutUnquoted(value, ','); !ok || strings.TrimSpace(item) == "" {
			return false
		}
		head, params, ok := cutUnquoted(item, ';')
		head = strings.TrimSpace(head)
		if !ok {
			return false
		}
		if key, number, found := strings.Cut(head, "="); found && key != "" && key[0] != '"' {
			switch strings.ToLower(strings.TrimSpace(key)) {
			case "remaining":
				remaining, ok = parseCount(number)
			case "reset":
				reset, ok = parseCount(number)
			}
		} else {
			ok = isItem(head) && w.readParams(params)
		}
		if !ok {
			return false
		}
	}
	w.add(reset, remaining)
	return true
}

// readParams reads the parameters of one limit, in the form of -08, and reports whether they are
// well formed.
func (w *resetWaits) readParams(params string) bool {
	remaining, reset := int64(-1), int64(-1)
	for params != "" {
		var param string
		var ok bool
		if param, params, ok = cutUnquoted(params, ';'); !ok {
			return false
		}
		key, number, _ := strings.Cut(strings.TrimSpace(param), "=")
		switch key {
		case "":
			ok = false
		case "r":
			remaining, ok = parseCount(number)
		case "t":
			reset, ok = parseCount(number)
		}
		if !ok {
			return false
		}
	}
	w.add(reset, remaining)
	return true
}

// reset reads a header that has the time of the reset. remaining are the values of the
// header beside it that says what remains.
func (r *rateLimit) reset(name string, resets, remaining []string) {
	var waits resetWaits
	left := splitValues(remaining)
	values := splitValues(resets)
	for i, v := range values {
		wait, _ := r.c.read(v, "")
		waits.all = max(waits.all, wait)
		// If there are as many remainders as resets, they belong together one by one.
		// Otherwise each remainder is for all resets.
		of := left
		if len(left) == len(values) {
			of = left[i : i+1]
		}
		if slices.ContainsFunc(of, isZero) {
			waits.exhausted = max(waits.exhausted, wait)
		}
	}
	r.read(name, strings.Join(resets, ", "), waits.exhausted, waits.all)
}

func splitValues(lines []string) []string {
	var out []string
	for _, s := range lines {
		for s != "" && len(out) < maxValues {
			var one string
			if one, s = nextValue(s); one != "" {
				out = append(out, one)
			}
		}
	}
	return out
}

// isZero reports whether nothing remains: s is 0, 0.0 or negative. Servers that let
// requests exceed a limit send negative numbers.
func isZero(s string) bool {
	if s, _, _ = strings.Cut(s, ";"); s == "" {
		return false
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil && n <= 0
}

// parseCount reads a non-negative integer of at most 15 digits (RFC 9651, section 3.3.1).
func parseCount(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if len(s) == 0 || len(s) > 15 {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// isItem reports whether s is a quoted string or a token (RFC 9651, sections 3.3.3 and 3.3.4).
func isItem(s string) bool {
	if len(s) >= 2 && s[0] == '"' {
		return s[len(s)-1] == '"'
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// cutUnquoted cuts s at the first sep outside quotes. ok is false if a quote does not
// close.
func cutUnquoted(s string, sep byte) (before, after string, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", !quoted
}
