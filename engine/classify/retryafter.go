package classify

import (
	"net/http"
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
