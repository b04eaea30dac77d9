// Package language is expr as rules use it: the names that an expression may read,
// with their types, and the interpreter.
package language

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/vm"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// environment is what expr sees of an event: the language's facts under their
// names. A value of it types the expressions; at run time expr reads through a
// pointer, which is the same to it and saves a copy.
type environment struct {
	fact.Event
	Code       string              `expr:"code"`
	HeaderFunc func(string) string `expr:"header"`
}

var (
	noCodes = []string{}
	noFacts = map[string]string{}
)

// set copies what a rule sees of e. A fact is never nil to a rule: no codes are
// an empty list, no facts an empty map.
func (v *environment) set(e *fact.Event) {
	v.Event = *e
	v.Bound()
	v.Code = fact.TextOf(e, fact.Code, "")
	if len(v.Codes) == 0 {
		v.Codes = noCodes
	}
	if v.Facts == nil {
		v.Facts = noFacts
	}
}

// headerValue is the function header("X"): the first value of one header,
// whatever the case of its name, or "".
func (v *environment) headerValue(name string) string {
	return fact.FirstHeader(v.Header, fact.CanonicalHeader(name))
}

// NewConfig is expr's configuration for our language; each compilation that
// may run beside another needs one of its own, since it caches.
func NewConfig(maxNodes int) *conf.Config {
	c := conf.New(environment{})
	c.Expect, c.ExpectAny = reflect.Bool, true
	c.MaxNodes = uint(maxNodes)
	return c
}

// Machine is expr's interpreter with the environment that it reads. It is reused
// from one event to the next: Borrow one, and Return it.
type Machine struct {
	vm  vm.VM
	env environment
}

var machines = sync.Pool{New: func() any {
	m := new(Machine)
	m.env.HeaderFunc = m.env.headerValue
	return m
}}

// Borrow gives a machine that evaluates over e.
func Borrow(e *fact.Event) *Machine {
	m := machines.Get().(*Machine)
	m.env.set(e)
	return m
}

// Return gives m back, without what it knows of the event, so that it keeps no
// body alive.
func (m *Machine) Return() {
	m.env = environment{HeaderFunc: m.env.HeaderFunc}
	clear(m.vm.Stack[:cap(m.vm.Stack)])
	machines.Put(m)
}

// Run evaluates p.
func (m *Machine) Run(p *vm.Program) (held bool, err error) {
	out, err := m.vm.Run(p, &m.env)
	if err != nil {
		return false, err
	}
	held, _ = out.(bool)
	return held, nil
}

// Compile compiles a `when` just as any user of expr would: the reference that
// everything else about rules is held to.
func Compile(when string) (p *vm.Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("rules: expr cannot compile %q: %v", when, r)
		}
	}()
	return expr.Compile(when, expr.Env(environment{}), expr.AsBool())
}
