package policy

import (
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Which operations a limit counts: the entries of its `operations`.

// Applies reports whether the limit counts an operation: no entry of `operations` excludes
// it, and one of the other entries matches it, if there are any. The order of the entries
// does not matter. An operation without a name, "", is matched by "*" alone.
func (l *Limit) Applies(operation string) bool {
	named, found := false, false
	for _, g := range l.operations {
		if excluded, ok := excludes(g); !ok {
			named = true
			found = found || Glob(g, operation)
		} else if Glob(excluded, operation) {
			return false
		}
	}
	return found || !named
}

// excludes returns the glob of the operations that an entry of a limit's operations, such
// as "!messages.*", leaves out. ok is false for an entry that says what counts.
func excludes(entry string) (glob string, ok bool) { return strings.CutPrefix(entry, "!") }

// named returns the operations that the limit counts. ok is false if it does not name each
// of them, but has a glob or counts all.
func (l *Limit) named() (operations []string, ok bool) {
	for _, g := range l.operations {
		if _, out := excludes(g); out {
			continue
		}
		if strings.Contains(g, "*") {
			return nil, false
		}
		ok = true
		if l.Applies(g) {
			operations = append(operations, g)
		}
	}
	return operations, ok
}

// counting returns a function that reports whether a limit with these entries may count an
// operation, which is given by its name or by a glob.
func counting(entries []string) func(glob string) bool {
	var in, out []string
	for _, g := range entries {
		if glob, ok := excludes(g); ok {
			out = append(out, glob)
		} else {
			in = append(in, g)
		}
	}
	m := newMeeting(in)
	return func(glob string) (found bool) {
		if covered(glob, out) {
			return false
		}
		if len(in) == 0 {
			return true
		}
		m.each(glob, func(i int) bool {
			found = globsMeet(in[i], glob)
			return !found
		})
		return found
	}
}

// covered reports whether one of the globs in by matches every name that glob matches. It
// compares glob as if it were a name: only a '*' of by matches a '*' of glob, and then it
// also matches whatever that one stands for.
func covered(glob string, by []string) bool { return anyGlob(by, glob) }

// countsNothing warns of each entry of a limit's operations that counts nothing, since other
// entries exclude all that it matches.
func (c *compiler) countsNothing(v *yamlfile.Value, l *Limit) {
	var out []string
	for _, g := range l.operations {
		if glob, ok := excludes(g); ok {
			out = append(out, glob)
		}
	}
	for _, g := range good(v.Items("operations")) {
		if text := g.Text(); len(out) > 0 && covered(text, out) && v.File == c.top.src {
			c.r.Warnf(g.Span(), "no-effect", "an exclusion wins wherever it stands: remove one of the two", "limit %q counts none of %q: they are excluded", l.Name, text)
		}
	}
}
