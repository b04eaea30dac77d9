package classify

import (
	"time"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Learned is what a response says about a limit, in units of the limit.
type Learned struct {
	Remaining int64         // units that are left
	Reset     time.Duration // time until the limit is reset; 0 = the response does not say
	Limit     int64         // the whole limit; 0 = the response does not say
}

// Learn reads what a response says about the limit, as the limit's `learn` describes it. The
// event has the response's Status and Header and the request's Operation and Method. ok is
// false if the response does not say how much remains, or if the policy names a reset and
// the response has none within the next 7 days. now is when the response arrived; it is
// used only if the response has no Date. The zero time means the current time.
func Learn(limit *policy.Limit, e *rules.Event, now time.Time) (_ Learned, ok bool) {
	l := limit.Learn
	if l == nil || len(e.Header) == 0 || l.Holds != nil && l.Holds.Match(e) != 0 {
		return Learned{}, false
	}
	r := extract.NewReply()
	defer r.Free()
	r.Header = canonical(e.Header)
	var v Learned
	remaining, ok := learnedNumber(l.Remaining, r, e)
	if !ok {
		return Learned{}, false
	}
	v.Remaining = timesUnit(remaining, l.Unit)
	if len(l.Reset) > 0 {
		c := clock{now: now, date: get(r.Header, "Date")}
		for i := range l.Reset {
			if s := learnedText(&l.Reset[i], r, e); s != "" {
				v.Reset, _ = c.read(s, l.Reset[i].As)
				break
			}
		}
		if v.Reset <= 0 || v.Reset > maxHint {
			return Learned{}, false
		}
	}
	if limit, ok := learnedNumber(l.Limit, r, e); ok {
		v.Limit = timesUnit(limit, l.Unit)
	}
	return v, true
}

// mostUnits caps numbers of units. It is more than any limit has, and small enough that
// sums of such numbers do not overflow.
const mostUnits = 1 << 53

func timesUnit(n, unit int64) int64 {
	if unit > 1 && n > mostUnits/unit {
		return mostUnits
	}
	return min(n*max(unit, 1), mostUnits)
}

// learnedNumber returns the first number that one of the extractors yields.
func learnedNumber(xs []extract.Extractor, r *extract.Reply, e *rules.Event) (int64, bool) {
	for i := range xs {
		if s := learnedText(&xs[i], r, e); s != "" {
			if n, ok := parseDecimal(s); ok {
				return min(n.whole, mostUnits), true
			}
		}
	}
	return 0, false
}

// learnedText returns what an extractor yields from the first value of its header, or "".
func learnedText(x *extract.Extractor, r *extract.Reply, e *rules.Event) string {
	if !x.Applies(e) {
		return ""
	}
	return x.First(r)
}
