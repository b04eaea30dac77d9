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
	p, n, ok := literalStart(pattern, path)
	if !ok {
		return false
	}
	if p, n = alike(pattern, path, p, n); p == len(pattern) && n == len(path) {
		return true
	}
	return globSegments(pattern, path, strings.LastIndexByte(pattern[:p], '/')+1, strings.LastIndexByte(path[:n], '/')+1)
}

// literalStart skips the segments of a pattern before the first that has a '*', which must
// be the path's too. It returns how far that is in both. ok is false if they differ.
func literalStart(pattern, path string) (p, n int, ok bool) {
	first := strings.IndexByte(pattern, '*')
	if first < 0 {
		return len(pattern), len(path), pattern == path
	}
	start := max(strings.LastIndexByte(pattern[:first], '/'), 0)
	return start, start, strings.HasPrefix(path, pattern[:start])
}

// alike returns how far a pattern and a path, from pattern[p:] and path[n:] on, are the same
// but for each '*' that is a whole segment, which takes one of the path. Most patterns need
// no more than this.
func alike(pattern, path string, p, n int) (int, int) {
	for p < len(pattern) && n < len(path) {
		if pattern[p] == '*' {
			if path[n] == '/' || p > 0 && pattern[p-1] != '/' || p+1 < len(pattern) && pattern[p+1] != '/' {
				break
			}
			p++
			for n < len(path) && path[n] != '/' {
				n++
			}
			continue
		}
		if pattern[p] != path[n] {
			break
		}
		p, n = p+1, n+1
	}
	return p, n
}

// globSegments compares the segments of a pattern from pattern[p:] on with those of a path
// from path[n:] on. An index of len+1 says that no segment is left.
func globSegments(pattern, path string, p, n int) bool {
	behindStars, from := -1, 0 // where to go on behind the last "**" of the pattern, and in the path
	for n <= len(path) {
		if p <= len(pattern) {
			wanted, next := segment(pattern, p)
			if wanted == "**" {
				behindStars, from = next, n
				p = next
				continue
			}
			name, after := segment(path, n)
			if globSegment(wanted, name) {
				p, n = next, after
				continue
			}
		}
		if behindStars < 0 {
			return false
		}
		_, from = segment(path, from) // the "**" takes one segment more
		p, n = behindStars, from
	}
	for p <= len(pattern) {
		wanted, next := segment(pattern, p)
		if wanted != "**" {
			return false
		}
		p = next
	}
	return true
}

// globSegment reports whether one segment of a pattern, which is not "**", matches a name.
func globSegment(pattern, name string) bool {
	if pattern == "*" {
		return name != ""
	}
	return Glob(pattern, name)
}

// segment returns the segment of s that begins at i, and where the next one begins.
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

// meet reports whether two patterns of n and m elements match some sequence that is the
// same. aStar and bStar say which elements stand for any number of elements, and same
// whether two other elements have a match in common.
func meet(n, m int, aStar, bStar func(int) bool, same func(i, j int) bool) bool {
	// From the ends to the beginnings: ok[j] says whether a[i:] and b[j:] meet, and next[j]
	// whether a[i+1:] and b[j:] do.
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

// literals counts the characters of a glob that stand for themselves. Of two globs that
// match a path the one with more of them says more about it.
func literals(pattern string) int {
	return len(pattern) - strings.Count(pattern, "*")
}
