package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// Warnings about what a policy may say but surely does not mean. Two mistakes are found by
// matching the rules against made-up events: to refresh credentials because a refresh failed,
// and to repeat a send that may have been carried out.

// lint reports on the policy's rules, as far as they could be compiled.
func (c *compiler) lint() {
	if c.p.Matcher == nil {
		return
	}
	hidden := map[int][]string{} // the names of inherited rules, by the rule that hides them
	own := func(rule int) bool { return c.ruleOf[rule].File == c.top.src }
	for _, f := range c.p.Matcher.LintOf(own) {
		c.finding(f, hidden)
	}
	for by, names := range hidden {
		if len(names) == 1 {
			c.r.Warnf(c.nameSpan(by), rules.LintShadowed, fmt.Sprintf("give it that name to replace it, or add remove: [%s]", names[0]),
				"rule %q hides the inherited rule %q", c.p.Rules[by].Name, names[0])
			continue
		}
		c.r.Warnf(c.nameSpan(by), rules.LintShadowed, "last: true puts it after them; else narrow its condition, or name them under `remove`",
			"rule %q hides %d inherited rules: %s", c.p.Rules[by].Name, len(names), strings.Join(names, ", "))
	}
	c.replacements()
	c.unknownOperations()
	c.tokenOperations()
	c.deadOperations()
	c.successes()
	c.probes = 4_000_000 / (len(c.ruleOf) + 1)
	for i, v := range c.ruleOf {
		switch r := &c.p.Rules[i]; {
		case r.Action == Reauth:
			c.reauthOnToken(i, v)
		case r.Action.Repeats() && !r.Safe && v.ByName["replay"] == nil && v.File == c.top.src:
			c.sendRetry(i, v)
		}
	}
}

var operationNames = regexp.MustCompile(`\boperation\s*(?:==|!=|in)\s*(\[[^\]]*\]|"[^"]*"|'[^']*')`)

// unknownOperations warns of operations in the policy's own file that look like a
// misspelling of one that requests are named. Others may be named by the caller.
func (c *compiler) unknownOperations() {
	const tooMany = 500
	known := map[string]bool{}
	var names []string
	for i := range c.p.Operations {
		if n := c.p.Operations[i].Operation; !known[n] {
			known[n] = true
			names = append(names, n)
		}
	}
	if len(names) == 0 || len(names) > tooMany {
		return
	}
	c.namedOperations(func(v *yamlfile.Value, at yamlfile.Span, glob string) {
		if v.File != c.top.src || known[glob] || strings.Contains(glob, "*") {
			return
		}
		if best := misspelt(glob, names); best != "" {
			c.r.Warnf(at, "unknown-operation", fmt.Sprintf("did you mean %q?", best), "no request is named %q", yamlfile.Cut(glob))
		}
	})
}

// namedOperations calls visit with each place that names operations by a glob: the entry that
// it belongs to, where it is written, and the glob.
func (c *compiler) namedOperations(visit func(v *yamlfile.Value, at yamlfile.Span, glob string)) {
	each := func(list []*yamlfile.Value) {
		for _, g := range good(list) {
			if glob, ok := excludes(g.Text()); ok {
				visit(g, g.Within(1, len(glob)), glob)
			} else {
				visit(g, g.Span(), glob)
			}
		}
	}
	each(c.idempotent)
	for _, v := range slices.Concat(good(c.inspect), good(c.limits)) {
		each(v.Items("operations"))
	}
	if c.costs != nil {
		for _, name := range c.costs.Names {
			for _, op := range c.costs.ByName[name].Names {
				if v := c.costs.ByName[name].ByName[op]; op != "default" {
					visit(v, v.KeySpan(), op)
				}
			}
		}
	}
	for i, v := range c.ruleOf {
		when := c.p.Rules[i].When
		for _, m := range operationNames.FindAllStringSubmatchIndex(when, -1) {
			for _, q := range stringLiteral.FindAllStringIndex(when[m[2]:m[3]], -1) {
				from, to := m[2]+q[0]+1, m[2]+q[1]-1
				visit(v, v.ByName["when"].Within(from, to-from), when[from:to])
			}
		}
	}
}

// misspelt returns the name that was probably meant by one that is nearly the same, or "".
func misspelt(written string, names []string) string {
	for _, n := range names {
		if len(n) > 4 && len(n) <= 64 && len(written) <= 64 && (closest.Distance(written, n) <= 1 || strings.EqualFold(written, n)) {
			return n
		}
	}
	return ""
}

// finding reports what package rules found about a rule of the policy's own. Inherited rules
// that a rule of the policy's own hides are added to hidden, by that rule.
func (c *compiler) finding(f rules.Finding, hidden map[int][]string) {
	if f.Rule < 0 || f.Rule >= len(c.ruleOf) {
		if f.By >= 0 && f.By < len(c.ruleOf) && c.ruleOf[f.By].File == c.top.src {
			c.r.Warnf(c.nameSpan(f.By), f.Code, f.Hint, "%s", f.Message)
		}
		return
	}
	v := c.ruleOf[f.Rule]
	if v.File == c.top.src {
		at := c.nameSpan(f.Rule)
		if f.Length > 0 {
			at = v.ByName["when"].Within(f.Offset, f.Length)
		}
		c.r.Warnf(at, f.Code, f.Hint, "%s", f.Message)
		return
	}
	// The file of an inherited rule is checked by itself. Only that a rule of this policy hides
	// it is new here.
	if f.By < 0 || f.By >= len(c.ruleOf) || c.ruleOf[f.By].File != c.top.src {
		return
	}
	hidden[f.By] = append(hidden[f.By], c.p.Rules[f.Rule].Name)
}

// nameSpan returns where a rule's name is written.
func (c *compiler) nameSpan(rule int) yamlfile.Span {
	v := c.ruleOf[rule]
	if n := v.ByName["name"]; n != nil && !n.Bad {
		return n.Span()
	}
	return v.KeyOrFirst()
}

var (
	stringLiteral = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)
	number3       = regexp.MustCompile(`\b[1-5][0-9][0-9]\b`)
	tokenWord     = regexp.MustCompile(`(?i)^(.*[.:/])?((access|refresh|oauth2?|auth|bearer|id)[_-])?tokens?([._:/-].*)?$|token[._-]?(refresh|exchange)|refresh[._-]?token`)
	otherToken    = regexp.MustCompile(`(?i)(sync|page|next|delta|push|device|cursor|skip|change|history|csrf|upload|watch|channel)[._:/-]?tokens?\b`)
	sendWord      = regexp.MustCompile(`^(.*[._:/-])?[sS]end([A-Z._:/-].*)?$|(?:\b|[._:/-])[sS]ubmit`)
)

// literalsOf returns the strings and the statuses that an expression has.
func literalsOf(when string) (texts []string, statuses []int) {
	for _, q := range stringLiteral.FindAllString(when, -1) {
		texts = append(texts, strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(q[1:len(q)-1]))
	}
	for _, n := range number3.FindAllString(stringLiteral.ReplaceAllString(when, `""`), -1) {
		s, _ := strconv.Atoi(n)
		statuses = append(statuses, s)
	}
	return texts, statuses
}

// reauthOnToken refuses a rule that would answer a failed token request by
// requesting a token.
func (c *compiler) reauthOnToken(rule int, v *yamlfile.Value) {
	texts, statuses := literalsOf(c.p.Rules[rule].When)
	var tokens []string
	add := func(op string) {
		if tokenWord.MatchString(op) && !otherToken.MatchString(op) && !slices.Contains(tokens, op) && !c.saysNoToken(op) {
			tokens = append(tokens, op)
		}
	}
	for i := range c.p.Operations {
		o := &c.p.Operations[i]
		if (o.token || o.form["grant_type"] != "") && !slices.Contains(tokens, o.Operation) {
			tokens = append(tokens, o.Operation)
		}
		add(o.Operation)
	}
	for _, m := range operationNames.FindAllStringSubmatch(c.p.Rules[rule].When, -1) {
		named, _ := literalsOf(m[1])
		for _, op := range named {
			add(op)
		}
	}
	for _, op := range tokens {
		if c.broken(op) {
			continue
		}
		if c.probe(rule, op, append([]int{400, 401, 403}, statuses...), texts) {
			at, ok := v.ByName["action"]
			place := c.nameSpan(rule)
			if ok {
				place = at.Span()
			}
			hint := fmt.Sprintf("add: and operation != %q; or, if it fetches no access token, token: false to that operation", op)
			if v.File != c.top.src {
				hint = fmt.Sprintf("before it, add a rule about what refuses %q", op)
			}
			c.err(place, "reauth-on-token", hint,
				"rule %q would answer a failed %q, which fetches a token, by fetching a token", c.p.Rules[rule].Name, op)
			return
		}
	}
}

// saysNoToken reports whether the policy says of an operation that it is no request for tokens.
func (c *compiler) saysNoToken(operation string) bool {
	return slices.ContainsFunc(good(c.operations), func(v *yamlfile.Value) bool {
		return written(v, "operation") == operation && v.Child("token") != nil && !yamlfile.GetOr(v, "token", true)
	})
}

// tokenOperations warns of operations of the policy's own file that are named by
// an OAuth grant, and do not say that they are requests for tokens.
func (c *compiler) tokenOperations() {
	for _, v := range good(c.operations) {
		if form := v.Child("form"); v.File == c.top.src && form.Child("grant_type") != nil && v.Child("token") == nil {
			c.r.Warnf(form.KeySpan(), "token-operation", "add token: true, so that nobody refreshes credentials to fetch some",
				"the operation %q looks like a request for tokens", written(v, "operation"))
		}
	}
}

// sendRetry warns of a rule that names a send and repeats it.
func (c *compiler) sendRetry(rule int, v *yamlfile.Value) {
	texts, statuses := literalsOf(c.p.Rules[rule].When)
	if !strings.Contains(c.p.Rules[rule].When, "operation") {
		return
	}
	unknown := []int{0, 500, 502, 503, 504}
	for _, s := range statuses {
		if s >= 500 {
			unknown = append(unknown, s)
		}
	}
	for _, op := range texts {
		if !sendWord.MatchString(op) || c.p.isIdempotent(op) || c.broken(op) || !c.probe(rule, op, unknown, texts) {
			continue
		}
		place := c.nameSpan(rule)
		if at, ok := v.ByName["action"]; ok {
			place = at.Span()
		}
		c.r.Warnf(place, "send-retry", "replay: safe if the provider refused before sending; replay: gate if only what is idempotent may be repeated",
			"rule %q repeats %q, which may have been sent", c.p.Rules[rule].Name, op)
		return
	}
}

// broken reports whether a condition that could not be compiled names the operation. Then
// its rule may be the one that decides.
func (c *compiler) broken(operation string) bool {
	return slices.ContainsFunc(c.unreadRules, func(v *yamlfile.Value) bool {
		when := v.Child("when")
		return when != nil && strings.Contains(when.Node.Value, operation)
	})
}

// probe reports whether the rule decides some event of an operation with one of these
// statuses and texts.
func (c *compiler) probe(rule int, operation string, statuses []int, texts []string) bool {
	if len(texts) > 16 {
		texts = texts[:16]
	}
	if len(statuses) > 16 {
		statuses = statuses[:16]
	}
	for _, status := range statuses {
		for i := -1; i < len(texts); i++ {
			e := rules.Event{Provider: c.p.Name, Operation: operation, Method: "POST", Protocol: c.p.Protocol, Status: status, Attempt: 1, Sent: true}
			if status == 0 {
				e.Network = rules.NetworkTimeout
			}
			if i >= 0 {
				e.Type, e.Codes, e.Message = texts[i], texts, texts[i]
				if status == 0 && slices.Contains([]string{rules.NetworkReset, rules.NetworkEOF, rules.NetworkTimeout}, texts[i]) {
					e.Network = texts[i]
				}
			}
			if c.probes--; c.probes < 0 {
				return false // a policy of thousands of such rules
			}
			if c.p.Matcher.Match(&e) == rule {
				return true
			}
		}
	}
	return false
}
