package simulate

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/recourse-go/recourse/internal/closest"
)

// Condition is an expression over a result, such as "early_returns > 0". Its names are those
// of the fields of Totals in JSON, and "given_up" (all calls that were given up). If there is
// a result to compare with, "against" has the same names, such as "against.done".
type Condition struct {
	text    string
	program *vm.Program
}

// maxCondition is the most bytes of a condition.
const maxCondition = 2000

// functions are the functions of expr that a condition may use. Those that take a predicate,
// such as any, cannot be disabled. The memory that expr allows bounds the cost of a condition.
var functions = []string{"abs", "ceil", "floor", "round", "max", "min", "sum", "len", "values"}

// NewCondition compiles a condition. compared says whether there is a result to compare with.
// The error says what is wrong with the text, with a hint at what may have been meant.
func NewCondition(text string, compared bool) (*Condition, error) {
	if len(text) > maxCondition {
		return nil, fmt.Errorf("longer than %d bytes", maxCondition)
	}
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("empty")
	}
	against := (*Result)(nil)
	if compared {
		against = &Result{}
	}
	options := []expr.Option{expr.Env(environment(&Result{}, against)), expr.AsBool(), expr.DisableAllBuiltins()}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, options...)
	if err != nil {
		return nil, explainCondition(err, compared)
	}
	return &Condition{text, program}, nil
}

var (
	unknownName  = regexp.MustCompile(`unknown name (\w+)`)
	unknownField = regexp.MustCompile(`has no field (\w+)`)
)

// explainCondition adds a hint at what may have been meant to an error of expr.
func explainCondition(err error, compared bool) error {
	text := err.Error()
	text = typeNames.ReplaceAllString(text, "this")
	for _, pattern := range []*regexp.Regexp{unknownName, unknownField} {
		m := pattern.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		if m[1] == "against" && !compared {
			return fmt.Errorf("%s\nhint: there is something to compare with only with --against", text)
		}
		hint := "recourse help simulate lists the names"
		if near := closest.Word(m[1], Names()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return fmt.Errorf("%s\nhint: %s", text, hint)
	}
	return fmt.Errorf("%s", text)
}

// typeNames matches the names that expr's errors give to the types of environment.
var typeNames = regexp.MustCompile(`type struct \{[^\n]*\}`)

// Holds reports whether the condition is true of a result. against is the result to compare
// with, if the condition was compiled with compared; else it is nil.
func (c *Condition) Holds(r, against *Result) (bool, error) {
	out, err := expr.Run(c.program, environment(r, against))
	if err != nil {
		return false, fmt.Errorf("%q: %w", c.text, err)
	}
	return out.(bool), nil // AsBool
}

// Names returns the names that a condition may use, sorted.
func Names() []string {
	names := []string{"against"}
	addNames(&names, "", reflect.TypeFor[Totals]())
	names = append(names, "given_up")
	slices.Sort(names)
	return names
}

func addNames(names *[]string, prefix string, t reflect.Type) {
	for i := range t.NumField() {
		name := prefix + t.Field(i).Tag.Get("json")
		*names = append(*names, name)
		if f := t.Field(i).Type; f.Kind() == reflect.Struct {
			addNames(names, name+".", f)
		}
	}
}

// environment returns the values of the names of a condition.
func environment(r, against *Result) map[string]any {
	env := totalsOf(&r.Totals)
	if against != nil {
		env["against"] = asStruct(totalsOf(&against.Totals))
	}
	return env
}

func totalsOf(t *Totals) map[string]any {
	env := fieldsOf(reflect.ValueOf(*t))
	given := 0
	for n := range maps.Values(t.Failed) {
		given += n
	}
	env["given_up"] = given
	if t.Failed == nil {
		env["failed"] = map[string]int{}
	}
	return env
}

// fieldsOf returns the fields of a struct by their names in JSON.
func fieldsOf(v reflect.Value) map[string]any {
	env := map[string]any{}
	for i := range v.NumField() {
		f := v.Field(i)
		value := f.Interface()
		if f.Kind() == reflect.Struct {
			value = asStruct(fieldsOf(f))
		}
		env[v.Type().Field(i).Tag.Get("json")] = value
	}
	return env
}

// asStruct returns a struct with the fields of a map. Unlike the keys of a map, expr checks
// the fields of a struct when it compiles a condition.
func asStruct(m map[string]any) any {
	var fields []reflect.StructField
	names := slices.Sorted(maps.Keys(m))
	for i, name := range names {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: reflect.TypeOf(m[name]), Tag: reflect.StructTag(fmt.Sprintf(`expr:%q`, name)),
		})
	}
	v := reflect.New(reflect.StructOf(fields)).Elem()
	for i, name := range names {
		v.Field(i).Set(reflect.ValueOf(m[name]))
	}
	return v.Interface()
}
