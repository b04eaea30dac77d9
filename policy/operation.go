package policy

import (
	"slices"
	"strings"
)

// operationIndex finds operations by path: a tree with a level for each path segment.
// A provider has some hundred operations, and every request is named, so a
// request should meet only the few entries that its path can match.
type operationIndex struct {
	root operationNode
	any  []int // entries without a path
}

// operationNode is where the paths of some entries agree so far.
type operationNode struct {
	least   int   // the first entry in this subtree: nothing here beats an earlier match
	ends    []int // entries whose path ends here
	literal map[string]*operationNode
	globs   []operationGlob // segments with a '*'
	deep    *operationNode  // after a "**"
}

type operationGlob struct {
	segment string
	node    *operationNode
}

// newOperationIndex is nil where a list is as good, or a path has so many
// "**" that the tree would not be.
func newOperationIndex(ops []Operation) *operationIndex {
	if len(ops) < 8 || slices.ContainsFunc(ops, func(o Operation) bool { return strings.Count(o.Path, "**") > 2 }) {
		return nil
	}
	x := &operationIndex{root: operationNode{least: len(ops)}}
	for i := range ops {
		if ops[i].Path == "" {
			x.any = append(x.any, i)
			continue
		}
		n := &x.root
		n.least = min(n.least, i)
		for seg := range strings.SplitSeq(ops[i].Path, "/") {
			n = n.child(seg)
			n.least = min(n.least, i)
		}
		n.ends = append(n.ends, i)
	}
	return x
}

func (n *operationNode) child(seg string) *operationNode {
	fresh := func() *operationNode { return &operationNode{least: 1 << 30} }
	switch {
	case seg == "**":
		if n.deep == nil {
			n.deep = fresh()
		}
		return n.deep
	case strings.Contains(seg, "*"):
		for _, g := range n.globs {
			if g.segment == seg {
				return g.node
			}
		}
		g := operationGlob{seg, fresh()}
		n.globs = append(n.globs, g)
		return g.node
	}
	if n.literal == nil {
		n.literal = map[string]*operationNode{}
	}
	if n.literal[seg] == nil {
		n.literal[seg] = fresh()
	}
	return n.literal[seg]
}

// naming is the search for one request's operation.
type naming struct {
	ops   []Operation
	r     *Request
	best  int // the first entry found so far
	form  map[string][]string
	asked bool
}

// OperationOf names a request by the first of p.Operations whose conditions
// all hold; "" = unnamed.
func (p *Policy) OperationOf(r *Request) string {
	n := naming{ops: p.Operations, r: r, best: len(p.Operations)}
	if x := p.operations; x != nil {
		n.walk(&x.root, 0)
		n.try(x.any)
	} else {
		for i := range p.Operations {
			if GlobPath(p.Operations[i].Path, r.Path) && n.fits(i) {
				n.best = i
				break
			}
		}
	}
	if n.best == len(p.Operations) {
		return ""
	}
	return p.Operations[n.best].Operation
}

// walk follows the path from the segment at offset at.
func (n *naming) walk(node *operationNode, at int) {
	if node.least >= n.best {
		return
	}
	if at > len(n.r.Path) {
		n.try(node.ends)
	} else {
		seg, next := segment(n.r.Path, at)
		if c := node.literal[seg]; c != nil {
			n.walk(c, next)
		}
		for i := range node.globs {
			if g := &node.globs[i]; globSegment(g.segment, seg) {
				n.walk(g.node, next)
			}
		}
	}
	if node.deep == nil {
		return
	}
	for ; ; _, at = segment(n.r.Path, at) {
		n.walk(node.deep, at)
		if at > len(n.r.Path) {
			return
		}
	}
}

// try looks at entries whose path matches, in order.
func (n *naming) try(entries []int) {
	for _, i := range entries {
		if i >= n.best {
			return
		}
		if n.fits(i) {
			n.best = i
			return
		}
	}
}

// fits reports whether an entry's conditions but the path hold.
func (n *naming) fits(i int) bool {
	o, r := &n.ops[i], n.r
	if o.Method != "" && o.Method != r.Method ||
		o.Host != "" && !hostMatches(o.Host, r.Host) ||
		!queryMatches(o.Query, r.RawQuery) || !valuesMatch(o.Header, r.Header) {
		return false
	}
	if len(o.Form) == 0 {
		return true
	}
	if !n.asked {
		n.asked = true
		if r.Form != nil {
			n.form = r.Form()
		}
	}
	return valuesMatch(o.Form, n.form)
}
