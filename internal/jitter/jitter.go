// Package jitter names the ways in which chance spreads the delays of a backoff.
package jitter

import (
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/units"
)

// Kind is one way: a name below, a time that is added ("+1s"), or a share of the delay ("25%").
type Kind string

// The kinds that have a name. With d the capped delay and u a random number in [0,1):
// none = d; equal = d/2 + u·d/2; full = u·d;
// decorrelated = min + u·(3·previous − min), capped;
// "+t" = d + u·t; "p%" = d − d·p + u·2·d·p. No delay is ever below min.
const (
	None         Kind = "none"
	Equal        Kind = "equal"
	Full         Kind = "full"
	Decorrelated Kind = "decorrelated"
)

// Names returns the kinds that have a name.
func Names() []string {
	return []string{string(None), string(Equal), string(Full), string(Decorrelated)}
}

// Pattern is a regular expression for all kinds.
const Pattern = `^(none|equal|full|decorrelated|\+([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d))*|[0-9]+(\.[0-9]*)?%)$`

// Spread returns the most that "+1s" adds, or the largest share of the delay that "25%" adds or
// takes away. It returns 0, 0 for a kind that has a name, and for what is no kind.
func (k Kind) Spread() (add time.Duration, share float64) {
	if text, ok := strings.CutPrefix(string(k), "+"); ok {
		add, _ = units.ParseDuration(text)
		return add, 0
	}
	if text, ok := strings.CutSuffix(string(k), "%"); ok {
		if percent, err := strconv.ParseFloat(text, 64); err == nil && percent > 0 && percent <= 100 {
			return 0, percent / 100
		}
	}
	return 0, 0
}
