package classify

// maxErrors is how many errors one error may wrap, all branches counted; what
// wraps more, such as one that wraps itself, says nothing.
const maxErrors = 1000

// tree is an error and what it wraps. It is made once, since the methods of
// foreign errors may answer differently each time.
type tree struct {
	err    error
	kids   []tree
	joined bool // kids are branches of which none wraps another
}

// grow makes the tree of err. whole is false where err wraps more than
// maxErrors, or where a foreign method panics: then nothing is known.
func grow(err error) (t tree, whole bool) {
	defer func() {
		if recover() != nil { // a nil pointer, for example
			whole = false
		}
	}()
	budget := maxErrors
	return growTo(err, &budget)
}

func growTo(err error, budget *int) (t tree, whole bool) {
	if *budget--; *budget < 0 {
		return t, false
	}
	t.err = err
	var inner []error
	inner, t.joined = wrapped(err)
	for _, err := range inner {
		if err == nil {
			continue
		}
		kid, ok := growTo(err, budget)
		if !ok {
			return t, false
		}
		t.kids = append(t.kids, kid)
	}
	return t, true
}

// wrapped is what err itself wraps. Some libraries name but the last of several
// errors in Unwrap, so a list counts first.
func wrapped(err error) (inner []error, joined bool) {
	switch w := err.(type) {
	case interface{ Unwrap() []error }:
		return w.Unwrap(), true
	case interface{ WrappedErrors() []error }: // hashicorp/go-multierror, avast/retry-go
		return w.WrappedErrors(), true
	case interface{ Errors() []error }: // go.uber.org/multierr, Kubernetes' Aggregate
		return w.Errors(), true
	case interface{ Unwrap() error }:
		return []error{w.Unwrap()}, false
	}
	return nil, false
}
