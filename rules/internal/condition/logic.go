package condition

// Combine joins two conditions with and or or, keeping the tree flat.
func Combine(op Op, l, r *Condition) *Condition {
	var kids []*Condition
	for _, c := range []*Condition{l, r} {
		if c.Op == op && !c.Not {
			kids = append(kids, c.More.Kids...)
		} else {
			kids = append(kids, c)
		}
	}
	return &Condition{Op: op, More: &Operands{Kids: kids}}
}

// Negate is the opposite of c, with `not` moved inwards through and, or and
// conditionals. Both stop at the same operand, so a failure stays a failure.
func Negate(c *Condition) *Condition {
	if c == nil {
		return nil
	}
	n := *c
	switch c.Op {
	case And, Or:
		n.Op = And + Or - c.Op
		n.More = &Operands{}
		for _, kid := range c.More.Kids {
			n.More.Kids = append(n.More.Kids, Negate(kid))
		}
	case If:
		n.More = &Operands{Kids: []*Condition{c.More.Kids[0], Negate(c.More.Kids[1]), Negate(c.More.Kids[2])}}
	default:
		n.Not = !c.Not
	}
	return &n
}
