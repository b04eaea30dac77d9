package errtree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"testing"
)

// itself wraps itself.
type itself struct{}

func (e *itself) Error() string { return "itself" }
func (e *itself) Unwrap() error { return e }

// circle wraps itself twice.
type circle struct{}

func (e *circle) Error() string   { return "circle" }
func (e *circle) Unwrap() []error { return []error{e, nil, e} }

// panics does so in one method.
type panics struct{ in string }

func (p panics) may(method string) {
	if p.in == method {
		panic(method)
	}
}
func (p panics) Error() string { p.may("Error"); return "panics" }
func (p panics) Unwrap() error { p.may("Unwrap"); return io.EOF }
func (p panics) Is(error) bool { p.may("Is"); return false }
func (p panics) As(any) bool   { p.may("As"); return false }
func (p panics) Timeout() bool { p.may("Timeout"); return true }

// sliced cannot be compared.
type sliced []string

func (sliced) Error() string { return "sliced" }

// boxed can be compared, but for what it may hold.
type boxed struct{ v any }

func (boxed) Error() string { return "boxed" }

func deep(n int) error {
	err := io.EOF
	for range n {
		err = fmt.Errorf("%w", err)
	}
	return err
}

func wide(n int) error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = errors.New("one of many")
	}
	return errors.Join(append(errs, io.EOF)...)
}

var (
	nilURL     *url.Error
	nilCircle  *circle
	nilPanics  *panics
	listOfList = errors.Join(errors.Join(wide(10), nilURL), wide(10))
)

func TestHostile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		err     error
		bounded bool
		isEOF   bool
		text    string // of the outermost; "" = whatever
	}{
		{"nil", nil, true, false, ""},
		{"plain", io.EOF, true, true, "EOF"},
		{"wrapped", fmt.Errorf("a: %w", io.EOF), true, true, "a: EOF"},
		{"a nil among joined", &circle{}, false, false, "circle"},
		{"itself", &itself{}, false, false, "itself"},
		{"itself, joined", errors.Join(&itself{}, io.EOF), false, false, ""},
		{"after EOF", errors.Join(io.EOF, &itself{}), false, true, ""},
		{"999 deep", deep(999), true, true, "EOF"},
		{"1000 deep", deep(1000), false, false, "EOF"},
		{"wide", wide(900), true, true, ""},
		{"too wide", wide(2000), false, false, ""},
		{"a typed nil", nilURL, false, false, "<nil>"},
		{"a typed nil that wraps a list", nilCircle, false, false, "circle"},
		{"a typed nil with value methods", nilPanics, false, false, "<nil>"},
		{"a typed nil among others", listOfList, false, true, ""},
		{"not comparable", sliced{"a"}, true, false, "sliced"},
		{"wrapped and not comparable", fmt.Errorf("%w", sliced{"a"}), true, false, "sliced"},
		{"not comparable inside", boxed{[]int{1}}, true, false, "boxed"},
		{"panics in Error", panics{"Error"}, true, true, "errtree.panics without a text"},
		{"panics in Unwrap", panics{"Unwrap"}, false, false, "panics"},
		{"panics in Is", panics{"Is"}, false, true, "panics"},
		{"panics in As", panics{"As"}, false, true, "panics"},
		{"panics in Timeout", panics{"Timeout"}, true, true, "panics"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil {
				if Walk(nil, func(error) bool { return true }) {
					t.Error("nil was walked")
				}
			} else if got := Text(tt.err); tt.text != "" && got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
			if got := Bounded(tt.err); got != tt.bounded {
				t.Errorf("bounded %v, want %v", got, tt.bounded)
			}
			if got := Is(tt.err, io.EOF); got != tt.isEOF {
				t.Errorf("is io.EOF %v, want %v", got, tt.isEOF)
			}
			for _, target := range []error{sliced{"a"}, boxed{[]int{1}}} {
				if Is(tt.err, target) {
					t.Errorf("is %#v, which cannot be compared", target)
				}
			}
			if e, ok := As[*url.Error](tt.err); ok {
				t.Errorf("found %#v as a *url.Error", e)
			}
			var to *os.PathError
			if AsTarget(tt.err, &to) {
				t.Errorf("found %#v as a *os.PathError", to)
			}
			Timeout(tt.err)
			Wrapped(tt.err)
		})
	}
}

// What errors.Is and errors.As say of other errors, Is and As say too.
func TestLikeErrors(t *testing.T) {
	path := &os.PathError{Op: "open", Path: "/", Err: os.ErrNotExist}
	for _, err := range []error{
		nil, path, fmt.Errorf("a: %w", path), errors.Join(io.EOF, fmt.Errorf("b: %w", path)), io.EOF, context.DeadlineExceeded,
		&url.Error{Op: "Get", URL: "/", Err: os.ErrDeadlineExceeded},
	} {
		for _, target := range []error{nil, io.EOF, os.ErrNotExist, path, context.DeadlineExceeded} {
			if got, want := Is(err, target), errors.Is(err, target); got != want {
				t.Errorf("Is(%v, %v) = %v, want %v", err, target, got, want)
			}
		}
		want, ok := errors.AsType[*os.PathError](err)
		if got, found := As[*os.PathError](err); got != want || found != ok {
			t.Errorf("As(%v) = %v, %v; want %v, %v", err, got, found, want, ok)
		}
		var to, wanted interface{ Timeout() bool }
		if got, want := AsTarget(err, &to), errors.As(err, &wanted); got != want || to != wanted {
			t.Errorf("AsTarget(%v) = %v, %v; want %v, %v", err, got, to, want, wanted)
		}
		if got, want := Timeout(err), wanted != nil && wanted.Timeout(); got != want {
			t.Errorf("Timeout(%v) = %v, want %v", err, got, want)
		}
	}
}

func TestGrow(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	tests := []struct {
		name  string
		given error
		want  string // the texts of the leaves, joined ones in brackets
		whole bool
	}{
		{"nothing inside", one, "one", true},
		{"wrapped", fmt.Errorf("a: %w", fmt.Errorf("b: %w", one)), "one", true},
		{"joined", errors.Join(one, fmt.Errorf("c: %w", two)), "[one two]", true},
		{"wraps nil", wrapsNil{}, "wraps nil", true},
		{"wraps itself", &itself{}, "", false},
		{"panics", panics{"Unwrap"}, "", false},
	}
	for _, tt := range tests {
		tree, whole := Grow(tt.given)
		if whole != tt.whole || whole && leaves(&tree) != tt.want {
			t.Errorf("%s: given %q\ngot  %+v, whole %v\nwant %s, whole %v", tt.name, tt.given, tree, whole, tt.want, tt.whole)
		}
	}
}

type wrapsNil struct{}

func (wrapsNil) Error() string { return "wraps nil" }
func (wrapsNil) Unwrap() error { return nil }

func leaves(t *Tree) string {
	if len(t.Kids) == 0 {
		return t.Err.Error()
	}
	var all []string
	for i := range t.Kids {
		all = append(all, leaves(&t.Kids[i]))
	}
	if t.Joined {
		return fmt.Sprint(all)
	}
	return all[0]
}
