package simulate

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/policy"
)

// mailboxName returns the name of a mailbox; its index counts from 0, its name from 1.
func mailboxName(i int) string { return "mailbox-" + strconv.Itoa(i+1) }

// mailboxOf returns the index of the mailbox of that name.
func mailboxOf(name string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "mailbox-"))
	return n - 1
}

// tokenText returns the access token of that number for an account.
func tokenText(account string, id int) string { return account + "." + strconv.Itoa(id) }

// tokenID returns the number of an access token.
func tokenID(text string) int {
	_, id, _ := strings.Cut(text, ".")
	n, _ := strconv.Atoi(id)
	return n
}

// endpointURL returns a URL that the `match` of a policy covers. If every entry of `match` has
// a wildcard, it returns one that the policy may not cover.
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

// Misspelt returns those operations of the scenario that its provider's policy does not name,
// each with the name in the policy that may have been meant. It leaves out operations for
// which no such name is close enough.
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
