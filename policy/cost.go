package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// What operations cost, in the units of limits.

// costTable prices operations in the units of limits.
type costTable struct {
	name   string
	others int64
	costs  []cost // first match wins: exact names first, then globs, the longest first
}

// cost is the price of the operations that a glob matches.
type cost struct {
	operation string
	units     int64
}

// BytesCost is the name of the built-in cost table: the request's size in bytes.
const BytesCost = "bytes"

// costsOf returns the table that a limit charges by; nil = each request costs 1, or its bytes.
func (p *Policy) costsOf(l *Limit) *costTable {
	for i := range p.costs {
		if p.costs[i].name == l.Cost {
			return &p.costs[i]
		}
	}
	return nil
}

// CostOf returns what one request of an operation costs of a limit, in the limit's units.
// It is 1 for a limit without a table of costs, and of no meaning for one in bytes.
func (p *Policy) CostOf(l *Limit, operation string) int64 {
	if t := p.costsOf(l); t != nil {
		return t.of(operation)
	}
	return 1
}

// MaxCost returns the highest cost in the table that a limit charges by, in the limit's
// units; 0 = the limit has no table.
func (p *Policy) MaxCost(l *Limit) int64 {
	t := p.costsOf(l)
	if t == nil {
		return 0
	}
	highest := t.others
	for _, c := range t.costs {
		highest = max(highest, c.units)
	}
	return highest
}

// of returns what an operation costs, in units.
func (t *costTable) of(operation string) int64 {
	for i := range t.costs {
		if Glob(t.costs[i].operation, operation) {
			return t.costs[i].units
		}
	}
	return t.others
}

func (c *compiler) costTables() {
	if c.costs == nil {
		return
	}
	for _, name := range c.costs.Names {
		v := c.costs.ByName[name]
		t := costTable{name: name}
		if v.ByName != nil && !v.Bad {
			if v.ByName["default"] == nil && !c.lost("costs") {
				c.err(v.KeyOrFirst(), "missing-field", "add default: the cost of every other operation", "costs %q need %q", name, "default")
			}
			t.others = yamlfile.GetOr[int64](v, "default", 1)
			for _, op := range v.Names {
				if n, ok := yamlfile.Get[int64](v, op); ok && op != "default" {
					t.costs = append(t.costs, cost{operation: op, units: n})
				}
			}
		}
		t.sort()
		c.p.costs = append(c.p.costs, t)
	}
}

// sort puts exact names first, then globs, the longest first.
func (t *costTable) sort() {
	slices.SortStableFunc(t.costs, func(a, b cost) int {
		ag, bg := strings.Contains(a.operation, "*"), strings.Contains(b.operation, "*")
		switch {
		case ag != bg:
			if bg {
				return -1
			}
			return 1
		case ag:
			if d := literals(b.operation) - literals(a.operation); d != 0 {
				return d
			}
		}
		return strings.Compare(a.operation, b.operation)
	})
}

// dearest returns the highest cost of the operations that a limit counts.
func (t *costTable) dearest(l *Limit) int64 {
	d, counted := t.others, counting(l.operations)
	if named, ok := l.named(); ok {
		d = 0
		for _, op := range named {
			d = max(d, t.of(op))
		}
		return d
	}
	for _, c := range t.costs {
		if c.units > d && counted(c.operation) {
			d = c.units
		}
	}
	return d
}

func (t *costTable) dearestName(l *Limit, units int64) string {
	counted := counting(l.operations)
	for _, c := range t.costs {
		if c.units == units && counted(c.operation) {
			return fmt.Sprintf("%q", c.operation)
		}
	}
	return "an operation"
}
