package policy

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// File is one policy file, not yet read.
type File struct {
	Name string // as diagnostics show it
	Data []byte
}

// LoadOptions say what Load builds on.
type LoadOptions struct {
	// Over is the Set that the files overlay: a file with the same provider
	// replaces that policy (and may extend it), `extends` finds its policies, and
	// the result has them too. Where a file and a policy of Over claim the same
	// requests, the file's policy gets them. Nil = the files stand alone.
	Over *Set
}

// Set is a number of policies that were loaded together. It is immutable and
// safe for concurrent use.
type Set struct {
	entries []*entry // sorted by name
	byName  map[string]*entry
	layers  map[string]*layer
	hosts   hosts
	version string
	above   int // how many Sets it lies over
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

// claims reports matches that no request tells apart.
func (s *Set) claims(own []*layer, r *yamlfile.Report) {
	type claim struct {
		p  *entry
		m  Match
		at yamlfile.Span
	}
	type rank struct {
		host   string
		length int // of the path: the longest wins
	}
	groups := map[rank][]claim{}
	for _, p := range s.entries {
		l := s.layers[p.name]
		for ; l != nil && l.head.Child("match") == nil; l = l.lower {
		}
		if l == nil {
			continue
		}
		for _, v := range good(l.head.Items("match")) {
			if h, ok := yamlfile.Get[string](v, "host"); ok {
				m := Match{Host: h, Path: yamlfile.GetOr(v, "path", "")}
				at := rank{h, literals(m.Path)}
				groups[at] = append(groups[at], claim{p, m, v.KeyOrFirst()})
			}
		}
	}
	fresh := map[*yamlfile.File]bool{}
	for _, l := range own {
		fresh[l.src] = true
	}
	for _, group := range groups {
		if !slices.ContainsFunc(group, func(c claim) bool { return c.p != group[0].p }) {
			continue // one policy alone: any of its matches will do
		}
		var paths []string
		for _, c := range group {
			paths = append(paths, c.m.Path)
		}
		meeting := newMeeting(paths)
		for i, a := range group {
			meeting.each(a.m.Path, func(n int) bool {
				b := group[n]
				if n >= i || a.p == b.p || a.p.above != b.p.above || !pathsMeet(a.m.Path, b.m.Path) {
					return true // one that overlays the other goes first
				}
				at, other := a, b
				if !fresh[at.at.File] || fresh[other.at.File] && r.Order[other.at.File.Name] > r.Order[at.at.File.Name] {
					at, other = other, at
				}
				r.Errorf(at.at, "ambiguous-match", "give one of them a longer path", "%q and %q claim the same requests (%s:%d)",
					at.p.name, other.p.name, other.at.File.Name, other.at.Line)
				return !r.Full(a.at.File, yamlfile.Error) || !r.Full(b.at.File, yamlfile.Error)
			})
		}
	}
}

// Policy is the policy of a provider.
func (s *Set) Policy(name string) (*Policy, bool) {
	if e := s.byName[name]; e != nil {
		return e.policy(), true
	}
	return nil, false
}

// Policies are all policies, sorted by name. The caller may keep the slice. Built-in
// ones that nobody has used yet are read for it: Names does without.
func (s *Set) Policies() []*Policy {
	list := make([]*Policy, len(s.entries))
	for i, e := range s.entries {
		list[i] = e.policy()
	}
	return list
}

// Names are the names of all policies, sorted. The caller may keep the slice.
func (s *Set) Names() []string {
	names := make([]string, len(s.entries))
	for i, e := range s.entries {
		names[i] = e.name
	}
	return names
}

// Unread reports whether a policy is a built-in one that nobody has used yet: it is
// there, and is read when Policy, Policies or Lookup first answers with it.
func (s *Set) Unread(name string) bool {
	e := s.byName[name]
	return e != nil && e.unread != nil && !e.done.Load()
}

// Version is a short hash of all policies; it changes whenever a decision could.
func (s *Set) Version() string { return s.version }

// ReadDir reads the policy files of a directory, not of those below it: *.yaml
// and *.yml, sorted by name, without the test suites *_test.yaml and *_test.yml.
// One that is neither a regular file nor a link to one, such as a named pipe, is
// an error; a directory is left out.
func ReadDir(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.IsDir() || !isPolicyFile(e.Name()) {
			continue
		}
		f, err := readFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func isPolicyFile(name string) bool {
	ext := filepath.Ext(name)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasSuffix(strings.TrimSuffix(name, ext), "_test") && !strings.HasPrefix(name, ".")
}

// ReadFiles reads policy files and, by ReadDir, directories, in the order given.
// A path may also be that of a pipe, as a shell's <(command) is; then it waits
// for the pipe's end.
func ReadFiles(paths ...string) ([]File, error) {
	var files []File
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		if info.IsDir() {
			in, err := ReadDir(path)
			if err != nil {
				return nil, err
			}
			files = append(files, in...)
			continue
		}
		f, err := readNamed(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// readFile reads a regular file, or a link to one. It opens nothing else: to
// open a named pipe is to wait for its writer, for ever perhaps.
func readFile(path string) (File, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return File{}, fmt.Errorf("policy: %w", err)
	case !info.Mode().IsRegular():
		return File{}, fmt.Errorf("policy: %s is not a regular file", path)
	}
	return readNamed(path)
}

// readNamed reads a file that somebody named, which may be a pipe or a terminal.
// It reads no more than it takes to see that a file is too large.
func readNamed(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeType != fs.ModeNamedPipe && info.Mode()&fs.ModeCharDevice == 0 {
		return File{}, fmt.Errorf("policy: %s is not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, yamlfile.MaxSize+1))
	if err != nil {
		return File{}, fmt.Errorf("policy: %w", err)
	}
	return File{Name: path, Data: data}, nil
}
