package classify

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// asked is what a server asked for.
type asked struct {
	wait        time.Duration // 0 = nothing
	from        string        // header that wait came from
	tooLong     time.Duration // longest that was ignored for being above maxHint
	tooLongFrom string
}

// take raises the wait to d unless d is too long to be believed.
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

// serverHint reads what a response's headers ask for; their names are canonical.
//
//   - Retry-After (RFC 9110, section 10.2.3): seconds, decimals (Microsoft
//     Graph has sent them), an HTTP-date, which is read against the response's
//     own Date so that clocks need not agree, or seconds since 1970. Of
//     several values the longest counts.
//   - retry-after-ms and x-ms-retry-after-ms (Azure) refine Retry-After: where
//     both say the same to the second the finer counts, else the longer.
//   - RateLimit (draft-ietf-httpapi-ratelimit-headers), RateLimit-Reset (its
//     older form), X-RateLimit-Reset, in this order, count only if the headers
//     above ask for nothing, and only if nothing remains or status is 429. The
//     resets are seconds from now, or seconds or milliseconds since 1970, by
//     magnitude.
//
// What is zero, past, negative or unreadable counts as absent. So does a wait
// above maxHint, which is kept apart.
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

// written is a canonical name as people write it.
func written(name string) string {
	switch name {
	case "Retry-After-Ms", "X-Ms-Retry-After-Ms":
		return strings.ToLower(name)
	case "Ratelimit", "Ratelimit-Reset", "X-Ratelimit-Reset":
		return strings.Replace(name, "Ratelimit", "RateLimit", 1)
	}
	return name
}

// longest is the longest wait that the values of a header ask for.
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

// nextValue splits the first value off a comma-separated list in which dates
// contain a comma after the day's name.
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

// rateLimit reads the headers that tell when a window starts anew.
type rateLimit struct {
	c         *clock
	t         *Trace
	a         *asked
	throttled bool // the status is 429
	beaten    bool // a header that wins has spoken; what follows is only traced
}

// read takes what one header says: the longest wait of what is exhausted or, for a
// 429 where nothing is, the longest of all.
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

// structured reads RateLimit in all forms that its drafts have had:
// `"default";r=0;t=30` (-08 and later, also with l=) and
// `limit=100, remaining=0, reset=30` (-07). Malformed, it is ignored whole, as
// the drafts demand.
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
	// members of the dictionary form
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

// reset reads a header with the time of the reset, whose sibling has what remains.
func (r *rateLimit) reset(name string, resets, remaining []string) {
	var exhausted, all time.Duration
	left := splitValues(remaining)
	values := splitValues(resets)
	for i, v := range values {
		d, _ := r.c.read(v, "")
		all = max(all, d)
		// Each reset has its own remainder, or one remainder is for all.
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

// isZero reports whether what remains is nothing: 0, 0.0, or negative, as
// servers send that let requests overshoot.
func isZero(s string) bool {
	if s, _, _ = strings.Cut(s, ";"); s == "" {
		return false
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return err == nil && n <= 0
}

// parseCount reads an integer that is not negative, of at most 15 digits as in
// RFC 9651, section 3.3.1.
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

// cutUnquoted cuts s at the first sep outside of quotes; ok is false where a
// quote does not close.
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
