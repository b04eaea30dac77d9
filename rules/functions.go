package rules

import (
	"slices"

	"github.com/expr-lang/expr/builtin"
)

// refusedFunctions are those of expr's functions that a rule may not call, by
// the code of the error, with the reason. A rule's answer has to depend on its
// event alone, and a hostile response must not be able to make it costly.
var refusedFunctions = map[string]struct{ code, reason string }{
	"now":       {CodeImpureFunction, "reads the clock; compare elapsed or retry_after instead"},
	"date":      {CodeImpureFunction, "depends on the machine's time zones"},
	"timezone":  {CodeImpureFunction, "depends on the machine's time zones"},
	"keys":      {CodeImpureFunction, "lists a map in random order"},
	"values":    {CodeImpureFunction, "lists a map in random order"},
	"toPairs":   {CodeImpureFunction, "lists a map in random order"},
	"repeat":    {CodeUnsafeFunction, "can build a string of any size"},
	"replace":   {CodeUnsafeFunction, "can build a string of any size; use contains or matches"},
	"join":      {CodeUnsafeFunction, "can build a string of any size; use any(codes, ...)"},
	"toJSON":    {CodeUnsafeFunction, "can build a string of any size"},
	"reduce":    {CodeUnsafeFunction, "can build a value of any size; use any, all, count or sum"},
	"concat":    {CodeUnsafeFunction, "can build a list of any size"},
	"flatten":   {CodeUnsafeFunction, "can build a list of any size"},
	"fromPairs": {CodeUnsafeFunction, "can build a map of any size"},
	"groupBy":   {CodeUnsafeFunction, "can build a map of any size; use count"},
	"get":       {CodeUnsupported, "is not needed: facts.NAME and codes[0] read a value"},
}

// functionNames are the functions that a rule may call.
var functionNames = func() []string {
	names := []string{"header"}
	for _, f := range builtin.Builtins {
		if _, refused := refusedFunctions[f.Name]; !refused && f.Name != "type" {
			names = append(names, f.Name) // type is a fact here
		}
	}
	slices.Sort(names[1:])
	return names
}()
