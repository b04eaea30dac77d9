package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/recourse-go/recourse/internal/extract"
)

// hash returns a short digest of everything that a decision depends on.
func (p *Policy) hash() string {
	h := sha256.New()
	q := *p
	q.Limits = slices.Clone(p.Limits)
	for i := range q.Limits {
		if learn := q.Limits[i].Learn; learn != nil {
			fmt.Fprintf(h, " learn %q", q.Limits[i].Name)
			learn.Hash(h)
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
	for fact, list := range q.Extract.All() {
		fmt.Fprintf(h, " %q", fact)
		extract.Hash(h, list)
	}
	for _, r := range q.Rules {
		r.Pos, r.Inherited, r.Replaced, r.ReplacedPos = Position{}, "", "", Position{} // which the order tells
		fmt.Fprintf(h, " %+v", r)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

// digest returns a short digest of the versions of all policies.
func (s *Set) digest() string {
	h := sha256.New()
	for _, e := range s.entries {
		fmt.Fprintf(h, "%q %s\n", e.name, e.version)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}
