package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/policy"
)

func newShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [flags] NAME [PART]...",
		Short: "print a policy with all that it inherits, and where each part stands",
		Long: `Prints the policy NAME as one file, with all that it inherits from the policies
that it extends. Behind or above each part stands the file and line that it
comes from. What is printed is itself a policy, which decides alike.

A PART is a section of the policy or the name of an entry: rules, limits,
extract, costs, throttled. Only these are printed then.`,
		Example: `  recourse show gmail
  recourse show gmail history-gone
  recourse show --policies policies acme rules limits`,
	}
	policies := policiesFlag(cmd)
	format := formatFlag(cmd, "how to print the policy", "text", "json")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("want the NAME of a policy: recourse list prints them")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return show(cmd, args, *policies, *format) }
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		set, err := overlaid(cmd, *policies)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		if len(args) == 0 {
			return set.Names(), cobra.ShellCompDirectiveNoFileComp
		}
		parts, _ := set.Parts(args[0])
		return partNames(parts), cobra.ShellCompDirectiveNoFileComp
	}
	return cmd
}

// shown is a policy as --format json prints it.
type shown struct {
	Policy   string      `json:"policy"`
	Version  string      `json:"version"`
	Protocol string      `json:"protocol"`
	Source   string      `json:"source"`
	Files    []shownFile `json:"files"` // its own file first, then those that it inherits from
	Parts    []shownPart `json:"parts"`
}

type shownFile struct {
	Policy string `json:"policy"`
	File   string `json:"file"`
}

type shownPart struct {
	Section   string `json:"section"`
	Name      string `json:"name"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Inherited string `json:"inherited"`   // the policy that it was inherited from; empty if it is this policy's own
	InPlaceOf string `json:"in_place_of"` // the inherited rule of the same name that it replaces; empty if there is none
	Text      string `json:"text"`        // YAML
}

func show(cmd *cobra.Command, args []string, dir, format string) error {
	set, err := overlaid(cmd, dir)
	if err != nil {
		return err
	}
	name := args[0]
	p, ok := set.Policy(name)
	if !ok {
		return noPolicy(name, set, dir)
	}
	all, _ := set.Parts(name)
	parts, err := chosen(name, all, args[1:])
	if err != nil {
		return err
	}
	out := shown{Policy: name, Version: p.Version, Protocol: p.Protocol, Source: p.Source, Files: filesOf(name, all), Parts: []shownPart{}}
	for i := range parts {
		x := &parts[i]
		part := shownPart{Section: x.Section, Name: x.Name, File: x.Pos.File, Line: x.Pos.Line, Text: x.Text}
		if x.Policy != name {
			part.Inherited = x.Policy
		}
		if x.Replaced != "" {
			part.InPlaceOf = fmt.Sprintf("%s's %s, %s:%d", x.Replaced, x.Name, x.ReplacedPos.File, x.ReplacedPos.Line)
		}
		out.Parts = append(out.Parts, part)
	}
	if format == "json" {
		return failed(writeJSON(cmd.OutOrStdout(), out))
	}
	return failed(out.writeText(cmd.OutOrStdout(), len(args) == 1))
}

// noPolicy returns the error about a policy that is not in a set, which was read from dir too.
func noPolicy(name string, set *policy.Set, dir string) error {
	if hint := didYouMean(name, set.Names()); hint != "" {
		return fmt.Errorf("no policy %q%s", name, hint)
	}
	if dir == "" {
		return fmt.Errorf("no policy %q: recourse list prints the built-in ones; those of your own are read with --policies DIR", name)
	}
	return fmt.Errorf("no policy %q: recourse list prints their names", name)
}

// chosen returns those parts of a policy that the words name; all of them if there are no words.
func chosen(name string, all []policy.Part, words []string) ([]policy.Part, error) {
	if len(words) == 0 {
		return all, nil
	}
	for _, word := range words {
		if !slices.ContainsFunc(all, func(p policy.Part) bool { return isPart(&p, word) }) {
			return nil, fmt.Errorf("%s has no part %q%s", name, word, didYouMean(word, partNames(all)))
		}
	}
	var parts []policy.Part
	for i := range all {
		if slices.ContainsFunc(words, func(word string) bool { return isPart(&all[i], word) }) {
			parts = append(parts, all[i])
		}
	}
	return parts, nil
}

// isPart reports whether a word of the command line is the section or the name of a part.
func isPart(p *policy.Part, word string) bool {
	section, _, _ := strings.Cut(p.Section, ".")
	return word == section || word == p.Section || p.Name != "" && (word == p.Name || word == p.Section+"."+p.Name)
}

// partNames returns the sections and the names of the parts, each once.
func partNames(parts []policy.Part) []string {
	var names []string
	for i := range parts {
		section, _, _ := strings.Cut(parts[i].Section, ".")
		for _, name := range []string{section, parts[i].Name} {
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// filesOf returns the files that the parts of a policy come from, its own first.
func filesOf(name string, parts []policy.Part) []shownFile {
	files := []shownFile{}
	for i := range parts {
		f := shownFile{parts[i].Policy, parts[i].Pos.File}
		if !slices.Contains(files, f) {
			files = append(files, f)
		}
	}
	slices.SortStableFunc(files, func(a, b shownFile) int {
		switch {
		case a.Policy == name && b.Policy != name:
			return -1
		case b.Policy == name && a.Policy != name:
			return 1
		}
		return 0
	})
	return files
}

// writeText prints the parts as a policy file. whole says that these are all its parts.
func (s *shown) writeText(out io.Writer, whole bool) error {
	w := bufio.NewWriter(out)
	if whole {
		fmt.Fprintf(w, "# %s with all that it inherits, version %s, from\n", s.Policy, s.Version)
		for _, f := range s.Files {
			fmt.Fprintf(w, "#   %s: %s\n", f.Policy, f.File)
		}
	}
	s.dropLast()
	p := &partPrinter{w: w}
	for i := range s.Parts {
		if part := &s.Parts[i]; !whole || part.Section != "extends" { // what it inherits is printed here
			p.print(part)
		}
	}
	return w.Flush()
}

// dropLast drops `last` from the rules that a rule without it follows, which took the place of
// an inherited last rule. In the printed file `last` would move them behind that rule.
func (s *shown) dropLast() {
	inOrder := false // a rule without `last: true` follows
	for i := len(s.Parts) - 1; i >= 0; i-- {
		if p := &s.Parts[i]; isOrdinary(*p) {
			inOrder = true
		} else if inOrder && p.Section == "rules" {
			p.Text = strings.TrimSuffix(strings.Replace(p.Text+"\n", "\nlast: true\n", "\n", 1), "\n")
		}
	}
}

// partPrinter prints parts one behind the other as a policy file, with the lines between them.
type partPrinter struct {
	w       io.Writer
	section string // of the part before: its top-level field
	table   string // of the part before: the mapping within its section; "" = none
}

func (p *partPrinter) print(part *shownPart) {
	top, sub, _ := strings.Cut(part.Section, ".")
	field := part.Name == "" && !isList(top) // a top-level field of its own
	if top != p.section && (!field || p.section != "" && !isHead(top)) {
		fmt.Fprintln(p.w)
	}
	switch {
	case field:
		p.table = ""
	case top != p.section:
		fmt.Fprintf(p.w, "%s:\n", top)
		p.table = ""
	}
	p.section = top
	indent := ""
	if !field {
		indent = "  "
	}
	if sub != p.table {
		p.table = sub
		if sub != "" {
			fmt.Fprintf(p.w, "  %s:\n", sub)
		}
	}
	if sub != "" {
		indent += "  "
	}
	part.write(p.w, indent, isList(top))
}

// isOrdinary reports whether a part is a rule without `last: true`.
func isOrdinary(p shownPart) bool {
	return p.Section == "rules" && !strings.Contains("\n"+p.Text+"\n", "\nlast: true\n")
}

// isHead reports whether a section is one of the fields at the beginning of a policy.
func isHead(section string) bool {
	return slices.Contains([]string{"version", "provider", "extends", "source", "protocol"}, section)
}

// isList reports whether a section is a list.
func isList(section string) bool {
	return slices.Contains([]string{"match", "inspect", "operations", "idempotent", "limits", "rules"}, section)
}

// write prints a part. Where the part stands follows its only line or, if it has several,
// precedes them. item says that it is an entry of a list.
func (p *shownPart) write(w io.Writer, indent string, item bool) {
	lines := strings.Split(p.Text, "\n")
	comments := 0
	for comments < len(lines)-1 && strings.HasPrefix(lines[comments], "#") {
		comments++
	}
	from := fmt.Sprintf("# %s:%d", p.File, p.Line)
	if p.InPlaceOf != "" {
		from += ", in place of " + p.InPlaceOf
	}
	body := lines[comments:]
	for i, l := range body {
		if item {
			l = map[bool]string{true: "- ", false: "  "}[i == 0] + l
		}
		body[i] = l
	}
	for _, l := range lines[:comments] {
		fmt.Fprintf(w, "%s%s\n", indent, l)
	}
	if len(body) == 1 {
		fmt.Fprintf(w, "%s%s  %s\n", indent, body[0], from)
		return
	}
	fmt.Fprintf(w, "%s%s\n", indent, from)
	for _, l := range body {
		fmt.Fprintf(w, "%s%s\n", indent, l)
	}
}
