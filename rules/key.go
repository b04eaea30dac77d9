package rules

import (
	"fmt"
	"strings"
)

// key writes c so that two conditions with the same key mean the same.
func (c *condition) key() string {
	var b strings.Builder
	c.writeKey(&b)
	return b.String()
}

func (c *condition) writeKey(b *strings.Builder) {
	fmt.Fprintf(b, "(%d %t %d %q %d", c.op, c.not, c.fact, c.text, c.num)
	c.left.writeKey(b)
	if c.more != nil {
		c.more.right.writeKey(b)
		fmt.Fprintf(b, " %q %v", c.more.texts, c.more.nums)
		if c.more.pattern != nil {
			fmt.Fprintf(b, " %q", c.more.pattern.re)
		}
		for _, kid := range c.more.kids {
			kid.writeKey(b)
		}
	}
	b.WriteByte(')')
}

func (v *value) key() string {
	var b strings.Builder
	v.writeKey(&b)
	return b.String()
}

func (v *value) writeKey(b *strings.Builder) {
	if v == nil {
		b.WriteString(" -")
		return
	}
	fmt.Fprintf(b, "[%d %d %q %d", v.op, v.fact, v.text, v.num)
	v.a.writeKey(b)
	v.b.writeKey(b)
	if v.cond != nil {
		v.cond.writeKey(b)
	}
	b.WriteByte(']')
}
