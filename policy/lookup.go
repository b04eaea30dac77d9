package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/hostport"
)

// What is asked of policies while requests are made: which policy decides about a request,
// and what it says of an operation. Nothing here changes a policy, and only Request.Form
// allocates. Which operation a request is, is in operation.go.

// Request is an HTTP request as Operation entries see it.
type Request struct {
	Method   string
	Host     string // with or without a port
	Path     string
	RawPath  string // as it was sent, where that is not how Path would be escaped (see url.URL); "" = as Path
	RawQuery string
	Header   map[string][]string // canonical names
	// Form yields the fields of an application/x-www-form-urlencoded body. It is
	// called only where an entry asks for one; nil = none.
	Form func() map[string][]string
}

// hosts finds policies by host and path.
type hosts struct {
	exact    map[string][]claimed
	suffix   map[string][]claimed // without the leading "*"
	suffixes []string             // longest first
}

type claimed struct {
	path   string
	length int // of path, in literal characters
	p      *entry
}

func newHosts(entries []*entry) hosts {
	h := hosts{exact: map[string][]claimed{}, suffix: map[string][]claimed{}}
	for _, p := range entries {
		for _, m := range p.match {
			if s, ok := strings.CutPrefix(m.Host, "*"); ok {
				h.suffix[s] = append(h.suffix[s], claimed{m.Path, literals(m.Path), p})
			} else {
				h.exact[m.Host] = append(h.exact[m.Host], claimed{m.Path, literals(m.Path), p})
			}
		}
	}
	longestFirst := func(a, b claimed) int {
		return cmp.Or(cmp.Compare(b.length, a.length), cmp.Compare(b.p.above, a.p.above))
	}
	for _, c := range h.exact {
		slices.SortStableFunc(c, longestFirst)
	}
	for s, c := range h.suffix {
		slices.SortStableFunc(c, longestFirst)
		h.suffixes = append(h.suffixes, s)
	}
	slices.SortFunc(h.suffixes, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return h
}

// Lookup returns the policy whose `match` claims a request; nil if there is none. If several
// do, that with the longest path wins, counted in characters other than '*'; among equals an
// exact host goes before one with "*.", and a longer one of those before a shorter one; then a
// policy that overlays others (see LoadOptions.Over) goes before those. The host may have a
// port: a match without one takes any.
func (s *Set) Lookup(host, path string) *Policy {
	if !isLower(host) {
		host = strings.ToLower(host)
	}
	bare := hostport.Host(host)
	if path == "" {
		path = "/"
	}
	var best *entry
	length := -1
	try := func(list []claimed) {
		for _, c := range list {
			if c.length <= length {
				return
			}
			if c.path == "" || globPath(c.path, path) {
				best, length = c.p, c.length
				return
			}
		}
	}
	if bare != host {
		try(s.hosts.exact[host])
	}
	try(s.hosts.exact[bare])
	for _, suffix := range s.hosts.suffixes {
		if hasSuffix(bare, suffix) || bare != host && hasSuffix(host, suffix) {
			try(s.hosts.suffix[suffix])
		}
	}
	if best == nil {
		return nil
	}
	return best.policy()
}

// Claims reports whether some policy's `match` names a host, be it for some paths
// only. The host may carry a port.
func (s *Set) Claims(host string) bool {
	for _, e := range s.entries {
		if slices.ContainsFunc(e.match, func(m Match) bool { return hostMatches(m.Host, host) }) {
			return true
		}
	}
	return false
}

// WholeHosts returns the hosts for which Lookup need not look at the path, with the name of
// the policy of each: hosts that are claimed once, for every path and without a port, and that
// no match with "*." claims too.
func (s *Set) WholeHosts() map[string]string {
	whole := map[string]string{}
	for host, list := range s.hosts.exact {
		if len(list) == 1 && list[0].path == "" && !strings.Contains(host, ":") &&
			!slices.ContainsFunc(s.hosts.suffixes, func(suffix string) bool { return strings.HasSuffix(host, suffix) }) {
			whole[host] = list[0].p.name
		}
	}
	return whole
}

// hasSuffix is strings.HasSuffix with at least one character before.
func hasSuffix(s, suffix string) bool {
	return len(s) > len(suffix) && strings.HasSuffix(s, suffix)
}

func isLower(s string) bool {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' || s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// IsToken reports whether an operation is a request for tokens. Where a policy
// names only such requests, and no rule of it asks for new tokens, it is that of a
// token endpoint, and so are those that it does not name.
func (p *Policy) IsToken(operation string) bool {
	known, others := false, false
	for i := range p.Operations {
		o := &p.Operations[i]
		if o.Operation == operation {
			if o.token {
				return true
			}
			known = true
		}
		others = others || !o.token
	}
	if known || others || len(p.Operations) == 0 {
		return false
	}
	return !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Action == Reauth })
}

// ClaimsHost reports whether the policy's `match` names a host, be it for some
// paths only. The host may carry a port.
func (p *Policy) ClaimsHost(host string) bool {
	return slices.ContainsFunc(p.Match, func(m Match) bool { return hostMatches(m.Host, host) })
}

// hostMatches reports whether a host fits a Match's or Operation's pattern.
func hostMatches(pattern, host string) bool {
	if !isLower(host) {
		host = strings.ToLower(host)
	}
	bare := hostport.Host(host)
	if s, ok := strings.CutPrefix(pattern, "*"); ok {
		return hasSuffix(bare, s) || hasSuffix(host, s)
	}
	return pattern == bare || pattern == host
}

// valuesMatch reports whether each named value is there and fits its glob.
func valuesMatch(want map[string]string, have map[string][]string) bool {
	for name, glob := range want {
		if !slices.ContainsFunc(have[name], func(v string) bool { return Glob(glob, v) }) {
			return false
		}
	}
	return true
}

// isIdempotent reports whether the policy says that repeating an operation is
// harmless. The unnamed operation "" never is.
func (p *Policy) isIdempotent(operation string) bool {
	return operation != "" && anyGlob(p.Idempotent, operation)
}

func anyGlob(globs []string, name string) bool {
	for _, g := range globs {
		if Glob(g, name) {
			return true
		}
	}
	return false
}

// InspectFor returns the entry of `inspect` that says to read the body of a 2xx response; nil
// if no error can hide in it. The first entry that fits wins. A response that names no content
// type fits entries for any.
func (p *Policy) InspectFor(status int, operation, contentType string) *extract.Inspect {
	for i := range p.Inspect {
		in := &p.Inspect[i]
		if in.Status != 0 && in.Status != status || status < 200 || status > 299 ||
			len(in.Operations) > 0 && !anyGlob(in.Operations, operation) ||
			contentType != "" && !hasPrefixFold(contentType, in.ContentType) {
			continue
		}
		return in
	}
	return nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
