package record

import (
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// This file finds out what a policy reads of a failure.

// reading says what a policy reads of an event. It is computed once for each policy.
type reading struct {
	headers []string // the headers to copy: the standard ones, and those that conditions read
	asked   []string // those of headers that conditions read
	body    bool     // a condition reads the body
	known   string   // the text of all conditions of the rules
	readers map[string]string
	decide  *decision.Policy
}

// readings caches the reading of each policy.
var readings = struct {
	sync.Mutex
	of map[*policy.Policy]*reading
}{of: map[*policy.Policy]*reading{}}

// maxReadings bounds the cache, since each reload makes new policies.
const maxReadings = 512

func readingOf(p *policy.Policy) *reading {
	readings.Lock()
	defer readings.Unlock()
	if r := readings.of[p]; r != nil {
		return r
	}
	if len(readings.of) >= maxReadings {
		clear(readings.of)
	}
	r := &reading{readers: corpus.Readers(p), decide: decision.Compile(p, decision.DefaultMaxWaits, decision.DefaultMaxTotalWait)}
	for _, set := range conditions(p) {
		// If nothing is known of an event, every rule is possible, so this yields all facts
		// that the rules read.
		for _, possible := range set.Possible(&rules.Event{}, func(string) bool { return true }) {
			for _, fact := range possible.Reads {
				if name, ok := headerName(fact); ok && !secretheader.Is(name) && !slices.Contains(r.asked, name) {
					r.asked = append(r.asked, name)
				}
				r.body = r.body || fact == "body"
			}
		}
	}
	var known strings.Builder
	for i := range p.Rules {
		known.WriteString(p.Rules[i].When + "\n")
	}
	r.known, r.headers = known.String(), slices.Clone(r.asked)
	for _, name := range corpus.StandardHeaders {
		if !slices.Contains(r.headers, name) {
			r.headers = append(r.headers, name)
		}
	}
	readings.of[p] = r
	return r
}

// conditions returns all conditions of a policy on which its decisions depend.
func conditions(p *policy.Policy) []*rules.Set {
	sets := []*rules.Set{p.Matcher}
	for _, list := range p.Extract.All() {
		for i := range list {
			if holds := list[i].Holds; holds != nil {
				sets = append(sets, holds)
			}
		}
	}
	return sets
}

// headerName returns the canonical name of the header in a fact such as header("Name").
func headerName(fact string) (name string, ok bool) {
	quoted, ok := strings.CutPrefix(strings.TrimSuffix(fact, ")"), "header(")
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(quoted)
	return textproto.CanonicalMIMEHeaderKey(name), err == nil
}
