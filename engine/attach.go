package engine

import (
	"context"
	"slices"
	"sync/atomic"
)

// Observers that are added while the engine runs, as by a debug page.

// audience is the observers of an engine beside Options.Observer.
type audience struct {
	any      atomic.Bool // there is an observer, Options.Observer or an attached one
	attached atomic.Pointer[[]*attached]
}

// attached is an attached observer. Its address identifies it, since an Observer may not be
// comparable.
type attached struct{ Observer }

// Attach adds an observer beside Options.Observer, and returns a function that removes it. Both
// may be called at any time and from any goroutine. An attached observer is told less than
// Options.Observer: it is not told of attempts that succeeded, nor, if there is no
// Options.Observer, of response bodies that nobody closed, since calls that succeed must not
// become slower.
func (e *Engine) Attach(o Observer) (detach func()) {
	a := &attached{o}
	e.change(func(list []*attached) []*attached { return append(list, a) })
	return func() {
		e.change(func(list []*attached) []*attached {
			return slices.DeleteFunc(list, func(one *attached) bool { return one == a })
		})
	}
}

// change replaces the list of attached observers by what how makes of a copy of it.
func (e *Engine) change(how func([]*attached) []*attached) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []*attached
	if old := e.audience.attached.Load(); old != nil {
		list = slices.Clone(*old)
	}
	list = how(list)
	if len(list) == 0 {
		e.audience.attached.Store(nil)
	} else {
		e.audience.attached.Store(&list)
	}
	e.audience.any.Store(len(list) > 0 || e.o.Observer != nil)
}

// observed reports whether the engine has any observer.
func (e *Engine) observed() bool { return e.audience.any.Load() }

// tell tells all observers.
func (e *Engine) tell(ctx context.Context, n *Notice) {
	if e.o.Observer != nil {
		e.o.Observer.Observe(ctx, n)
	}
	if list := e.audience.attached.Load(); list != nil {
		for _, o := range *list {
			o.Observe(ctx, n)
		}
	}
}
