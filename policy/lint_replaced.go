package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// replacements warns of rules that replace an inherited rule but may not match all events that
// it matches. Such events are then left to later rules, or to the default. There is no warning
// only if the new rule provably matches all of them.
func (c *compiler) replacements() {
	own := map[*yamlfile.Value]*yamlfile.Value{} // what each rule replaces
	for _, x := range c.replaced {
		if x.by.File == c.top.src {
			own[x.by] = x.of
		}
	}
	for _, x := range c.replaced {
		mine := x.by.File == c.top.src
		if !mine && !c.meetHere(x) || yamlfile.GetOr(x.by, "override", false) || c.coversAll(x) {
			continue
		}
		name, other := written(x.by, "name"), x.of.File.Owner
		place := fmt.Sprintf("%s (%s:%d)", other, x.of.File.Name, x.of.Span().Line)
		lost := shortened(written(x.of, "when"))
		if mine {
			c.r.Warnf(x.by.ByName["name"].Span(), "covers-less", fmt.Sprintf("give it a name of its own, so that both apply, or say override: true if %s's is not wanted", other),
				"this replaces the rule %q of %s without surely covering all that it is for: %s", name, place, lost)
			continue
		}
		c.r.Warnf(c.top.root.ByName["extends"].KeySpan(), "covers-less", "add a rule of that name here, for what both are for",
			"the rule %q of %s replaces that of %s without surely covering all that it is for: %s", name, x.by.File.Owner, place, lost)
	}
	if c.lost("rules") {
		return
	}
	var names []string
	for _, x := range c.replaced {
		names = append(names, written(x.of, "name"))
	}
	for _, v := range c.rules {
		if v.File != c.top.src {
			names = append(names, written(v, "name"))
		}
	}
	for _, v := range good(c.top.root.Items("rules")) {
		if o := v.Child("override"); o != nil && !o.Bad && yamlfile.GetOr(v, "override", false) && own[v] == nil {
			c.r.Warnf(o.KeySpan(), "no-effect", closest.Hint(written(v, "name"), names), "no rule %q is inherited that this could replace", written(v, "name"))
		}
	}
}

// meetHere reports whether two inherited rules of the same name first meet in this policy: it
// extends several policies, none of which inherits both rules, and has no such rule itself.
func (c *compiler) meetHere(x replacement) bool {
	parents := c.top.root.Strings("extends")
	if len(parents) < 2 || slices.ContainsFunc(c.replaced, func(y replacement) bool { return y.of == x.by && y.by.File == c.top.src }) {
		return false
	}
	for _, name := range append(parents, x.by.File.Owner) {
		if below := c.below(name, map[string]bool{}); below[x.by.File.Owner] && below[x.of.File.Owner] {
			return false // they met there
		}
	}
	return true
}

// below adds the name of an inherited policy, and those of all policies that it extends, to names.
func (c *compiler) below(name string, names map[string]bool) map[string]bool {
	for _, l := range c.layers {
		if l.name == name && !names[name] {
			names[name] = true
			for _, parent := range l.root.Strings("extends") {
				c.below(parent, names)
			}
		}
	}
	return names
}

// coversAll reports whether a rule surely matches all events that the rule it replaces matches.
// It is also true if one of the two conditions is broken, since then nothing can be said.
func (c *compiler) coversAll(x replacement) bool {
	by, ok := yamlfile.Get[string](x.by, "when")
	of, also := yamlfile.Get[string](x.of, "when")
	if !ok || !also || slices.Contains(c.unreadRules, x.by) {
		return true
	}
	set, err := c.compiler.Compile([]rules.Rule{{When: by}, {When: of}}, c.options)
	return err != nil || set.Covers(0, 1)
}

// shortened returns an expression in one line, cut if it is long.
func shortened(when string) string {
	const most = 100
	if when = strings.Join(strings.Fields(when), " "); len(when) > most {
		return strings.ToValidUTF8(when[:most], "") + "…"
	}
	return when
}
