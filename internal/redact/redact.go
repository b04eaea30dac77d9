// Package redact says what may be shown of errors, and of what servers have
// answered. Texts of errors end up in logs, and quote what was sent: URLs,
// headers, forms, the bodies of token endpoints, commands. A secret has no shape
// of its own, so nothing is searched for secrets here. What is shown is what is
// known to be harmless, and the rest is not:
//
//   - the texts of this project's own errors ([New], [Wrap]);
//   - the texts of the standard library's errors, put together anew of parts that
//     are harmless: what was done, hosts and addresses, the cause;
//   - texts that are, as a whole, constants of the standard library;
//   - URLs without user, query and fragment ([URL]), and of their path what looks
//     like a name;
//   - of a server's answer the status, the codes and the message, of which again
//     only what looks like a name or a word is shown ([Facts]);
//   - of any other error its type, and what it wraps.
package redact

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/recourse-go/recourse/internal/errtree"
)

const (
	// hidden stands for what is not shown.
	hidden = "…"

	// maxText bounds what is shown of one error, in bytes.
	maxText = 1 << 10

	// maxErrors bounds how many of the errors that one error wraps are shown.
	maxErrors = 32
)

// own is an error whose own words may be shown.
type own struct {
	text  string
	cause error // nil = none
}

// New is an error whose text may be shown: nothing of it comes from a caller, a
// request or a server. Like that of errors.New each is another error.
func New(text string) error { return &own{text: text} }

// Wrap is an error whose own text may be shown, and that wraps cause.
func Wrap(text string, cause error) error { return &own{text, cause} }

func (e *own) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + errtree.Text(e.cause)
}

func (e *own) Unwrap() error { return e.cause }

// Error is what may be shown of an error, in one line. known is asked first about
// each error in it, and gives the texts of those types that it knows; it may be
// nil. Error always ends, and does not panic.
func Error(err error, known func(error) (text string, ok bool)) string {
	d := description{known: known, left: maxErrors}
	return clip(d.of(err), maxText)
}

// description is the text of an error in the making.
type description struct {
	known func(error) (string, bool)
	left  int
}

// of describes one error and what it wraps; "" for nil.
func (d *description) of(err error) (text string) {
	if err == nil {
		return ""
	}
	if d.left--; d.left < 0 {
		return hidden
	}
	defer func() {
		if recover() != nil { // as a nil pointer that became an error
			text = typeName(err)
		}
	}()
	if d.known != nil {
		if text, ok := d.known(err); ok {
			return text
		}
	}
	if e, ok := err.(*own); ok {
		return join(e.text, d.of(e.cause))
	}
	if text, ok := d.standard(err); ok {
		return text
	}
	if text, ok := constant(errtree.Text(err)); ok {
		return text
	}
	var causes []string
	inner, _, _ := errtree.Wrapped(err)
	for _, err := range inner {
		if d.left < 0 {
			break
		}
		if text := d.of(err); text != "" {
			causes = append(causes, text)
		}
	}
	cause := strings.Join(causes, "; ")
	if cause != "" && transparent(err) {
		return cause
	}
	kind := typeName(err)
	if t, can := err.(interface{ Timeout() bool }); can && cause == "" && t.Timeout() {
		kind += " (timeout)"
	}
	return join(kind, cause)
}

// transparent reports whether an error that wraps others says nothing by its type.
func transparent(err error) bool {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.PkgPath() {
	case "fmt", "errors", "github.com/recourse-go/recourse/engine", "github.com/cenkalti/backoff/v4":
		return true
	}
	return false
}

// typeName is the name of an error's type.
func typeName(err error) string { return clip(fmt.Sprintf("%T", err), 100) }

// join puts a text before its cause.
func join(text, cause string) string {
	if cause == "" {
		return text
	}
	return text + ": " + cause
}

// clip is the beginning of a text of at most n bytes; it says where it is cut.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + hidden
}
