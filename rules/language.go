package rules

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/vm"
)

// environment is what expr sees of an event: the language's facts under their
// names. A value of it types the expressions; at run time expr reads through a
// pointer, which is the same to it and saves a copy.
type environment struct {
	Provider   string              `expr:"provider"`
	Operation  string              `expr:"operation"`
	Method     string              `expr:"method"`
	Protocol   string              `expr:"protocol"`
	Status     int                 `expr:"status"`
	IMAPStatus string              `expr:"imap_status"`
	Type       string              `expr:"type"`
	Code       string              `expr:"code"`
	Codes      []string            `expr:"codes"`
	Message    string              `expr:"message"`
	Facts      map[string]string   `expr:"facts"`
	Network    string              `expr:"network"`
	RetryAfter time.Duration       `expr:"retry_after"`
	Attempt    int                 `expr:"attempt"`
	Elapsed    time.Duration       `expr:"elapsed"`
	Idempotent bool                `expr:"idempotent"`
	Sent       bool                `expr:"sent"`
	HeaderFunc func(string) string `expr:"header"`
	Body       string              `expr:"body"`

	header map[string][]string
}

var (
	noCodes = []string{}
	noFacts = map[string]string{}
)

// set copies what a rule sees of e. A fact is never nil to a rule: no codes are
// an empty list, no facts an empty map.
func (v *environment) set(e *Event) {
	text := func(f fact) string { return textOf(e, f, "") }
	v.Provider, v.Operation, v.Method, v.Protocol = text(factProvider), text(factOperation), text(factMethod), text(factProtocol)
	v.Status, v.IMAPStatus = e.Status, text(factIMAPStatus)
	v.Type, v.Code, v.Codes, v.Message, v.Facts = text(factType), text(factCode), codesOf(e), text(factMessage), e.Facts
	if len(v.Codes) == 0 {
		v.Codes = noCodes
	}
	if slices.ContainsFunc(v.Codes, func(s string) bool { return len(s) > maxWord }) {
		v.Codes = slices.Clone(v.Codes)
		for i, s := range v.Codes {
			v.Codes[i] = cut(s, maxWord)
		}
	}
	if v.Facts == nil {
		v.Facts = noFacts
	}
	for _, s := range v.Facts {
		if len(s) > maxText {
			v.Facts = maps.Clone(v.Facts)
			for name, s := range v.Facts {
				v.Facts[name] = cut(s, maxText)
			}
			break
		}
	}
	v.Network, v.RetryAfter, v.Attempt, v.Elapsed = text(factNetwork), e.RetryAfter, e.Attempt, e.Elapsed
	v.Idempotent, v.Sent = e.Idempotent, e.Sent
	v.header, v.Body = e.Header, text(factBody)
}

// headerValue is the function header("X"): the first value of one header,
// whatever the case of its name, or "".
func (v *environment) headerValue(name string) string {
	return firstHeader(v.header, canonicalHeader(name))
}

func firstHeader(h map[string][]string, canonical string) string {
	if values := h[canonical]; len(values) > 0 {
		return cut(values[0], maxText)
	}
	return ""
}

// canonicalHeader writes a header's name as net/http stores it: a capital at
// the start and after each hyphen, unless the name holds a byte that no header
// name may hold (RFC 9110, section 5.6.2), when it stays as it is.
func canonicalHeader(name string) string {
	for i := 0; i < len(name); i++ {
		if !isTokenByte(name[i]) {
			return name
		}
	}
	b, upper := []byte(name), true
	for i, c := range b {
		switch {
		case upper && 'a' <= c && c <= 'z':
			b[i] = c - ('a' - 'A')
		case !upper && 'A' <= c && c <= 'Z':
			b[i] = c + ('a' - 'A')
		}
		upper = c == '-'
	}
	return string(b)
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}

// factNames are the names that a rule may use for facts, in the order of the
// language's reference.
var factNames = func() []string {
	var names []string
	t := reflect.TypeFor[environment]()
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("expr"); name != "" && name != "header" {
			names = append(names, name)
		}
	}
	return names
}()

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

// newConfig is expr's configuration for our language; each compilation that
// may run beside another needs one of its own, since it caches.
func newConfig(maxNodes int) *conf.Config {
	c := conf.New(environment{})
	c.Expect, c.ExpectAny = reflect.Bool, true
	c.MaxNodes = uint(maxNodes)
	return c
}

// machine is expr's interpreter with the environment that it reads, reused
// from one evaluation to the next.
type machine struct {
	vm  vm.VM
	env environment
}

func newMachine() *machine {
	m := new(machine)
	m.env.HeaderFunc = m.env.headerValue
	return m
}

// run evaluates p over the event that env was set to.
func (m *machine) run(p *vm.Program) (held bool, err error) {
	out, err := m.vm.Run(p, &m.env)
	if err != nil {
		return false, err
	}
	held, _ = out.(bool)
	return held, nil
}

// forget drops what m knows of the last event, so that a pooled machine keeps
// no body alive.
func (m *machine) forget() {
	fn := m.env.HeaderFunc
	m.env = environment{HeaderFunc: fn}
	clear(m.vm.Stack[:cap(m.vm.Stack)])
}
