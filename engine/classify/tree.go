package classify

import "github.com/recourse-go/recourse/internal/errtree"

// tree is an error and what it wraps. It is made once, since the methods of
// foreign errors may answer differently each time.
type tree struct {
	err    error
	kids   []tree
	joined bool // kids are branches of which none wraps another
}

// grow makes the tree of err. whole is false where err wraps more than
// errtree.Max, such as itself, or where a foreign method panics, as that of a nil
// pointer may: then nothing is known.
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
