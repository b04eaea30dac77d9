package classify

import (
	"cmp"
	"strings"

	"github.com/recourse-go/recourse/policy"
)

// Source is where one value of a fact came from.
type Source struct {
	Fact  string // as rules name it: "codes", "message", "facts.doc", "retry_after", …
	From  string // "json error.status", "header Retry-After", "smtp reply", …
	Value string // what was found, cut to 200 bytes; "[hidden]" for the value of a secret header
	Note  string // why the value does not count; "" = it counts
}

// Trace records where the facts of an event came from, in the order in which they were
// found. The zero Trace is empty and ready to use. It must not be shared by goroutines.
type Trace []Source

// add records a value. note says why the value does not count, if it does not. add does
// nothing if t is nil.
func (t *Trace) add(fact, from, value, note string) {
	if t == nil {
		return
	}
	if len(value) > 200 {
		value = string(cutRune([]byte(value[:200]))) + "…"
	}
	*t = append(*t, Source{fact, from, value, note})
}

// describe returns an extractor as a policy file writes it.
func describe(x *policy.Extractor) string {
	var b strings.Builder
	if x.Kind != policy.FromText {
		b.WriteString(x.Kind.String() + " ")
	}
	if x.Root {
		b.WriteByte('/')
	}
	for _, step := range x.In {
		b.WriteString(cmp.Or(step.Name, "*"))
		if step.Value != "" {
			b.WriteString("[@" + step.Attr + `="` + step.Value + `"]`)
		} else if step.Attr != "" {
			b.WriteString("[@" + step.Attr + "]")
		}
		b.WriteByte('/')
	}
	b.WriteString(x.Path)
	if x.Attr != "" {
		b.WriteString("[@" + x.Attr + `="` + x.Value + `"]`)
	}
	switch {
	case x.Text == nil:
	case x.Kind == policy.FromText:
		b.WriteString("text '" + x.Text.String() + "'")
	default:
		b.WriteString(" match '" + x.Text.String() + "'")
	}
	return b.String()
}
