package policy

import "strings"

// Glob reports whether a pattern matches a whole name, such as an
// operation's: '*' stands for any characters, dots and slashes included, none
// too; everything else for itself. So "labels.*" matches "labels.list" and
// "labels.a.b", and "*" matches every name. It never allocates and takes time
// in proportion to len(pattern)·len(name) at worst.
func Glob(pattern, name string) bool {
	p, n := 0, 0
	star, from := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			from++
			p, n = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// globPath reports whether a pattern matches a whole URL path, segment by
// segment: '*' stands for any characters within one segment (a segment that is
// only '*' must not be empty), and a segment "**" for any number of segments,
// none too. So "/users/*/messages" matches "/users/me/messages" and
// "/gmail/**" matches "/gmail" and all below. The empty pattern matches every
// path. It never allocates.
func globPath(pattern, path string) bool {
	if pattern == "" {
		return true
	}
	first := strings.IndexByte(pattern, '*')
	if first < 0 {
		return pattern == path
	}
	// The segments before the first with a '*' are the path's too.
	i := max(strings.LastIndexByte(pattern[:first], '/'), 0)
	if !strings.HasPrefix(path, pattern[:i]) {
		return false
	}
	j := i
	// Most patterns need no more than this: both go on alike, and a '*' that is a whole
	// segment takes one of the path.
	for i < len(pattern) && j < len(path) {
		if pattern[i] == '*' {
			if path[j] == '/' || i > 0 && pattern[i-1] != '/' || i+1 < len(pattern) && pattern[i+1] != '/' {
				break
			}
			i++
			for j < len(path) && path[j] != '/' {
				j++
			}
			continue
		}
		if pattern[i] != path[j] {
			break
		}
		i, j = i+1, j+1
	}
	if i == len(pattern) && j == len(path) {
		return true
	}
	// Offsets of the next segment; len+1 = none left.
	p, n := strings.LastIndexByte(pattern[:i], '/')+1, strings.LastIndexByte(path[:j], '/')+1
	star, from := -1, 0
	for n <= len(path) {
		if p <= len(pattern) {
			seg, next := segment(pattern, p)
			if seg == "**" {
				star, from = next, n
				p = next
				continue
			}
			name, after := segment(path, n)
			if globSegment(seg, name) {
				p, n = next, after
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, from = segment(path, from)
		p, n = star, from
	}
	for p <= len(pattern) {
		seg, next := segment(pattern, p)
		if seg != "**" {
			return false
		}
		p = next
	}
	return true
}

func globSegment(pattern, name string) bool {
	if pattern == "*" {
		return name != ""
	}
	return Glob(pattern, name)
}

// segment is the segment of s that begins at i, and where the next one does.
func segment(s string, i int) (seg string, next int) {
	if j := strings.IndexByte(s[i:], '/'); j >= 0 {
		return s[i : i+j], i + j + 1
	}
	return s[i:], len(s) + 1
}

// globsMeet reports whether some name matches both patterns.
func globsMeet(a, b string) bool {
	return meet(len(a), len(b),
		func(i int) bool { return a[i] == '*' }, func(j int) bool { return b[j] == '*' },
		func(i, j int) bool { return a[i] == b[j] })
}

// pathsMeet reports whether some path matches both patterns.
func pathsMeet(a, b string) bool {
	if a == "" || b == "" {
		return true
	}
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	return meet(len(as), len(bs),
		func(i int) bool { return as[i] == "**" }, func(j int) bool { return bs[j] == "**" },
		func(i, j int) bool { return globsMeet(as[i], bs[j]) })
}

// meet reports whether two sequences of lengths n and m have a common
// instance, where the elements that aStar and bStar tell stand for any number
// of elements.
func meet(n, m int, aStar, bStar func(int) bool, same func(i, j int) bool) bool {
	// ok[j] = whether the rests a[i:] and b[j:] meet, for i from n down.
	ok, next := make([]bool, m+1), make([]bool, m+1)
	for i := n; i >= 0; i-- {
		for j := m; j >= 0; j-- {
			var v bool
			switch {
			case i == n && j == m:
				v = true
			case i < n && aStar(i):
				v = next[j] || j < m && ok[j+1]
			case j < m && bStar(j):
				v = ok[j+1] || i < n && next[j]
			case i < n && j < m:
				v = same(i, j) && next[j+1]
			}
			ok[j] = v
		}
		ok, next = next, ok
	}
	return next[0]
}

// literals counts the characters of a glob that stand for themselves: how
// long a path it names.
func literals(pattern string) int {
	return len(pattern) - strings.Count(pattern, "*")
}
