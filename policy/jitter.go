package policy

import (
	"slices"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// readJitter reads how chance spreads a backoff's delay.
func readJitter(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if slices.Contains(jitter.Names(), in.Text) {
		return in.Text, nil
	}
	if add, share := jitter.Kind(in.Text).Spread(); add > 0 || share > 0 {
		return in.Text, nil
	}
	const forms = `one of none, equal, full, decorrelated; or +1s, which adds up to a second; or 25%, up to a quarter more or less`
	hint := closest.Hint(in.Text, jitter.Names())
	if hint == "" {
		hint = forms
	}
	return nil, yamlfile.Bad("unknown-value", hint, "%s cannot be %q", in.Label, yamlfile.Cut(in.Text))
}
