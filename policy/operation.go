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
	least    int             // the first entry in this subtree: nothing here beats an earlier match
	ends     []int           // entries whose path ends here
	literals []operationEdge // no two of them begin with the same segment
	first    map[string]int  // the place in literals by the first segment, where they are many
	globs    []operationEdge // segments with a '*'
	deep     *operationNode  // after a "**"
}

// operationEdge leads on by a segment, or by several without a '*' where no
// entry ends between them.
type operationEdge struct {
	path string
	node *operationNode
}

// manyLiterals is the number of literal segments from which a map is faster than comparing
// each of them.
const manyLiterals = 9

// newOperationIndex returns nil if there are too few operations for an index to pay, or if a
// path has so many "**" that searching the tree would be slow.
func newOperationIndex(ops []Operation) *operationIndex {
	if len(ops) < 8 || slices.ContainsFunc(ops, func(o Operation) bool { return strings.Count(o.path, "**") > 2 }) {
		return nil
	}
	x := &operationIndex{root: operationNode{least: len(ops)}}
	for i := range ops {
		if ops[i].path == "" {
			x.any = append(x.any, i)
			continue
		}
		n := &x.root
		n.least = min(n.least, i)
		for seg := range strings.SplitSeq(ops[i].path, "/") {
			n = n.child(seg)
			n.least = min(n.least, i)
		}
		n.ends = append(n.ends, i)
	}
	x.root.join()
	return x
}

// child returns the node below n for a segment, and adds it if there is none.
func (n *operationNode) child(seg string) *operationNode {
	fresh := func() *operationNode { return &operationNode{least: 1 << 30} }
	edges := &n.literals
	switch {
	case seg == "**":
		if n.deep == nil {
			n.deep = fresh()
		}
		return n.deep
	case strings.Contains(seg, "*"):
		edges = &n.globs
	}
	for _, e := range *edges {
		if e.path == seg {
			return e.node
		}
	}
	e := operationEdge{seg, fresh()}
	*edges = append(*edges, e)
	return e.node
}

// join merges a chain of literal edges that do not branch into one edge, and adds a map to
// a node that has many edges.
func (n *operationNode) join() {
	for i := range n.literals {
		e := &n.literals[i]
		if len(n.literals) >= manyLiterals {
			if n.first == nil {
				n.first = map[string]int{}
			}
			n.first[e.path] = i
		}
		for c := e.node; len(c.literals) == 1 && len(c.ends) == 0 && len(c.globs) == 0 && c.deep == nil; c = e.node {
			e.path, e.node = e.path+"/"+c.literals[0].path, c.literals[0].node
		}
		e.node.join()
	}
	for _, g := range n.globs {
		g.node.join()
	}
	if n.deep != nil {
		n.deep.join()
	}
}

// naming is the search for one request's operation.
type naming struct {
	ops   []Operation
	r     *Request
	best  int // the first entry found so far
	form  map[string][]string
	asked bool
}

// find returns the index of the first of p.Operations whose conditions all hold; -1 = there
// is none.
func (p *Policy) find(r *Request) int {
	n := naming{ops: p.Operations, r: r, best: len(p.Operations)}
	if x := p.operations; x != nil && (!p.captures || r.RawPath == "") {
		n.walk(&x.root, 0)
		n.try(x.any)
	} else {
		for i := range p.Operations {
			if p.Operations[i].pathFits(r) && n.fits(i) {
				n.best = i
				break
			}
		}
	}
	if n.best == len(p.Operations) {
		return -1
	}
	return n.best
}

// walk follows the path from the segment at offset at.
func (n *naming) walk(node *operationNode, at int) {
	if node.least >= n.best {
		return
	}
	path := n.r.Path
	if at > len(path) {
		n.try(node.ends)
	} else {
		if e := node.literal(path, at); e != nil {
			n.walk(e.node, at+len(e.path)+1)
		}
		if len(node.globs) > 0 {
			seg, next := segment(path, at)
			for i := range node.globs {
				if g := &node.globs[i]; globSegment(g.path, seg) {
					n.walk(g.node, next)
				}
			}
		}
	}
	if node.deep == nil {
		return
	}
	for ; ; _, at = segment(path, at) {
		n.walk(node.deep, at)
		if at > len(path) {
			return
		}
	}
}

// literal returns the edge that the path follows from the segment at offset at, or nil.
func (n *operationNode) literal(path string, at int) *operationEdge {
	if n.first != nil {
		seg, _ := segment(path, at)
		i, ok := n.first[seg]
		if !ok {
			return nil
		}
		if e := &n.literals[i]; e.leads(path, at) {
			return e
		}
		return nil
	}
	for i := range n.literals {
		if e := &n.literals[i]; e.leads(path, at) {
			return e
		}
	}
	return nil
}

// leads reports whether the path goes on by e from offset at.
func (e *operationEdge) leads(path string, at int) bool {
	end := at + len(e.path)
	return end <= len(path) && path[at:end] == e.path && (end == len(path) || path[end] == '/')
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
	if o.method != "" && o.method != r.Method ||
		o.host != "" && !hostMatches(o.host, r.Host) ||
		len(o.query) > 0 && !queryMatches(o.query, r.RawQuery) ||
		len(o.header) > 0 && !valuesMatch(o.header, r.Header) {
		return false
	}
	if len(o.form) == 0 {
		return true
	}
	if !n.asked {
		n.asked = true
		if r.Form != nil {
			n.form = r.Form()
		}
	}
	return valuesMatch(o.form, n.form)
}
