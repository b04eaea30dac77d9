// Package redact says what may be shown of errors and of servers' answers. The texts
// of errors end up in logs, and may quote what was sent: URLs, headers, forms, the
// bodies of token endpoints, commands. A secret has no shape of its own, so this
// package does not search for secrets. It shows what is known to be harmless, and
// hides the rest. Harmless are:
//
//   - the texts of this project's own errors ([New], [Wrap]);
//   - the texts of the standard library's errors, built anew from harmless parts:
//     the operation, hosts and addresses, the cause;
//   - texts that are constants of the standard library;
//   - URLs without user, query and fragment, and those segments of their path that
//     look like names ([URL]);
//   - a server's status, and those of its codes and of the words of its message that
//     look like names and words ([Facts]);
//   - the type of any other error, and what may be shown of the errors that it wraps.
package redact

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/recourse-go/recourse/internal/errtree"
)

const (
	// hidden stands in place of text that is not shown.
	hidden = "…"

	// maxText bounds what is shown of one error, in bytes.
	maxText = 1 << 10

	// maxErrors bounds how many of the errors that one error wraps are shown.
	maxErrors = 32
)

// own is an error whose text may be shown. That of its cause may not: see Error.
type own struct {
	text  string
	cause error // nil = none
}

// New returns an error whose text may be shown. No part of the text may come from a
// caller, a request or a server. Like errors.New, each call returns a distinct error.
func New(text string) error { return &own{text: text} }

// Wrap returns an error that wraps cause, and whose own text may be shown, as with [New].
func Wrap(text string, cause error) error { return &own{text, cause} }

func (e *own) Error() string {
	if e.cause == nil {
		return e.text
	}
	return e.text + ": " + errtree.Text(e.cause)
}

func (e *own) Unwrap() error { return e.cause }

// Error returns what may be shown of an error, in one line. For each error of its tree
// it first calls known, which returns a text that may be shown if it knows the error's
// type; known may be nil. Error always ends, and does not panic.
func Error(err error, known func(error) (text string, ok bool)) string {
	d := description{known: known, left: maxErrors}
	return clip(d.of(err), maxText)
}

// description is the state of one call of Error.
type description struct {
	known func(error) (string, bool)
	left  int // errors that may still be described
}

// of returns what may be shown of one error and of those that it wraps; "" for nil.
func (d *description) of(err error) (text string) {
	if err == nil {
		return ""
	}
	if d.left--; d.left < 0 {
		return hidden
	}
	defer func() {
		if recover() != nil { // such as the methods of a nil pointer that became an error
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

// transparent reports whether the type of an error that wraps others tells nothing, so
// that it is not shown.
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

// typeName returns the name of an error's type.
func typeName(err error) string { return clip(fmt.Sprintf("%T", err), 100) }

// join puts a text before its cause.
func join(text, cause string) string {
	if cause == "" {
		return text
	}
	return text + ": " + cause
}

// clip returns at most the first n bytes of a text, and hidden behind them if it is longer.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + hidden
}
