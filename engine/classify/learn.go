package classify

import (
	"net/http"
	"strings"
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Learned is what a response says of a limit.
type Learned struct {
	Remaining int64         // units that are left
	Reset     time.Duration // until the limit begins anew; 0 = it does not say
	Limit     int64         // the limit in all; 0 = it does not say
}

// Learn reads what a response says of a limit, by the limit's `learn`. The event has the
// response's Status and Header and the request's Operation and Method. ok is false if the
// response lacks the number of what is left, or if the policy names a reset and the
// response has none within the next 7 days. now is when the response came; the zero time
// is the current time.
func Learn(l *policy.Learn, e *rules.Event, now time.Time) (_ Learned, ok bool) {
	if len(e.Header) == 0 || l.Holds != nil && l.Holds.Match(e) != 0 {
		return Learned{}, false
	}
	h := canonical(e.Header)
	var v Learned
	remaining, ok := learnedNumber(l.Remaining, h, e)
	if !ok {
		return Learned{}, false
	}
	v.Remaining = timesUnit(remaining, l.Unit)
	if len(l.Reset) > 0 {
		c := clock{now: now, date: get(h, "Date")}
		for i := range l.Reset {
			if s := learnedText(&l.Reset[i], h, e); s != "" {
				v.Reset, _ = c.read(s, l.Reset[i].As)
				break
			}
		}
		if v.Reset <= 0 || v.Reset > maxHint {
			return Learned{}, false
		}
	}
	if limit, ok := learnedNumber(l.Limit, h, e); ok {
		v.Limit = timesUnit(limit, l.Unit)
	}
	return v, true
}

// mostUnits is more than any limit has, and can be counted with.
const mostUnits = 1 << 53

func timesUnit(n, unit int64) int64 {
	if unit > 1 && n > mostUnits/unit {
		return mostUnits
	}
	return min(n*max(unit, 1), mostUnits)
}

// learnedNumber is the first number that one of the extractors yields.
func learnedNumber(xs []policy.Extractor, h map[string][]string, e *rules.Event) (int64, bool) {
	for i := range xs {
		if s := learnedText(&xs[i], h, e); s != "" {
			if n, ok := parseDecimal(s); ok {
				return min(n.whole, mostUnits), true
			}
		}
	}
	return 0, false
}

// learnedText is what an extractor yields of the first value of its header.
func learnedText(x *policy.Extractor, h map[string][]string, e *rules.Event) string {
	if x.Holds != nil && x.Holds.Match(e) != 0 {
		return ""
	}
	s := strings.TrimSpace(capText(get(h, http.CanonicalHeaderKey(x.Path)), maxHeader))
	if s != "" && x.Text != nil {
		s = match(x.Text, s)
	}
	return s
}
