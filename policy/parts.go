package policy

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Part is one piece of a policy as its file has it: a field, a rule, a limit, the extractors
// of one fact, or the cost of one operation.
type Part struct {
	Section string   // the field of the policy file that has it: "rules", "extract", "extract.facts", "costs.units" …
	Name    string   // its name there; "" where there is none, as of `default` and of an `inspect` entry
	Policy  string   // the policy whose file has it: this one, or one that it extends
	Pos     Position // in that file
	// Text is its YAML, with the comments above it. An entry of a list has no dash; an entry
	// of a map and a plain field have their key.
	Text string
	// Replaced and ReplacedPos are the policy and the place of the inherited rule of the same
	// name that this rule replaces; "" = it replaces none, or is no rule.
	Replaced    string
	ReplacedPos Position
}

// Parts returns the parts of a policy with all that it inherits, in the order of a policy
// file, and its rules in the order in which they are tried. ok is false if there is no such
// policy. The parts of a file that this policy overlays (see LoadOptions.Over) count as its own.
func (s *Set) Parts(name string) (_ []Part, ok bool) {
	l := s.layers[name]
	if l == nil || s.byName[name] == nil {
		return nil, false
	}
	rs := &resolver{layers: s.layers, r: yamlfile.NewReport()}
	acc := rs.resolve(l)
	var b partsBuilder
	l.read()
	for _, name := range []string{"version", "provider", "extends", "source"} {
		b.field(name, l.root.Child(name))
	}
	b.field("protocol", acc.protocol)
	b.list("match", "", acc.match)
	b.extract(acc.extract)
	b.list("inspect", "", acc.inspect)
	b.list("operations", "operation", acc.operations)
	b.list("idempotent", "", acc.idempotent)
	b.field("attempt_timeout", acc.attemptTimeout)
	b.entries("backoff", acc.backoff)
	if acc.costs != nil {
		for _, table := range acc.costs.Names {
			b.entries("costs."+table, acc.costs.ByName[table])
		}
	}
	b.list("limits", "name", acc.limits)
	b.entries("budget", acc.budget)
	b.entries("breaker", acc.breaker)
	b.list("rules", "name", acc.rules)
	for _, x := range acc.replaced {
		for i := range b.parts {
			if p := &b.parts[i]; b.of[i] == x.by {
				p.Replaced, p.ReplacedPos = x.of.File.Owner, rulePosition(x.of)
			}
		}
	}
	b.field("default", acc.fallback)
	return b.parts, true
}

// partsBuilder collects parts.
type partsBuilder struct {
	parts []Part
	of    []*yamlfile.Value // what each part says
}

func (b *partsBuilder) add(section, name string, v *yamlfile.Value, text string) {
	at := v.KeySpan()
	b.parts = append(b.parts, Part{
		Section: section, Name: name, Policy: v.File.Owner, Text: text,
		Pos: Position{File: v.File.Name, Line: at.Line, Column: at.Column},
	})
	b.of = append(b.of, v)
}

// field adds a field of the policy itself.
func (b *partsBuilder) field(name string, v *yamlfile.Value) {
	if v != nil {
		b.add(name, "", v, keyText(v))
	}
}

// list adds the entries of a list. key is the field that has an entry's name; "" = there is none.
func (b *partsBuilder) list(section, key string, list []*yamlfile.Value) {
	for _, v := range list {
		name, _ := yamlfile.Get[string](v, key)
		if section == "idempotent" {
			name = v.Text()
		}
		b.add(section, name, v, nodeText(v.Node))
	}
}

// entries adds the entries of a map, each by its key.
func (b *partsBuilder) entries(section string, v *yamlfile.Value) {
	if v == nil {
		return
	}
	for _, name := range v.Names {
		b.add(section, name, v.ByName[name], keyText(v.ByName[name]))
	}
}

func (b *partsBuilder) extract(v *yamlfile.Value) {
	if v == nil {
		return
	}
	// In the order of the format's table, whatever that of the files.
	for i := range extractObject.Fields {
		switch name := extractObject.Fields[i].Name; {
		case v.ByName[name] == nil:
		case name == "facts":
			b.entries("extract.facts", v.ByName[name])
		default:
			b.add("extract", name, v.ByName[name], keyText(v.ByName[name]))
		}
	}
}

// keyText returns an entry of a map as YAML, with its key.
func keyText(v *yamlfile.Value) string {
	if v.Key == nil {
		return nodeText(v.Node)
	}
	return nodeText(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{v.Key, v.Node}})
}

// nodeText returns a node as YAML, in the style of its file.
func nodeText(n *yaml.Node) string {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return ""
	}
	e.Close()
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	comment := func(l string) bool { return strings.HasPrefix(l, "#") }
	// A comment below the last entry of a section is about what follows it in the file.
	for len(lines) > 1 && (comment(lines[len(lines)-1]) || lines[len(lines)-1] == "") {
		lines = lines[:len(lines)-1]
	}
	var kept []string
	for _, l := range lines {
		switch {
		case l == "" && !slices.ContainsFunc(kept, func(l string) bool { return !comment(l) }):
			kept = nil // a comment with an empty line below is about the whole file or section
		case l == "", strings.HasPrefix(l, "# yaml-language-server:"):
		case slices.Contains(foldedTexts(n, nil), strings.TrimLeft(l, " ")):
			kept = append(kept, fold(l)...)
		default:
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

// foldedTexts appends the folded scalars in n that have one line. The encoder does not fold them.
func foldedTexts(n *yaml.Node, texts []string) []string {
	if n.Kind == yaml.ScalarNode && n.Style&yaml.FoldedStyle != 0 && !strings.Contains(n.Value, "\n") {
		texts = append(texts, n.Value)
	}
	for _, c := range n.Content {
		texts = foldedTexts(c, texts)
	}
	return texts
}

// fold breaks the line of a folded scalar at single spaces, since a break there is read as a space.
func fold(line string) (lines []string) {
	const width = 100
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	for len(line) > width {
		at := -1
		for i := len(indent) + 1; i < len(line)-1 && (i <= width || at < 0); i++ {
			if line[i] == ' ' && line[i-1] != ' ' && line[i+1] != ' ' {
				at = i
			}
		}
		if at < 0 {
			break
		}
		lines, line = append(lines, line[:at]), indent+line[at+1:]
	}
	return append(lines, line)
}
