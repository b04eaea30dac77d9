package errtree

// Tree is an error and the errors that it wraps. It is built once, because the
// Unwrap method of a foreign error may answer differently each time.
type Tree struct {
	Err    error
	Kids   []Tree // what Err wraps; none of them has a nil Err
	Joined bool   // Err joins Kids, as errors.Join does
}

// Grow builds the tree of err. whole is false if err wraps more than Max errors (it may
// wrap itself) or if a method of a foreign error panics, as that of a nil pointer may. The
// tree is then not to be used.
func Grow(err error) (t Tree, whole bool) {
	budget := Max
	return growTo(err, &budget)
}

func growTo(err error, budget *int) (t Tree, whole bool) {
	if *budget--; *budget < 0 {
		return t, false
	}
	t.Err = err
	var inner []error
	if inner, t.Joined, whole = Wrapped(err); !whole {
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
		t.Kids = append(t.Kids, kid)
	}
	return t, true
}
