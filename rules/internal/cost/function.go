package cost

import (
	"math"

	"github.com/expr-lang/expr/ast"
)

// What the functions of a condition cost.

// functions are what functions that go through no list cost, and how large a value they
// yield. arg is the size of the first argument, rest that of all others together.
var functions = map[string]func(e *estimate, arg, rest size) size{
	"len": toNumber, "abs": toNumber, "ceil": toNumber, "floor": toNumber, "round": toNumber,
	"int": toNumber, "float": toNumber, "duration": toNumber,
	"bitand": toNumber, "bitor": toNumber, "bitxor": toNumber, "bitnand": toNumber,
	"bitshl": toNumber, "bitshr": toNumber, "bitushr": toNumber, "bitnot": toNumber,

	"sum": ofNumbers, "max": ofNumbers, "min": ofNumbers, "mean": ofNumbers,

	"indexOf": search, "lastIndexOf": search, "hasPrefix": search, "hasSuffix": search,

	"trimPrefix": trimEnd, "trimSuffix": trimEnd, "trim": trim,

	"upper": func(e *estimate, arg, _ size) size {
		return e.newText(size{bytes: arg.bytes.times(3)}) // a broken byte becomes U+FFFD, three
	},
	"lower": func(e *estimate, arg, _ size) size { return e.newText(size{bytes: arg.bytes.times(3)}) },
	"string": func(e *estimate, arg, _ size) size {
		return e.newText(size{bytes: arg.bytes.times(8).plus(arg.count.times(32)).plus(linear{fixed: 64})})
	},
	"toBase64": func(e *estimate, arg, _ size) size {
		return e.newText(size{bytes: arg.bytes.times(1.4).plus(linear{fixed: 4})})
	},
	"fromBase64": func(e *estimate, arg, _ size) size { return e.newText(size{bytes: arg.bytes}) },
	"fromJSON": func(e *estimate, arg, _ size) size {
		e.spend(arg.bytes.times(20))
		e.allocate(arg.bytes.times(60))
		return size{bytes: arg.bytes, count: arg.bytes, most: arg.bytes}
	},

	"split": split, "splitAfter": split,

	"first": element, "last": element,

	"take":    func(e *estimate, arg, _ size) size { return e.newList(arg) },
	"reverse": func(e *estimate, arg, _ size) size { return e.newList(arg) },
	"uniq": func(e *estimate, arg, _ size) size {
		// Each element is compared with all that were kept.
		e.spend(e.product(arg.count, arg.count).times(4))
		e.spend(e.product(arg.count, arg.bytes))
		return e.newList(arg)
	},
	"sort": sorted, "median": sorted,
}

// spendOnce counts a look at every byte and element of the arguments.
func (e *estimate) spendOnce(arg, rest size) {
	e.spend(arg.bytes.plus(rest.bytes).plus(arg.count.plus(rest.count).times(nodeCost)))
}

func toNumber(e *estimate, arg, rest size) size {
	e.spendOnce(arg, rest)
	return size{}
}

func ofNumbers(e *estimate, arg, rest size) size {
	e.spendOnce(arg, rest)
	return size{bytes: arg.bytes.plus(rest.bytes)} // of one argument that is no number, that
}

func search(e *estimate, arg, rest size) size {
	e.spend(arg.bytes.plus(rest.bytes).times(4))
	return size{}
}

func trimEnd(e *estimate, arg, rest size) size {
	e.spendOnce(arg, rest)
	return arg
}

func trim(e *estimate, arg, rest size) size {
	e.spend(arg.bytes)
	e.spend(e.product(arg.bytes, rest.bytes)) // each character is looked for among those to trim
	return arg
}

func split(e *estimate, arg, rest size) size {
	e.spendOnce(arg, rest)
	return e.newList(size{bytes: arg.bytes, count: arg.bytes.plus(linear{fixed: 1}), most: arg.bytes})
}

func element(_ *estimate, arg, _ size) size {
	if arg.most == arg.bytes {
		return arg
	}
	return size{bytes: arg.most}
}

func sorted(e *estimate, arg, _ size) size {
	e.sorting(arg, arg)
	return e.newList(arg)
}

// builtin is a call of one of the functions, or of one that goes through a list.
func (e *estimate) builtin(n *ast.BuiltinNode) size {
	if len(n.Arguments) == 0 {
		e.unknown = n
		return size{}
	}
	arg := e.of(n.Arguments[0])
	if len(n.Arguments) > 1 {
		if body, ok := n.Arguments[1].(*ast.PredicateNode); ok {
			return e.loop(n, arg, body)
		}
	}
	var rest size
	for _, other := range n.Arguments[1:] {
		rest = rest.plus(e.of(other))
	}
	if function := functions[n.Name]; function != nil {
		return function(e, arg, rest)
	}
	e.unknown = n
	return size{}
}

// sorting counts the comparisons of keys.
func (e *estimate) sorting(list, keys size) {
	comparisons := 2 * math.Log2(2+list.count.fixed+list.count.perByte*e.longest)
	e.spend(list.count.times(nodeCost).plus(keys.bytes).times(comparisons))
}

// loop is a function that goes through a list.
func (e *estimate) loop(n *ast.BuiltinNode, list size, body *ast.PredicateNode) size {
	inner := estimate{vars: e.vars, letOnce: e.letOnce, unknown: e.unknown}
	item := size{bytes: linear{perByte: 1}}
	if list.most == list.bytes { // of unknown form, so an element is too
		item.count, item.most = item.bytes, item.bytes
	}
	inner.element, inner.longest = &item, list.most.fixed+list.most.perByte*e.longest
	value := inner.of(body.Node)
	e.unknown = inner.unknown

	// over is a sum over all elements.
	over := func(a linear) linear {
		return list.count.times(a.fixed).plus(list.bytes.times(a.perByte))
	}
	at := func(a linear) linear { return linear{fixed: a.fixed}.plus(list.most.times(a.perByte)) }
	e.spend(over(inner.cost.plus(linear{fixed: elementCost})))
	e.allocate(over(inner.memory.plus(linear{fixed: boxed})))
	values := size{bytes: over(value.bytes), count: list.count, most: at(value.bytes)}
	switch n.Name {
	case "all", "none", "any", "one", "findIndex", "findLastIndex", "count":
		return size{}
	case "find", "findLast":
		return element(e, list, size{})
	case "filter":
		return e.newList(list)
	case "map":
		return e.newList(values)
	case "sum":
		return size{bytes: values.bytes}
	case "sortBy":
		e.sorting(list, values)
		return e.newList(list)
	}
	e.unknown = n
	return size{}
}
