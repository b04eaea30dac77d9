package lending

import (
	"context"
	"reflect"
	"time"
	"unsafe"
)

// attemptContext is the context of an attempt that holds a permit. It is never used for a
// second attempt, so that whoever keeps it after the attempt never sees the permit of
// another call. But for that it is its parent.
//
// Most attempts that follow each other have the same parent, a worker's. So what a context
// has is kept once for many of them (siblings), and of its own each has only its address
// and one byte, which leads from there to the others: 24 bytes a call, as an object of its
// own needs, made a limited call of Do's a third slower, mostly by the garbage collector's
// work.
type attemptContext struct{ place uint8 } // in the array behind siblings

// siblings are contexts with the same parent and Lender. Neither changes.
type siblings struct {
	parent context.Context
	lender *Lender
}

const (
	fewSiblings  = 8   // an object of 32 bytes
	manySiblings = 232 // … of 256
)

// What newSiblings allocates: the contexts stand right behind what they share.
type (
	fewContexts struct {
		siblings
		contexts [fewSiblings]attemptContext
	}
	manyContexts struct {
		siblings
		contexts [manySiblings]attemptContext
	}
)

// newSiblings returns unused contexts of attempts with the parent ctx. many says that
// there were attempts with that parent before.
func newSiblings(ctx context.Context, l *Lender, many bool) (s *siblings, unused []attemptContext) {
	if many {
		x := new(manyContexts)
		s, unused = &x.siblings, x.contexts[:]
	} else {
		x := new(fewContexts)
		s, unused = &x.siblings, x.contexts[:]
	}
	for i := range unused {
		unused[i].place = uint8(i)
	}
	s.parent, s.lender = ctx, l
	return s, unused
}

// isComparable reports whether ctx can be compared with other contexts for sure: those that
// are not pointers could be such that it panics.
func isComparable(ctx context.Context) bool {
	return reflect.TypeOf(ctx).Kind() == reflect.Pointer || ctx == context.Background() || ctx == context.TODO()
}

// siblings returns what c shares with others. c is in an array behind it, at c.place.
func (c *attemptContext) siblings() *siblings {
	return (*siblings)(unsafe.Add(unsafe.Pointer(c), -int(unsafe.Offsetof(fewContexts{}.contexts))-int(c.place)))
}

// The array begins at the same place in both structs, or this does not compile.
var _ [unsafe.Offsetof(manyContexts{}.contexts) - unsafe.Offsetof(fewContexts{}.contexts)]struct{} = [0]struct{}{}

type attemptContextKey struct{}

// Value implements context.Context.
func (c *attemptContext) Value(key any) any {
	if key == (attemptContextKey{}) {
		return c
	}
	return c.siblings().parent.Value(key)
}

// Deadline implements context.Context.
func (c *attemptContext) Deadline() (time.Time, bool) { return c.siblings().parent.Deadline() }

// Done implements context.Context.
func (c *attemptContext) Done() <-chan struct{} { return c.siblings().parent.Done() }

// Err implements context.Context.
func (c *attemptContext) Err() error { return c.siblings().parent.Err() }
