package condition

import (
	"fmt"
	"strings"
)

// Key writes c so that two conditions with the same key mean the same.
func (c *Condition) Key() string {
	var b strings.Builder
	c.writeKey(&b)
	return b.String()
}

func (c *Condition) writeKey(b *strings.Builder) {
	fmt.Fprintf(b, "(%d %t %d %q %d", c.Op, c.Not, c.Fact, c.Text, c.Num)
	c.Left.writeKey(b)
	if c.More != nil {
		c.More.Right.writeKey(b)
		fmt.Fprintf(b, " %q %v", c.More.Texts, c.More.Nums)
		if c.More.Pattern != nil {
			fmt.Fprintf(b, " %q", c.More.Pattern.re)
		}
		for _, kid := range c.More.Kids {
			kid.writeKey(b)
		}
	}
	b.WriteByte(')')
}

func (v *Value) key() string {
	var b strings.Builder
	v.writeKey(&b)
	return b.String()
}

func (v *Value) writeKey(b *strings.Builder) {
	if v == nil {
		b.WriteString(" -")
		return
	}
	fmt.Fprintf(b, "[%d %d %q %d", v.Op, v.Fact, v.Text, v.Num)
	v.A.writeKey(b)
	v.B.writeKey(b)
	if v.Cond != nil {
		v.Cond.writeKey(b)
	}
	b.WriteByte(']')
}
