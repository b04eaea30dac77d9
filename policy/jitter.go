package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// JitterKind says how chance spreads a backoff's delay: one of the kinds below, a
// time that is added ("+1s"), or a share of the delay ("25%").
type JitterKind string

// The kinds of jitter. With d the capped delay and u in [0,1):
// none = d; equal = d/2 + u·d/2; full = u·d;
// decorrelated = min + u·(3·previous − min), capped;
// "+t" = d + u·t; "p%" = d − d·p + u·2·d·p. No delay is ever below min.
const (
	JitterNone         JitterKind = "none"
	JitterEqual        JitterKind = "equal"
	JitterFull         JitterKind = "full"
	JitterDecorrelated JitterKind = "decorrelated"
)

var jitterNames = []string{string(JitterNone), string(JitterEqual), string(JitterFull), string(JitterDecorrelated)}

// Spread is what "+1s" adds at most, or the share of the delay that "25%" adds or
// takes away at most. Of all other kinds it is 0, 0.
func (j JitterKind) Spread() (add time.Duration, share float64) {
	if text, ok := strings.CutPrefix(string(j), "+"); ok {
		add, _ = units.ParseDuration(text)
		return add, 0
	}
	if text, ok := strings.CutSuffix(string(j), "%"); ok {
		if percent, err := strconv.ParseFloat(text, 64); err == nil && percent > 0 && percent <= 100 {
			return 0, percent / 100
		}
	}
	return 0, 0
}

const jitterPattern = `^(none|equal|full|decorrelated|\+([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d))*|[0-9]+(\.[0-9]*)?%)$`

func readJitter(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if slices.Contains(jitterNames, in.Text) {
		return in.Text, nil
	}
	if add, share := JitterKind(in.Text).Spread(); add > 0 || share > 0 {
		return in.Text, nil
	}
	const forms = `one of none, equal, full, decorrelated; or +1s, which adds up to a second; or 25%, up to a quarter more or less`
	hint := closest.Hint(in.Text, jitterNames)
	if hint == "" {
		hint = forms
	}
	return nil, yamlfile.Bad("unknown-value", hint, "%s cannot be %q", in.Label, yamlfile.Cut(in.Text))
}
