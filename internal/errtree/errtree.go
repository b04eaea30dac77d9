// Package errtree looks into errors that foreign code has made. It does what
// package errors does, but always ends and never panics. Foreign errors need that
// care: an error may wrap itself or thousands of others, and the methods of a nil
// pointer that became an error may dereference it.
package errtree

import "reflect"

// Max is how many errors of one error's tree are looked at, all branches counted.
const Max = 1000

// Wrapped returns the errors that err itself wraps. joined is true if err has a method
// that lists several errors. Such a method is called before Unwrap() error, in which
// some libraries return only the last of several errors. ok is false if the method panics.
func Wrapped(err error) (inner []error, joined, ok bool) {
	defer func() {
		if recover() != nil {
			inner, joined, ok = nil, false, false
		}
	}()
	switch w := err.(type) {
	case interface{ Unwrap() []error }:
		return w.Unwrap(), true, true
	case interface{ WrappedErrors() []error }: // hashicorp/go-multierror, avast/retry-go
		return w.WrappedErrors(), true, true
	case interface{ Errors() []error }: // go.uber.org/multierr, Kubernetes' Aggregate
		return w.Errors(), true, true
	case interface{ Unwrap() error }:
		return []error{w.Unwrap()}, false, true
	}
	return nil, false, true
}

// Alone reports whether err has none of the methods by which it could wrap or equal
// another error. Most errors have none, so that no walk is needed to look into them.
func Alone(err error) bool {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }, interface{ WrappedErrors() []error }, interface{ Errors() []error },
		interface{ Is(error) bool }, interface{ As(any) bool }:
		return false
	}
	return true
}

// Walk calls f for err and for the errors that it wraps, depth first and the outermost
// first, until f returns true. It reports whether f did. A panic of f counts as false.
func Walk(err error, f func(error) bool) bool {
	w := walker{f: f, left: Max}
	if err != nil && Alone(err) {
		return w.holds(err)
	}
	return w.walk(err)
}

// Bounded reports whether package errors can look into err safely: its tree has at most
// Max errors, and none of the methods that package errors calls panics.
func Bounded(err error) bool {
	w := walker{f: probe, left: Max}
	w.walk(err)
	return w.left >= 0 && !w.panicked
}

// probe calls the methods besides Unwrap that package errors calls.
func probe(err error) bool {
	if x, can := err.(interface{ Is(error) bool }); can {
		x.Is(probeError{})
	}
	if x, can := err.(interface{ As(any) bool }); can {
		x.As(new(probeError))
	}
	return false
}

// probeError is a type that no foreign method knows.
type probeError struct{}

func (probeError) Error() string { return "errtree: probe" }

type walker struct {
	f        func(error) bool
	left     int  // errors that may still be looked at; below 0 = there were more
	panicked bool // f or a method that unwraps has panicked
}

func (w *walker) walk(err error) bool {
	if err == nil {
		return false
	}
	if w.left--; w.left < 0 {
		return false
	}
	if w.holds(err) {
		return true
	}
	inner, _, ok := Wrapped(err)
	w.panicked = w.panicked || !ok
	for _, err := range inner {
		if w.left < 0 {
			return false
		}
		if w.walk(err) {
			return true
		}
	}
	return false
}

func (w *walker) holds(err error) (ok bool) {
	defer func() {
		if recover() != nil {
			ok, w.panicked = false, true
		}
	}()
	return w.f(err)
}

func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// As does what [errors.AsType] does, but does not accept a nil pointer.
func As[T error](err error) (found T, ok bool) {
	if Alone(err) {
		if e, is := err.(T); is && !isNil(e) {
			return e, true
		}
		return found, false
	}
	ok = Walk(err, func(err error) bool {
		if e, is := err.(T); is && !isNil(e) {
			found = e
			return true
		}
		if x, can := err.(interface{ As(any) bool }); can {
			var e T
			if x.As(&e) && any(e) != nil && !isNil(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found, ok
}

// AsTarget does what [errors.As] does. The target must be one that errors.As accepts.
func AsTarget(err error, target any) bool {
	to := reflect.ValueOf(target).Elem()
	return Walk(err, func(err error) bool {
		if v := reflect.ValueOf(err); v.Type().AssignableTo(to.Type()) {
			to.Set(v)
			return true
		}
		x, can := err.(interface{ As(any) bool })
		return can && x.As(target)
	})
}

// Is does what [errors.Is] does.
func Is(err, target error) bool {
	if err == nil || target == nil {
		return err == target
	}
	if Alone(err) && reflect.TypeOf(err) != reflect.TypeOf(target) {
		return false
	}
	equal := reflect.TypeOf(target).Comparable()
	return Walk(err, func(err error) bool {
		if equal && err == target {
			return true
		}
		x, can := err.(interface{ Is(error) bool })
		return can && x.Is(target)
	})
}

// Timeout returns what the Timeout method of net.Error says, of the outermost error in
// err that has it; false if none has.
func Timeout(err error) (timeout bool) {
	Walk(err, func(err error) bool {
		t, can := err.(interface{ Timeout() bool })
		if can {
			timeout = t.Timeout()
		}
		return can
	})
	return timeout
}

// Text returns err.Error(). If that panics, it returns "<nil>" for a nil pointer, as
// fmt does, or a text with the type's name.
func Text(err error) (text string) {
	defer func() {
		if recover() != nil {
			if text = "<nil>"; !isNil(err) {
				text = reflect.TypeOf(err).String() + " without a text"
			}
		}
	}()
	return err.Error()
}
