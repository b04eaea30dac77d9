package rules

// What lint can find: the values of Finding.Code.
const (
	LintNeverMatches       = "never-matches"       // no event can satisfy the rule
	LintShadowed           = "shadowed"            // an earlier rule always matches first
	LintConstant           = "constant"            // a part of the condition is always true
	LintDefaultUnreachable = "default-unreachable" // the rules leave nothing to the default
)

// Finding is something in a set of valid rules that is surely not meant.
type Finding struct {
	Rule    int    // the rule's index; the number of rules for the default
	Code    string // one of the Lint constants
	Message string
	Hint    string // may be empty
	By      int    // the shadowing rule, or -1
}

// Lint looks for rules that can never decide anything.
func (s *Set) Lint() []Finding { return nil }
