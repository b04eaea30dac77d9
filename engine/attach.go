package engine

import (
	"context"
	"slices"
	"sync/atomic"
)

// Observers that are added while the engine runs, as by a debug page.

// audience is who is told what the engine does, beside Options.Observer.
type audience struct {
	any      atomic.Bool // somebody is told; set from the beginning where there is an Options.Observer
	attached atomic.Pointer[[]*attached]
}

// attached is one who was attached. Its address tells it from others that are alike.
type attached struct{ Observer }

// Attach makes o hear what the engine does from now on, beside Options.Observer, and returns
// what ends that. It is told less: no attempt that succeeded, and no response body that nobody
// closed where there is no Options.Observer, since the calls that go well are not to pay for
// somebody who looks. It may be called at any time; o must do what an Observer has to.
//
// Who is not attached costs nothing: no call looks for observers one by one.
func (e *Engine) Attach(o Observer) (detach func()) {
	a := &attached{o}
	e.change(func(list []*attached) []*attached { return append(list, a) })
	return func() {
		e.change(func(list []*attached) []*attached {
			return slices.DeleteFunc(list, func(one *attached) bool { return one == a })
		})
	}
}

// change replaces the list of those who are attached; how gets a copy of it.
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

// observed reports whether somebody is told what happens.
func (e *Engine) observed() bool { return e.audience.any.Load() }

// tell tells all who want to know.
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
