package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The section `remove`: inherited entries that a policy does without.

// remove drops inherited entries that l's `remove` names: an entry of any section by its
// name, or one of a certain section, as in limits.minute.
func (acc *resolved) remove(l *layer, r *yamlfile.Report) {
	removals := good(l.root.Items("remove"))
	if len(removals) == 0 {
		return
	}
	sections := acc.removable()
	for _, rm := range removals {
		text := rm.Text()
		from, found := drop(sections, text)
		switch {
		case !found && acc.lostAny():
		case !found:
			var known []string
			for _, s := range sections {
				known = append(known, s.left()...)
			}
			r.Errorf(rm.Span(), "unknown-remove", closest.Hint(text, known), "nothing of the name %q is inherited", yamlfile.Cut(text))
		case len(from) > 1:
			r.Warnf(rm.Span(), "ambiguous-remove", fmt.Sprintf("say which: %s.%s", from[0], text),
				"%q is dropped from %s", text, strings.Join(from, " and "))
		}
	}
	for _, s := range sections {
		s.apply()
	}
}

// removable returns the sections of which entries can be dropped.
func (acc *resolved) removable() []*removable {
	return []*removable{
		listSection("rules", "name", &acc.rules),
		listSection("limits", "name", &acc.limits),
		listSection("operations", "operation", &acc.operations),
		listSection("idempotent", "", &acc.idempotent),
		mapSection("backoff", &acc.backoff),
		mapSection("costs", &acc.costs),
	}
}

// drop marks the entries that an entry of `remove` names as dropped. from are the sections
// that have one of just that name; found reports whether there are any entries at all.
func drop(sections []*removable, text string) (from []string, found bool) {
	for _, s := range sections {
		if s.drop(text) {
			from = append(from, s.name)
		}
		if one, named := strings.CutPrefix(text, s.name+"."); named && s.drop(one) {
			found = true
		}
	}
	return from, found || len(from) > 0
}

// removable is a section of which entries can be dropped: a list or a map.
type removable struct {
	name    string
	list    *[]*yamlfile.Value           // nil = it is a map
	nameOf  func(*yamlfile.Value) string // of an entry of list
	of      **yamlfile.Value             // the map
	names   []string
	dropped map[string]bool // by name, whether the entry is dropped
}

// listSection is a list, whose entries the field key names; "" = their text does.
func listSection(name, key string, list *[]*yamlfile.Value) *removable {
	s := &removable{name: name, list: list, dropped: map[string]bool{}}
	s.nameOf = func(v *yamlfile.Value) string {
		if key == "" {
			return v.Text()
		}
		text, _ := yamlfile.Get[string](v, key)
		return text
	}
	for _, v := range *list {
		s.add(s.nameOf(v))
	}
	return s
}

// mapSection is a map, whose keys name its entries.
func mapSection(name string, of **yamlfile.Value) *removable {
	s := &removable{name: name, of: of, dropped: map[string]bool{}}
	if v := *of; v != nil && v.ByName != nil {
		for _, key := range v.Names {
			s.add(key)
		}
	}
	return s
}

// add notes that the section has an entry of that name.
func (s *removable) add(name string) {
	if _, known := s.dropped[name]; name != "" && !known {
		s.names = append(s.names, name)
		s.dropped[name] = false
	}
}

// drop marks the entry of that name as dropped. It returns false if there is none.
func (s *removable) drop(name string) bool {
	if gone, known := s.dropped[name]; !known || gone {
		return false
	}
	s.dropped[name] = true
	return true
}

// left returns the names that are not dropped.
func (s *removable) left() []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return s.dropped[name] })
}

// apply leaves the dropped entries out. It changes no list or map that others share.
func (s *removable) apply() {
	if s.list != nil {
		*s.list = slices.DeleteFunc(slices.Clone(*s.list), func(v *yamlfile.Value) bool { return s.dropped[s.nameOf(v)] })
		return
	}
	if v := *s.of; v != nil && v.ByName != nil {
		c := *v
		c.Names = s.left()
		c.ByName = maps.Clone(v.ByName)
		maps.DeleteFunc(c.ByName, func(name string, _ *yamlfile.Value) bool { return s.dropped[name] })
		*s.of = &c
	}
}
