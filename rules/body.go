package rules

// BodyWords finds the part of a rule's condition that looks for words in the body
// of a response with that status, as a byte range of its When; ok is false where
// there is none. It may be a larger part than that. A body that only keeps the rule from matching (`not (body
// contains "x")`) does not count.
func (s *Set) BodyWords(rule, status int) (from, to int, ok bool) {
	e := &Event{Status: status}
	for _, c := range s.compiled()[rule].conjuncts {
		if t, known := c.byStatus(e); known && t == no {
			return 0, 0, false
		}
	}
	for _, c := range s.compiled()[rule].conjuncts {
		if from, to, ok = c.bodyWords(e, true); ok {
			if from == to { // parts of parts do not know where they are written
				from, to = int(c.from), int(c.to)
			}
			if from == to {
				from, to = 0, len(s.rules[rule].When)
			}
			return from, to, true
		}
	}
	return 0, 0, false
}

// byStatus is what c comes to where only the status is known, if that is enough.
func (c *condition) byStatus(e *Event) (t truth, known bool) {
	switch c.op {
	case condNumEq, condNumLess, condNumLessEq, condNumIn:
		if c.left.op == valueFact && c.left.fact == factStatus {
			return c.eval(e, ""), true
		}
		return no, false
	case condAnd, condOr:
		decides, open := no, false // one `no` decides an `and`, one `yes` an `or`
		if c.op == condOr {
			decides = yes
		}
		for _, kid := range c.more.kids {
			t, known := kid.byStatus(e)
			if known && t == decides {
				return negated(decides, c.not), true
			}
			open = open || !known
		}
		return negated(decides^yes, c.not), !open
	}
	return no, false
}

func negated(t truth, not bool) truth {
	if not {
		return t ^ yes
	}
	return t
}

// bodyWords is BodyWords of a part; says is false inside of a `not`.
func (c *condition) bodyWords(e *Event, says bool) (from, to int, ok bool) {
	if t, known := c.byStatus(e); known && t == no {
		return 0, 0, false
	}
	if number := condNumEq <= c.op && c.op <= condNumLessEqNum; c.not && !number {
		says = !says
	}
	switch c.op {
	case condAnd, condOr:
		for _, kid := range c.more.kids {
			if c.op == condAnd {
				if t, known := kid.byStatus(e); known && t == no {
					return 0, 0, false
				}
			}
		}
		for _, kid := range c.more.kids {
			if from, to, ok = kid.bodyWords(e, says); ok {
				return from, to, true
			}
		}
		return 0, 0, false
	}
	if says && c.readsBody() {
		return int(c.from), int(c.to), true
	}
	return 0, 0, false
}

func (c *condition) readsBody() bool {
	if c.left.readsBody() {
		return true
	}
	if c.more == nil {
		return false
	}
	for _, kid := range c.more.kids {
		if kid.readsBody() {
			return true
		}
	}
	for _, f := range c.more.reads {
		if f.fact == factBody {
			return true
		}
	}
	return c.more.right.readsBody()
}

func (v *value) readsBody() bool {
	return v != nil && (v.op == valueFact && v.fact == factBody || v.a.readsBody() || v.b.readsBody() || v.cond != nil && v.cond.readsBody())
}
