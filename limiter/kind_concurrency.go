package limiter

// semaphore is a limit of concurrency. limit.index is the place of its count of permits
// out: see entry.holder.
type semaphore struct{ gate }

var _ algorithm = semaphore{}

func (semaphore) place(g *group, index int) int {
	if index < 0 {
		index = g.holders
		g.holders++
	}
	return index
}

func (semaphore) grow(e *entry, g *group, _ int64) {
	n := g.holders - fewHolders
	if n <= 0 {
		return
	}
	if e.cold == nil {
		e.cold = &coldState{}
	}
	if len(e.cold.holders) < n {
		h := make([]int32, n)
		copy(h, e.cold.holders)
		e.cold.holders = h
	}
}

func (semaphore) idle(e *entry, m *limit, _ int64) bool { return *e.holder(m.index) == 0 }

func (semaphore) take(e *entry, m *limit, x *coldLimit, cost int64, _ bool, _ int64) (int64, bool) {
	most := x.lowered(x.specOf(m).conc)
	out, n := e.holder(m.index), min(cost, most)
	if int64(*out)+n > most {
		return 0, false
	}
	*out += int32(n)
	return n, true
}

func (semaphore) untake(e *entry, m *limit, got, _ int64) { *e.holder(m.index) -= int32(got) }

func (semaphore) ready(e *entry, m *limit, x *coldLimit, cost, _, _, start int64, _ bool) int64 {
	most := x.lowered(x.specOf(m).conc)
	if int64(*e.holder(m.index))+min(cost, most) > most {
		return onEvent
	}
	return start
}

func (semaphore) show(st State, e *entry, m *limit, x *coldLimit, _ int64) State {
	st.Concurrency = x.lowered(x.specOf(m).conc)
	if e != nil {
		st.InFlight = int64(*e.holder(m.index))
	}
	return st
}
