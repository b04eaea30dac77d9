package policy

import (
	"slices"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Requests that two policies of a Set claim alike.

// claim is an entry of a policy's `match`.
type claim struct {
	policy *entry
	Match
	at yamlfile.Span
}

// claims reports matches of different policies that some request fits alike. own are the
// layers that were just read.
func (s *Set) claims(own []*layer, r *yamlfile.Report) {
	fresh := map[*yamlfile.File]bool{}
	for _, l := range own {
		fresh[l.src] = true
	}
	for _, group := range s.claimGroups() {
		if slices.ContainsFunc(group, func(c claim) bool { return c.policy != group[0].policy }) {
			ambiguous(group, fresh, r)
		} // else one policy alone: any of its matches will do
	}
}

// claimRank is what decides between matches that fit a request: the host, and then the
// longest path.
type claimRank struct {
	host   string
	length int // of the path, see literals
}

// claimGroups returns the claims of all policies, those of one rank together.
func (s *Set) claimGroups() map[claimRank][]claim {
	groups := map[claimRank][]claim{}
	for _, p := range s.entries {
		l := s.layers[p.name]
		for l != nil && l.head.Child("match") == nil {
			l = l.lower
		}
		if l == nil {
			continue
		}
		for _, v := range good(l.head.Items("match")) {
			if h, ok := yamlfile.Get[string](v, "host"); ok {
				m := Match{Host: h, Path: yamlfile.GetOr(v, "path", "")}
				rank := claimRank{h, literals(m.Path)}
				groups[rank] = append(groups[rank], claim{p, m, v.KeyOrFirst()})
			}
		}
	}
	return groups
}

// ambiguous reports each two claims of a group that fit some request alike, where the later
// of them is written that is among the fresh files.
func ambiguous(group []claim, fresh map[*yamlfile.File]bool, r *yamlfile.Report) {
	var paths []string
	for _, c := range group {
		paths = append(paths, c.Path)
	}
	meeting := newMeeting(paths)
	for i, a := range group {
		meeting.each(a.Path, func(n int) bool {
			b := group[n]
			if n >= i || a.policy == b.policy || a.policy.above != b.policy.above || !pathsMeet(a.Path, b.Path) {
				return true // one that overlays the other goes first
			}
			at, other := a, b
			if !fresh[at.at.File] || fresh[other.at.File] && r.Order[other.at.File.Name] > r.Order[at.at.File.Name] {
				at, other = other, at
			}
			r.Errorf(at.at, "ambiguous-match", "give one of them a longer path", "%q and %q claim the same requests (%s:%d)",
				at.policy.name, other.policy.name, other.at.File.Name, other.at.Line)
			return !r.Full(a.at.File, yamlfile.Error) || !r.Full(b.at.File, yamlfile.Error)
		})
	}
}
