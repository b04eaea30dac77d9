package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/simulate"
)

// count writes a number with commas: 1,008.
func count(n int) string {
	if n < 0 {
		return "-" + count(-n)
	}
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return count(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

// times writes a count of things: "1 mailbox", "2 mailboxes".
func times(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// were returns "was" or "were", whichever goes with the count n.
func were(n int) string {
	if n == 1 || n == 0 {
		return "was"
	}
	return "were"
}

// decimal writes a number with as many digits as matter: 1,234 or 12.3 or 0.25.
func decimal(f float64) string {
	digits := 2
	switch a := math.Abs(f); {
	case a >= 100:
		return count(int(math.Round(f)))
	case a >= 10:
		digits = 1
	}
	s := strconv.FormatFloat(f, 'f', digits, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// duration writes a time in words: "0.35 s", "1 min 40 s", "2 h 5 min".
func duration(seconds float64) string {
	if seconds < 59.95 {
		return decimal(seconds) + " s"
	}
	whole := int(math.Round(seconds))
	big, small, bigUnit, smallUnit := whole/60, whole%60, "min", "s"
	if whole >= 3600 {
		big, small, bigUnit, smallUnit = whole/3600, whole%3600/60, "h", "min"
	}
	if small == 0 {
		return fmt.Sprintf("%d %s", big, bigUnit)
	}
	return fmt.Sprintf("%d %s %d %s", big, bigUnit, small, smallUnit)
}

// clock writes a time of the simulation: 5:00, or 1:05:00 after the first hour.
func clock(seconds float64) string {
	whole := int(math.Round(seconds))
	if whole >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", whole/3600, whole%3600/60, whole%60)
	}
	return fmt.Sprintf("%d:%02d", whole/60, whole%60)
}

// percent writes a fraction as a percentage.
func percent(part float64) string { return decimal(100*part) + " %" }

// list joins parts by commas and an "and".
func list(parts []string) string {
	if n := len(parts); n > 1 {
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
	return strings.Join(parts, "")
}

// labels returns the labels of the calls that were given up, the most frequent first.
func labels(failed map[string]int) []string {
	var labels []string
	for label, n := range failed {
		if n > 0 {
			labels = append(labels, label)
		}
	}
	slices.SortFunc(labels, func(a, b string) int {
		if d := failed[b] - failed[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return labels
}

// givenUp returns how many calls were given up.
func givenUp(t *simulate.Totals) (n int) {
	for _, f := range t.Failed {
		n += f
	}
	return n
}

// meaning says what a label means; "" for one that only a policy knows.
func meaning(label string) string {
	return map[string]string{
		engine.AsPermanent:     "a repeat cannot help",
		engine.AsNeedsUser:     "the user has to sign in or to act",
		engine.AsResync:        "the sync state is lost, and a full sync has to follow",
		engine.AsAmbiguous:     "nobody knows whether it was carried out",
		engine.AsExhausted:     "all attempts were used up",
		engine.AsBudget:        "too many calls were being repeated",
		engine.AsDeadline:      "it ran out of time",
		engine.AsUnavailable:   "the circuit breaker was open",
		engine.AsCanceled:      "the caller gave up",
		engine.AsMisconfigured: "the policy or the provider was not there",
		"gone":                 "what it asked for is no longer there",
		"conflict":             "somebody else had changed it",
		"denied":               "this user may not do it",
	}[label]
}
