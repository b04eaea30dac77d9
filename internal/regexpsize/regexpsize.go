// Package regexpsize measures regular expressions. The time that one takes is bounded by
// its size times the length of the text, so whoever reads one from a file bounds its size.
package regexpsize

import "regexp/syntax"

// Of returns the number of instructions that a regular expression compiles to. The error is
// a *syntax.Error if it is none.
func Of(expr string) (int, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0, err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0, err
	}
	return len(prog.Inst), nil
}
