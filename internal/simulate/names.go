package simulate

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/policy"
)

// mailboxName is the name of a mailbox.
func mailboxName(i int) string { return "mailbox-" + strconv.Itoa(i+1) }

// mailboxOf is the mailbox of a name.
func mailboxOf(name string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "mailbox-"))
	return n - 1
}

// tokenText is an access token, and tokenID which of its mailbox's it is.
func tokenText(account string, id int) string { return account + "." + strconv.Itoa(id) }

func tokenID(text string) int {
	_, id, _ := strings.Cut(text, ".")
	n, _ := strconv.Atoi(id)
	return n
}

// endpointURL is a URL that the policy claims, if it claims any without a wildcard.
func endpointURL(set *policy.Set, name string) (*url.URL, error) {
	p, ok := set.Policy(name)
	if !ok {
		return nil, fmt.Errorf("simulate: no policy %q", name)
	}
	u := &url.URL{Scheme: "https", Host: name + ".example", Path: "/token"}
	for _, m := range p.Match {
		if !strings.HasPrefix(m.Host, "*") && !strings.Contains(m.Path, "*") {
			u.Host = m.Host
			if m.Path != "" {
				u.Path = m.Path
			}
			break
		}
	}
	return u, nil
}

// Misspelt are the scenario's operations that the policy of its provider has no name for, but
// one that is much like it, which may have been meant.
func (s *Scenario) Misspelt(set *policy.Set) map[string]string {
	p, ok := set.Policy(s.Provider)
	if !ok || len(p.Operations) == 0 {
		return nil
	}
	var names []string
	for _, o := range p.Operations {
		names = append(names, o.Operation)
	}
	misspelt := map[string]string{}
	for _, a := range s.Calls {
		if near := closest.Word(a.Operation, names); near != "" && !slices.Contains(names, a.Operation) {
			misspelt[a.Operation] = near
		}
	}
	return misspelt
}

func sortJobs(jobs []*job) {
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Compare(a.id, b.id) })
}
