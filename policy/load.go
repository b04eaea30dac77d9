package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// LoadOptions say what Load builds on.
type LoadOptions struct {
	// Over is the Set that the files overlay: a file with the same provider
	// replaces that policy (and may extend it), `extends` finds its policies, and
	// the result has them too. Where a file and a policy of Over claim the same
	// requests, the file's policy gets them. Nil = the files stand alone.
	Over *Set
}

// Load reads policy files and resolves what they extend. It reports every
// problem of every file in one run, sorted by file (in the order given), line
// and column. The Set is nil if any of them is an Error.
func Load(files []File, o LoadOptions) (*Set, Diagnostics) { return load(files, o, false) }

// load is Load. known says that the files have no errors: then a policy is read when it is
// first used, and nothing is linted.
func load(files []File, o LoadOptions, known bool) (*Set, Diagnostics) {
	l := &loader{
		over: o.Over, known: known, r: yamlfile.NewReport(),
		used: map[*yamlfile.Value]bool{}, rules: new(rules.Compiler), isOwn: map[*layer]bool{},
	}
	l.resolver = &resolver{layers: map[string]*layer{}, r: l.r}
	if o.Over != nil {
		maps.Copy(l.resolver.layers, o.Over.layers)
	}
	for i, f := range files {
		if _, ok := l.r.Order[f.Name]; !ok {
			l.r.Order[f.Name] = i
		}
		if top := l.read(f); top != nil {
			l.add(top)
		}
	}
	s := l.set()
	if !known {
		unused(l.own, l.used, l.r)
	}
	s.claims(l.own, l.r)
	ds := diagnostics(l.r.Sorted())
	if ds.Err() != nil {
		return nil, ds
	}
	s.hosts = newHosts(s.entries)
	s.version = s.digest()
	return s, ds
}

// loader is one run of load.
type loader struct {
	over     *Set // that the files overlay; nil = none
	known    bool // the files have no errors
	r        *yamlfile.Report
	resolver *resolver
	own      []*layer        // those of the files
	isOwn    map[*layer]bool // the same
	used     map[*yamlfile.Value]bool
	rules    *rules.Compiler
}

// read reads a file, or its head if the files are known to be right; nil = it is no policy.
func (l *loader) read(f File) *layer {
	text := f.Data
	if l.known {
		text = head(f.Data)
	}
	src := yamlfile.NewFile(f.Name, text, objects)
	root := src.Parse(l.r)
	if root == nil {
		return nil
	}
	top := yamlfile.Decode(src, root, l.r)
	if top == nil {
		return nil
	}
	for _, field := range []struct{ name, hint string }{{"version", "add `version: 1`"}, {"provider", "add `provider: NAME`"}} {
		if top.ByName[field.name] == nil && !src.Lost(field.name) {
			l.r.Errorf(top.KeyOrFirst(), "missing-field", field.hint, "a policy needs %q", field.name)
		}
	}
	at := &layer{name: yamlfile.GetOr(top, "provider", ""), head: top, src: src, root: top}
	src.Owner = at.name
	if l.known {
		at.unread = &f
	} else {
		duplicates(at, l.r)
	}
	return at
}

// add makes a file's layer the one of its name, unless another file has that name already.
func (l *loader) add(at *layer) {
	l.own = append(l.own, at)
	l.isOwn[at] = true
	if at.name == "" {
		return
	}
	old := l.resolver.layers[at.name]
	if old != nil && l.isOwn[old] {
		first := old.head.ByName["provider"].Span()
		l.r.Errorf(at.head.ByName["provider"].Span(), "duplicate-provider", "choose another name, or extend that one",
			"provider %q is given twice, first at %s:%d", at.name, first.File.Name, first.Line)
		return // its other problems are reported too
	}
	at.lower = old
	l.resolver.layers[at.name] = at
}

// set builds the policies of the files, and those of the Set below that inherit from one of
// them. All other policies of the Set below stay as they are.
func (l *loader) set() *Set {
	layers := l.resolver.layers
	s := &Set{byName: map[string]*entry{}, layers: layers}
	if l.over != nil {
		s.above = l.over.above + 1
	}
	for _, at := range l.own {
		if e := l.build(at); layers[at.name] == at {
			e.above = s.above
			s.byName[at.name] = e
		}
	}
	below := &resolver{layers: layers, r: yamlfile.NewReport()} // whose problems were reported before
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		at := layers[name]
		if l.isOwn[at] {
			continue
		}
		stack, ok := below.stack(at)
		was := l.over.byName[name]
		if ok && was != nil && !slices.ContainsFunc(stack, func(x *layer) bool { return l.isOwn[x] }) {
			s.byName[name] = was
			continue
		}
		e := l.build(at)
		if was != nil {
			e.above = was.above
		}
		s.byName[name] = e
	}
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		s.entries = append(s.entries, s.byName[name])
	}
	return s
}

// build compiles and lints one policy.
func (l *loader) build(at *layer) *entry {
	if l.known {
		return newUnread(at, l.resolver, l.rules)
	}
	c := &compiler{resolved: l.resolver.resolve(at), r: l.r, used: l.used, compiler: l.rules}
	p := c.compile()
	c.lint()
	return &entry{name: p.Name, match: p.Match, version: p.Version, p: p}
}

// duplicates reports names that a file gives twice.
func duplicates(l *layer, r *yamlfile.Report) {
	for _, section := range []string{"rules", "limits"} {
		first := map[string]*yamlfile.Value{}
		for _, v := range l.root.Items(section) {
			name, ok := yamlfile.Get[string](v, "name")
			if !ok {
				continue
			}
			n := v.ByName["name"]
			if section == "rules" && name == "default" {
				r.Errorf(n.Span(), "reserved-name", "choose another name", "the rule %q is that of the `default` below", name)
				n.Bad = true
				continue
			}
			if old := first[name]; old != nil {
				r.Errorf(n.Span(), "duplicate-name", "choose another name", "a %s named %q is already on line %d", strings.TrimSuffix(section, "s"), name, old.Span().Line)
				n.Bad = true // its other problems are worth a report
				continue
			}
			first[name] = n
		}
	}
}

// unused reports backoffs and costs that nothing refers to. The backoff
// "default" is used by code too.
func unused(own []*layer, used map[*yamlfile.Value]bool, r *yamlfile.Report) {
	for _, l := range own {
		for _, section := range []struct{ name, code, what string }{
			{"backoff", "unused-backoff", "rule uses backoff"}, {"costs", "unused-cost", "limit uses costs"},
		} {
			m := l.root.Child(section.name)
			if m == nil || l.src.Lost("rules") || l.src.Lost("limits") {
				continue
			}
			for _, name := range m.Names {
				if v := m.ByName[name]; !v.Bad && !(section.name == "backoff" && name == "default") && !isUsed(v, used) {
					r.Warnf(v.KeySpan(), section.code, "remove it, or refer to it", "no %s %q", section.what, name)
				}
			}
		}
	}
}

// use marks a backoff or cost table as used, and its entries: they may come from several files.
func use(v *yamlfile.Value, used map[*yamlfile.Value]bool) {
	used[v] = true
	for _, c := range v.ByName {
		used[c] = true
	}
}

func isUsed(v *yamlfile.Value, used map[*yamlfile.Value]bool) bool {
	if used[v] {
		return true
	}
	for _, c := range v.ByName {
		if used[c] {
			return true
		}
	}
	return false
}
