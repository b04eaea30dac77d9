package lending

import (
	"context"
	"reflect"
	"time"
	"unsafe"
)

// attemptContext is the context of an attempt that holds a permit. It is never used for a
// second attempt, so that code which keeps it after the attempt never sees the permit of
// another call. Apart from that it behaves like its parent.
//
// Consecutive attempts mostly have the same parent, the context of a worker. So one siblings
// struct holds what many contexts share, and each context is only one byte in the array
// behind that struct: the byte says how far away the struct is. A separate object of 24
// bytes for each call made a limited call of Do a third slower, mostly by the work of the
// garbage collector.
type attemptContext struct{ place uint8 } // its index in the array

// siblings is what contexts with the same parent and Lender share. It does not change.
type siblings struct {
	parent context.Context
	lender *Lender
}

const (
	fewSiblings  = 8   // fewContexts is then an object of 32 bytes
	manySiblings = 232 // manyContexts is then an object of 256 bytes
)

// The structs that newSiblings allocates. The contexts follow the siblings struct directly.
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

// isComparable reports whether ctx can certainly be compared with other contexts. Comparing
// contexts that are not pointers may panic.
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
