package classify

import "github.com/recourse-go/recourse/internal/errtree"

// tree is an error and the errors that it wraps. It is built once, because the
// Unwrap method of a foreign error may answer differently each time.
type tree struct {
	err    error
	kids   []tree
	joined bool // err joins kids, as errors.Join does
}

// grow builds the tree of err. whole is false if err wraps more than errtree.Max
// errors (it may wrap itself) or if a method of a foreign error panics, as that of
// a nil pointer may. The tree is then not to be used.
func grow(err error) (t tree, whole bool) {
	budget := errtree.Max
	return growTo(err, &budget)
}

func growTo(err error, budget *int) (t tree, whole bool) {
	if *budget--; *budget < 0 {
		return t, false
	}
	t.err = err
	var inner []error
	if inner, t.joined, whole = errtree.Wrapped(err); !whole {
		return t, false
	}
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
