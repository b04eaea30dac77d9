package classify

import (
	"math"
	"net/http"
	"strings"
	"time"
)

// maxHint is the longest wait that is believed. A longer one is likely to be a mistake.
const maxHint = 7 * 24 * time.Hour

// A number of at least epochSeconds is a point in time and not a length, since it would
// be 31 years. One of at least epochMillis counts milliseconds since 1970, since as
// seconds it would be in the year 5138.
const (
	epochSeconds = 1_000_000_000
	epochMillis  = 100_000_000_000
)

// The reasons why a value does not count, as a trace shows them.
const (
	whyUnreadable = "unreadable"
	whyPast       = "zero or past"
	whyTooLong    = "above 7 days"
	whyWhen       = "its `when` does not hold"
)

// clock turns points in time into waits. It prefers the server's clock, which is the
// response's Date header, since the caller's may be wrong.
type clock struct {
	now  time.Time // when the response arrived; zero = the current time
	date string    // the Date header

	known bool      // base is set
	base  time.Time // what at returns
}

// at returns the time at which the response was made.
func (c *clock) at() time.Time {
	if !c.known {
		c.known = true
		if c.date != "" {
			c.base, _ = parseTime(c.date)
		}
		if c.base.IsZero() {
			c.base = c.now
		}
		if c.base.IsZero() {
			c.base = time.Now()
		}
	}
	return c.base
}

// until returns the wait from the response to t, or 0 and the reason.
func (c *clock) until(t time.Time) (time.Duration, string) {
	return positive(t.Sub(c.at()))
}

func positive(d time.Duration) (time.Duration, string) {
	if d <= 0 {
		return 0, whyPast
	}
	return d, ""
}

// read returns the wait that s means. It reads s as `as` says ("s", "ms", "duration",
// "time" or "epoch"), or by its form if as is empty. If s means no wait, the result is 0
// and the reason. The wait may exceed maxHint; an overflow yields math.MaxInt64.
func (c *clock) read(s, as string) (time.Duration, string) {
	s = strings.TrimSpace(s)
	switch as {
	case "s":
		return c.number(s, time.Second)
	case "ms":
		return c.number(s, time.Millisecond)
	case "duration":
		if d, ok := parseDuration(s); ok {
			return positive(d)
		}
		return c.number(s, time.Second)
	case "time":
		if t, ok := parseTime(s); ok {
			return c.until(t)
		}
		return 0, whyUnreadable
	case "epoch":
		n, ok := parseDecimal(s)
		if !ok {
			return 0, whyUnreadable
		}
		return c.epoch(n)
	}
	if n, ok := parseDecimal(s); ok {
		return c.seconds(n)
	}
	if d, ok := parseDuration(s); ok {
		return positive(d)
	}
	if t, ok := parseTime(s); ok {
		return c.until(t)
	}
	return 0, whyUnreadable
}

// number reads a plain number of units. A number of seconds that is too large to be a
// length is read as a point in time.
func (c *clock) number(s string, unit time.Duration) (time.Duration, string) {
	n, ok := parseDecimal(s)
	if !ok {
		return 0, whyUnreadable
	}
	if unit == time.Second {
		return c.seconds(n)
	}
	return positive(n.times(unit))
}

func (c *clock) seconds(n decimal) (time.Duration, string) {
	if n.whole >= epochSeconds {
		return c.epoch(n)
	}
	return positive(n.times(time.Second))
}

// epoch reads n as seconds or milliseconds since 1970, by its magnitude.
func (c *clock) epoch(n decimal) (time.Duration, string) {
	if n.whole >= 1000*epochMillis {
		return math.MaxInt64, ""
	}
	if n.whole >= epochMillis {
		return c.until(time.UnixMilli(n.whole))
	}
	return c.until(time.Unix(n.whole, n.nanos))
}

// decimal is a non-negative number with nine decimal places. Further places are
// rounded up, so that no wait becomes shorter than asked for.
type decimal struct {
	whole int64 // math.MaxInt64 where it overflows
	nanos int64 // 0 to 999,999,999
}

// times returns n units, or math.MaxInt64 on overflow. unit is from 1 ms to 1 h; method
// of takes any.
func (n decimal) times(unit time.Duration) time.Duration {
	if n.whole > (math.MaxInt64-int64(unit))/int64(unit) {
		return math.MaxInt64
	}
	part := (n.nanos*int64(unit/time.Microsecond) + 999_999) / 1_000_000
	return time.Duration(n.whole)*unit + time.Duration(part)
}

// parseDecimal reads digits with an optional fraction, without sign and exponent.
func parseDecimal(s string) (n decimal, ok bool) {
	i := 0
	for ; i < len(s) && isDigit(s[i]); i++ {
		if n.whole > (math.MaxInt64-9)/10 {
			n.whole = math.MaxInt64
			continue
		}
		n.whole = n.whole*10 + int64(s[i]-'0')
	}
	if i == 0 {
		return decimal{}, false
	}
	if i == len(s) {
		return n, true
	}
	if s[i] != '.' {
		return decimal{}, false
	}
	frac := s[i+1:]
	scale, more := int64(100_000_000), false
	for j := 0; j < len(frac); j++ {
		if !isDigit(frac[j]) {
			return decimal{}, false
		}
		n.nanos += int64(frac[j]-'0') * scale
		more = more || scale == 0 && frac[j] != '0'
		scale /= 10
	}
	if more {
		n.nanos++
		if n.nanos == 1_000_000_000 && n.whole < math.MaxInt64 {
			n.whole, n.nanos = n.whole+1, 0
		}
	}
	return n, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// units are the units of time that servers write, in prose and elsewhere.
var units = [...]struct {
	name string
	unit time.Duration
}{
	{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"µs", time.Microsecond},
	{"ms", time.Millisecond}, {"msec", time.Millisecond}, {"msecs", time.Millisecond},
	{"millisecond", time.Millisecond}, {"milliseconds", time.Millisecond},
	{"s", time.Second}, {"sec", time.Second}, {"secs", time.Second}, {"second", time.Second}, {"seconds", time.Second},
	{"m", time.Minute}, {"min", time.Minute}, {"mins", time.Minute}, {"minute", time.Minute}, {"minutes", time.Minute},
	{"h", time.Hour}, {"hr", time.Hour}, {"hrs", time.Hour}, {"hour", time.Hour}, {"hours", time.Hour},
	{"d", 24 * time.Hour}, {"day", 24 * time.Hour}, {"days", 24 * time.Hour},
}

// parseDuration reads durations of Go and protobuf ("1m30s", "1.5s"), of ISO 8601
// ("PT30S") and of prose ("30 seconds", "1 hour 5 minutes"). Each number must have a
// unit. An overflow yields math.MaxInt64.
func parseDuration(s string) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 {
		return 0, false
	}
	if len(s) > 2 && (s[0] == 'P' || s[0] == 'p') {
		return parseISODuration(s[1:])
	}
	var sum time.Duration
	for s != "" {
		i := 0
		for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
			i++
		}
		n, ok := parseDecimal(s[:i])
		if !ok {
			return 0, false
		}
		s = strings.TrimLeft(s[i:], " ")
		i = 0
		for i < len(s) && !isDigit(s[i]) && s[i] != ' ' && s[i] != ',' {
			i++
		}
		unit := unitOf(s[:i])
		if unit == 0 {
			return 0, false
		}
		sum = add(sum, n.of(unit))
		s = strings.TrimLeft(s[i:], " ,")
		s = strings.TrimPrefix(s, "and ")
	}
	return sum, true
}

// parseISODuration reads what follows the P. It rejects years and months, which have no
// fixed length.
func parseISODuration(s string) (time.Duration, bool) {
	var sum time.Duration
	clockPart, any := false, false
	for s != "" {
		if s[0] == 'T' || s[0] == 't' {
			clockPart = true
			s = s[1:]
			continue
		}
		i := 0
		for i < len(s) && (isDigit(s[i]) || s[i] == '.') {
			i++
		}
		n, ok := parseDecimal(s[:i])
		if !ok || i == len(s) {
			return 0, false
		}
		var unit time.Duration
		switch c := s[i] | 0x20; {
		case c == 'd' && !clockPart:
			unit = 24 * time.Hour
		case c == 'w' && !clockPart:
			unit = 7 * 24 * time.Hour
		case c == 'h' && clockPart:
			unit = time.Hour
		case c == 'm' && clockPart:
			unit = time.Minute
		case c == 's' && clockPart:
			unit = time.Second
		default:
			return 0, false
		}
		sum, any = add(sum, n.of(unit)), true
		s = s[i+1:]
	}
	return sum, any
}

func unitOf(s string) time.Duration {
	s = strings.TrimSuffix(s, ".")
	for i := range units {
		if strings.EqualFold(units[i].name, s) {
			return units[i].unit
		}
	}
	return 0
}

// of returns n units, of any length, or math.MaxInt64 on overflow.
func (n decimal) of(unit time.Duration) time.Duration {
	switch {
	case unit > time.Hour: // days and weeks
		hours, k := n.times(time.Hour), unit/time.Hour
		if hours > math.MaxInt64/k {
			return math.MaxInt64
		}
		return hours * k
	case unit >= time.Millisecond:
		return n.times(unit)
	case n.whole > int64(math.MaxInt64/unit):
		return math.MaxInt64
	}
	return time.Duration(n.whole) * unit
}

// add returns a+b, or math.MaxInt64 on overflow. Neither may be negative.
func add(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// isoLayouts are the layouts of points in time that begin with a digit. Those without a
// zone are UTC.
var isoLayouts = [...]string{
	time.RFC3339Nano, // reads RFC 3339 with and without a fraction
	"2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999 MST",
	"2006-01-02T15:04:05.999999999Z0700",
	"2006-01-02T15:04Z07:00",
}

// parseTime reads a point in time. It knows RFC 3339 and its usual deviations, and the
// three forms of HTTP-date, of which RFC 9110, section 5.6.7, asks recipients to be
// robust: they may have "UTC" or an offset, letters of any case, and a day of one digit.
func parseTime(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if len(s) < len("2006-01-02T15:04") || len(s) > 64 {
		return time.Time{}, false
	}
	if isDigit(s[0]) {
		for _, layout := range isoLayouts {
			if t, err := time.Parse(layout, s); err == nil {
				if layout == isoLayouts[4] && t.Location() != time.UTC && !strings.HasSuffix(s, "GMT") {
					return time.Time{}, false // a zone of unknown offset
				}
				return t, true
			}
		}
		return time.Time{}, false
	}
	if t, ok := parseHTTPDate(s); ok {
		return t, true
	}
	s = strings.ToUpper(s) // package time reads names of days and months in any case, but not GMT
	if i := strings.Index(s, ", ") + 2; i >= 2 && i+1 < len(s) && isDigit(s[i]) && !isDigit(s[i+1]) {
		s = s[:i] + "0" + s[i:] // "Sun, 6 Nov 1994", "Sunday, 6-Nov-94"
	}
	if t, err := http.ParseTime(s); err == nil {
		return t, true
	}
	if strings.HasSuffix(s, " UTC") {
		if t, err := http.ParseTime(s[:len(s)-3] + "GMT"); err == nil {
			return t, true
		}
	}
	if t, err := time.Parse(time.RFC1123Z, s); err == nil {
		return t, true
	}
	return time.Time{}, false
}

// parseHTTPDate reads the one form of HTTP-date that servers send, "Sun, 06 Nov 1994
// 08:49:37 GMT", in a tenth of the time of [http.ParseTime]. ok is false for everything
// else, which may be a time in another form.
func parseHTTPDate(s string) (t time.Time, ok bool) {
	if len(s) != len(http.TimeFormat) || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' ||
		s[19] != ':' || s[22] != ':' || s[25:] != " GMT" {
		return t, false
	}
	const days, months = "SunMonTueWedThuFriSat", "JanFebMarAprMayJunJulAugSepOctNovDec"
	weekday, month := strings.Index(days, s[:3]), strings.Index(months, s[8:11])
	if weekday < 0 || weekday%3 != 0 || month < 0 || month%3 != 0 {
		return t, false
	}
	var n [5]int // day, year, hour, minute, second
	for i, at := range [...][2]int{{5, 7}, {12, 16}, {17, 19}, {20, 22}, {23, 25}} {
		for _, c := range []byte(s[at[0]:at[1]]) {
			if !isDigit(c) {
				return t, false
			}
			n[i] = 10*n[i] + int(c-'0')
		}
	}
	if n[2] > 23 || n[3] > 59 || n[4] > 59 {
		return t, false
	}
	t = time.Date(n[1], time.Month(month/3+1), n[0], n[2], n[3], n[4], 0, time.UTC)
	return t, t.Day() == n[0] // false for such as the 31st of a month of 30 days
}
