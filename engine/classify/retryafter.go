package classify

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// asked is the wait that a server asked for.
type asked struct {
	wait        time.Duration // 0 = none
	from        string        // the header that asked for wait
	tooLong     time.Duration // the longest wait that was ignored because it is above maxHint
	tooLongFrom string        // where tooLong was found
}

// take raises the wait to d, unless d is above maxHint.
func (a *asked) take(d time.Duration) {
	if d <= maxHint && d > a.wait {
		a.wait = d
	}
}

func note(d time.Duration, why string) string {
	if d > maxHint {
		return whyTooLong
	}
	return why
}

// serverHint reads the wait that a response's headers ask for. The names in h must be
// canonical.
//
//   - Retry-After (RFC 9110, section 10.2.3) is a number of seconds, which may have a
//     fraction (Microsoft Graph has sent such), or an HTTP-date, which is compared with
//     the response's own Date so that clocks need not agree, or seconds since 1970. Of
//     several values the longest counts.
//   - retry-after-ms and x-ms-retry-after-ms (Azure) refine Retry-After: if they differ
//     from it by a second at most, they count; otherwise the longer wait does.
//   - RateLimit (draft-ietf-httpapi-ratelimit-headers), RateLimit-Reset (its older form)
//     and X-RateLimit-Reset, in this order, count only if the headers above ask for
//     nothing, and only if nothing remains or the status is 429. A reset is seconds from
//     now, or seconds or milliseconds since 1970, by its magnitude.
//
// A value that is zero, past, negative or unreadable counts as absent. So does a wait
// above maxHint, which is reported as tooLong.
func serverHint(h map[string][]string, status int, c *clock, t *Trace) asked {
	var a asked
	if len(h) == 0 {
		return a
	}
	ms := a.longest(h, "Retry-After-Ms", "ms", c, t)
	ms = max(ms, a.longest(h, "X-Ms-Retry-After-Ms", "ms", c, t))
	s := a.longest(h, "Retry-After", "", c, t)
	switch {
	case ms > 0 && (s == 0 || (ms-s).Abs() <= time.Second || ms > s):
		a.wait, a.from = ms, "retry-after-ms"
		if len(h["Retry-After-Ms"]) == 0 {
			a.from = "x-ms-retry-after-ms"
		}
	case s > 0:
		a.wait, a.from = s, "Retry-After"
	}
	if a.wait > 0 && t == nil {
		return a
	}
	limits := rateLimit{c: c, t: t, a: &a, throttled: status == http.StatusTooManyRequests, beaten: a.wait > 0}
	limits.structured(h["Ratelimit"])
	for _, name := range [...][2]string{
		{"Ratelimit-Reset", "Ratelimit-Remaining"},
		{"Rate-Limit-Reset", "Rate-Limit-Remaining"},
		{"X-Ratelimit-Reset", "X-Ratelimit-Remaining"},
		{"X-Rate-Limit-Reset", "X-Rate-Limit-Remaining"},
	} {
		if v := h[name[0]]; len(v) > 0 {
			limits.reset(name[0], v, h[name[1]])
		}
	}
	return a
}

// written returns a canonical header name as people usually write it.
func written(name string) string {
	switch name {
	case "Retry-After-Ms", "X-Ms-Retry-After-Ms":
		return strings.ToLower(name)
	case "Ratelimit", "Ratelimit-Reset", "X-Ratelimit-Reset":
		return strings.Replace(name, "Ratelimit", "RateLimit", 1)
	}
	return name
}

// longest returns the longest wait, up to maxHint, that the values of a header ask for.
func (a *asked) longest(h map[string][]string, name, as string, c *clock, t *Trace) time.Duration {
	var longest time.Duration
	read := 0
	for _, v := range h[name] {
		for v != "" && read < maxValues {
			read++
			var one string
			one, v = nextValue(v)
			if one == "" {
				continue
			}
			d, why := c.read(one, as)
			if d > maxHint {
				a.ignore(d, name)
			} else {
				longest = max(longest, d)
			}
			if t != nil {
				t.add("retry_after", "header "+written(name), one, note(d, why))
			}
		}
	}
	return longest
}

func (a *asked) ignore(d time.Duration, name string) {
	if d > a.tooLong {
		a.tooLong, a.tooLongFrom = d, "header "+written(name)
	}
}

// nextValue splits the first value off a comma-separated list. A date in the list has a
// comma of its own, after the name of the day.
func nextValue(s string) (first, rest string) {
	i := strings.IndexByte(s, ',')
	if i < 0 {
		return strings.TrimSpace(s), ""
	}
	if isDay(strings.TrimSpace(s[:i])) {
		if j := strings.IndexByte(s[i+1:], ','); j >= 0 {
			i += 1 + j
		} else {
			return strings.TrimSpace(s), ""
		}
	}
	return strings.TrimSpace(s[:i]), s[i+1:]
}

func isDay(s string) bool {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := d.String(); len(s) >= 3 && (strings.EqualFold(s, name) || strings.EqualFold(s, name[:3])) {
			return true
		}
	}
	return false
}

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

// structured reads the header RateLimit in each form that its drafts have had:
// `"default";r=0;t=30` (-08 and later, also with l=) and
// `limit=100, remaining=0, reset=30` (-07). As the drafts demand, a malformed header is
// ignored as a whole.
func (r *rateLimit) structured(lines []string) {
	if len(lines) == 0 {
		return
	}
	const name = "Ratelimit"
	value := lines[0]
	if len(lines) > 1 {
		value = strings.Join(lines, ",")
	}
	var exhausted, all time.Duration
	// of the form of -07
	remaining, reset := int64(-1), int64(-1)
	ok := len(value) <= 4096
	for s := value; ok && s != ""; {
		var item string
		item, s, ok = cutUnquoted(s, ',')
		if !ok || strings.TrimSpace(item) == "" {
			ok = false
			break
		}
		var head string
		head, item, ok = cutUnquoted(item, ';')
		head = strings.TrimSpace(head)
		if k, v, found := strings.Cut(head, "="); ok && found && k != "" && k[0] != '"' {
			n, err := parseCount(v)
			switch strings.ToLower(strings.TrimSpace(k)) {
			case "remaining":
				remaining, ok = n, err
			case "reset":
				reset, ok = n, err
			}
			continue
		}
		if !ok || !isItem(head) {
			ok = false
			break
		}
		left, t := int64(-1), int64(-1)
		for ok && item != "" {
			var param string
			param, item, ok = cutUnquoted(item, ';')
			if !ok {
				break
			}
			k, v, _ := strings.Cut(strings.TrimSpace(param), "=")
			switch k {
			case "":
				ok = false
			case "r":
				left, ok = parseCount(v)
			case "t":
				t, ok = parseCount(v)
			}
		}
		if !ok {
			break
		}
		if t > 0 {
			d := decimal{whole: t}.times(time.Second)
			all = max(all, d)
			if left == 0 {
				exhausted = max(exhausted, d)
			}
		}
	}
	if !ok {
		if r.t != nil {
			r.t.add("retry_after", "header "+written(name), value, whyUnreadable)
		}
		return
	}
	if reset > 0 {
		d := decimal{whole: reset}.times(time.Second)
		all = max(all, d)
		if remaining == 0 {
			exhausted = max(exhausted, d)
		}
	}
	r.read(name, value, exhausted, all)
}

// reset reads a header that has the time of the reset. remaining are the values of the
// header beside it that says what remains.
func (r *rateLimit) reset(name string, resets, remaining []string) {
	var exhausted, all time.Duration
	left := splitValues(remaining)
	values := splitValues(resets)
	for i, v := range values {
		d, _ := r.c.read(v, "")
		all = max(all, d)
		// If there are as many remainders as resets, they belong together one by one.
		// Otherwise each remainder is for all resets.
		if len(left) == len(values) {
			if isZero(left[i]) {
				exhausted = max(exhausted, d)
			}
			continue
		}
		for _, l := range left {
			if isZero(l) {
				exhausted = max(exhausted, d)
			}
		}
	}
	r.read(name, strings.Join(resets, ", "), exhausted, all)
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
