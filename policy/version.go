package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
)

// hash is a short digest of everything that a decision depends on.
func (p *Policy) hash() string {
	h := sha256.New()
	q := *p
	q.Limits = slices.Clone(p.Limits)
	for i := range q.Limits {
		if learn := q.Limits[i].Learn; learn != nil {
			learn.hash(h, q.Limits[i].Name)
			q.Limits[i].Learn = nil
		}
	}
	q.File, q.Source, q.Extends, q.Version, q.Matcher = "", "", nil, "", nil
	fmt.Fprintf(h, "%q %q %v %+v %+v %q %v %+v %+v %+v", q.Name, q.Protocol, q.Match, q.Inspect, q.Operations, q.Idempotent, q.AttemptTimeout, q.Backoffs, q.costs, q.Limits)
	if q.Budget != nil {
		fmt.Fprintf(h, " budget %+v", *q.Budget)
	}
	if q.Breaker != nil {
		fmt.Fprintf(h, " breaker %+v", *q.Breaker)
	}
	for _, x := range [][]Extractor{q.Extract.Type, q.Extract.Codes, q.Extract.Message, q.Extract.RetryAfter} {
		hashExtractors(h, x)
	}
	for _, f := range q.Extract.Facts {
		fmt.Fprintf(h, " %q", f.Name)
		hashExtractors(h, f.From)
	}
	for _, r := range q.Rules {
		r.Pos, r.Inherited, r.Replaced, r.ReplacedPos = Position{}, "", "", Position{} // which the order tells
		fmt.Fprintf(h, " %+v", r)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func hashExtractors(w io.Writer, list []Extractor) {
	fmt.Fprintf(w, " [%d", len(list))
	for _, x := range list {
		fmt.Fprintf(w, " %d %q %q %q %v %v %+v %v", x.Kind, x.Path, x.Attr, x.Value, x.As, x.Fold, x.In, x.Root)
		if x.Text != nil {
			fmt.Fprintf(w, " %q", x.Text)
		}
		if x.When != "" {
			fmt.Fprintf(w, " when %q", x.When)
		}
	}
}

// digest is a short digest of the versions of all policies.
func (s *Set) digest() string {
	h := sha256.New()
	for _, e := range s.entries {
		fmt.Fprintf(h, "%q %s\n", e.name, e.version)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
