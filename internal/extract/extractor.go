package extract

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// Extractor reads one fact from a reply. It does not change once it is made, and is safe
// for concurrent use.
type Extractor struct {
	Form  *Form
	Match *regexp.Regexp // yields its first group, or the whole match, of what is found; nil = all of it
	When  string         // condition over status, header, method and operation, without which it is not used; "" = always used
	Holds *rules.Set     // When, compiled; nil = always used
	As    string         // how a time is written: "s", "ms", "duration", "time" or "epoch"; "" = to be told by its form
	Fold  bool           // turn the value into lower case

	text   string // what the policy file says
	reader reader // of text
}

// New returns an extractor of a form. value is what the form's field yields when it has
// been checked.
func New(form *Form, value any) Extractor {
	return Extractor{Form: form, text: fmt.Sprint(value), reader: form.compile(value)}
}

// Applies reports whether the extractor's condition holds for e.
func (x *Extractor) Applies(e *rules.Event) bool { return x.Holds == nil || x.Holds.Match(e) == 0 }

// Values returns the values that x finds in r, at most limit of them. They are trimmed, and
// none is empty. They are good until r is asked again.
func (x *Extractor) Values(r *Reply, limit int) []string {
	found := x.reader.read(r.buf[:0], r, limit)
	kept, room := found[:0], Window
	for _, v := range found {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		if x.Match != nil {
			v = v[:min(len(v), room)] // a pattern reads at most Window bytes of all values together
			room -= len(v)
			if v = firstMatch(x.Match, v); v == "" {
				continue
			}
		}
		if x.Fold {
			v = strings.ToLower(v)
		}
		kept = append(kept, v)
	}
	return kept
}

// First returns the first value that x finds in r, or "".
func (x *Extractor) First(r *Reply) string {
	if v := x.Values(r, 1); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Hidden reports whether the values of x must not be shown, as those of a secret header.
func (x *Extractor) Hidden() bool { return x.Form.hidden != nil && x.Form.hidden(x.text) }

// String returns the extractor as a policy file writes it, without its condition.
func (x *Extractor) String() string {
	if x.Form == Text {
		return "text '" + x.text + "'"
	}
	s := x.Form.Field.Name + " " + x.text
	if x.Match != nil {
		s += " match '" + x.Match.String() + "'"
	}
	return s
}

// Hash adds all that extractors do to a digest.
func Hash(w io.Writer, list []Extractor) {
	fmt.Fprintf(w, " [%d", len(list))
	for i := range list {
		list[i].hash(w)
	}
}

func (x *Extractor) hash(w io.Writer) {
	fmt.Fprintf(w, " %s %q %q %v", x.Form.Field.Name, x.text, x.As, x.Fold)
	if x.Match != nil {
		fmt.Fprintf(w, " match %q", x.Match)
	}
	if x.When != "" {
		fmt.Fprintf(w, " when %q", x.When)
	}
}
