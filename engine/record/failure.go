package record

import (
	"slices"
	"strings"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// This file copies what is to be recorded of a failure, in the goroutine of its call.

// failure is a copy of what is needed of a Notice, which is valid only during Observe.
type failure struct {
	seq     uint64
	oneIn   int // how many failures it stands for; 0 = itself only
	bytes   int // its approximate size in memory
	account string
	event   rules.Event
	before  engine.State
	decided engine.Decision
	policy  *policy.Policy
	reading *reading
}

// failureOf copies what is needed of a notice. It runs in the goroutine of a call.
func failureOf(n *engine.Notice) *failure {
	f := &failure{account: strings.Clone(n.Account), event: *n.Event, decided: *n.Decision, policy: n.Policy, reading: readingOf(n.Policy)}
	if n.Before != nil {
		f.before = *n.Before
	}
	e := &f.event
	size := 1024
	text := func(s string) string {
		size += len(s)
		return strings.Clone(s) // s may be a part of a response's body, which would all be kept in memory
	}
	e.Operation, e.Method, e.IMAPStatus, e.Network = text(e.Operation), text(e.Method), text(e.IMAPStatus), text(e.Network)
	e.Type, e.Message = text(e.Type), text(e.Message)
	e.Codes = slices.Clone(e.Codes)
	for i, code := range e.Codes {
		e.Codes[i] = text(code)
	}
	if len(e.Facts) > 0 {
		facts := make(map[string]string, len(e.Facts))
		for name, v := range e.Facts {
			facts[text(name)] = text(v)
		}
		e.Facts = facts
	}
	var header map[string][]string
	for _, name := range f.reading.headers {
		values := e.Header[name]
		if len(values) == 0 {
			continue
		}
		if header == nil {
			header = map[string][]string{}
		}
		for _, v := range values[:min(len(values), maxValues)] {
			header[name] = append(header[name], text(v[:min(len(v), maxHeader+1)]))
		}
	}
	e.Header = header
	if f.reading.body {
		e.Body = text(e.Body)
	} else {
		e.Body = ""
	}
	f.decided.As = text(f.decided.As)
	f.bytes = size
	return f
}
