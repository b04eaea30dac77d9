// Package errtree looks into errors that foreign code has made. It does what
// package errors does, but always ends and never panics: an error may wrap
// itself, or thousands of others, and a nil pointer that became an error may
// dereference itself in any of its methods.
package errtree

import "reflect"

// Max is how many errors one error may wrap, all branches counted. What lies
// beyond is not looked at.
const Max = 1000

// Wrapped is what err itself wraps. joined says that these are branches of which
// none wraps another. Some libraries name but the last of several errors in
// Unwrap, so a list counts first. ok is false where the method panics.
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

// Alone reports whether there is nothing to err but itself: it wraps nothing, and
// has no method by which it answers for another error. Most errors are alone, and
// to look into one takes neither a walk nor care.
func Alone(err error) bool {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }, interface{ WrappedErrors() []error }, interface{ Errors() []error },
		interface{ Is(error) bool }, interface{ As(any) bool }:
		return false
	}
	return true
}

// Walk calls f for err and for what it wraps, outermost first and each branch to
// its end, until f is true. It reports whether f was. What f panics with counts
// as false.
func Walk(err error, f func(error) bool) bool {
	w := walker{f: f, left: Max}
	if err != nil && Alone(err) {
		return w.holds(err)
	}
	return w.walk(err)
}

// Bounded reports whether package errors can look into err: it wraps at most
// Max errors, and none of the methods that package errors calls panics.
func Bounded(err error) bool {
	w := walker{f: probe, left: Max}
	w.walk(err)
	return w.left >= 0 && !w.panicked
}

// probe calls the methods that package errors calls beside Unwrap.
func probe(err error) bool {
	if x, can := err.(interface{ Is(error) bool }); can {
		x.Is(probeError{})
	}
	if x, can := err.(interface{ As(any) bool }); can {
		x.As(new(probeError))
	}
	return false
}

// probeError is an error that nobody else has.
type probeError struct{}

func (probeError) Error() string { return "errtree: probe" }

type walker struct {
	f        func(error) bool
	left     int
	panicked bool
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

// As is [errors.AsType], but a nil pointer is no find.
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

// AsTarget is [errors.As] for a target that errors.As has accepted already.
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

// Is is [errors.Is].
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

// Timeout reports whether the outermost part of err that knows about timeouts
// says that it is one, as net.Error has it.
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

// Text is err's text; where its method panics, what fmt shows of a nil pointer,
// or the type's name.
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
