package policy

import (
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// deadOperations warns of entries of the policy's own `operations` that name no request. Either
// no request that the policy claims has such a path, mostly because a '*' stops at the next
// '/', or an earlier entry matches all such requests.
func (c *compiler) deadOperations() {
	const tooMany = 500
	list := slices.DeleteFunc(good(c.operations), func(v *yamlfile.Value) bool {
		path := v.Child("path")
		return path != nil && path.Bad
	})
	if len(list) > tooMany {
		return
	}
	for i, v := range list {
		if v.File != c.top.src {
			continue
		}
		at, path := v.KeyOrFirst(), anySegment(written(v, "path"))
		if p := v.Child("path"); p != nil {
			at = p.Span()
		}
		if len(c.match) > 0 && len(good(c.match)) == len(c.match) && !c.claimsSome(written(v, "host"), path) && !c.unread("match") {
			c.r.Warnf(at, "names-nothing", "* stands for what is between two slashes, ** for any number of such parts",
				"no request that `match` claims fits this host and path, so none is named %q", written(v, "operation"))
			continue
		}
		for _, first := range list[:i] {
			if written(first, "operation") != written(v, "operation") && coversOperation(first, v) {
				c.r.Warnf(at, "names-nothing", "the first entry that matches wins: put the narrower one before the wider one",
					"no request is named %q by this: the entry of line %d, %q, matches first", written(v, "operation"), first.Span().Line, written(first, "operation"))
				break
			}
		}
	}
}

// claimsSome reports whether the policy's `match` claims some request of a host and path.
func (c *compiler) claimsSome(host, path string) bool {
	for _, m := range good(c.match) {
		h := written(m, "host")
		if (host == "" || hostsMeet(h, host)) && pathsMeet(anySegment(written(m, "path")), path) {
			return true
		}
	}
	return false
}

// hostsMeet reports whether some host fits both patterns. Ports do not count here.
func hostsMeet(a, b string) bool {
	bare := func(s string) string {
		if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
			return s[:i]
		}
		return s
	}
	return globsMeet(strings.ToLower(bare(a)), strings.ToLower(bare(b)))
}

// anySegment returns a path with a '*' in place of each {name}.
func anySegment(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
			segments[i] = "*"
		}
	}
	return strings.Join(segments, "/")
}

// coversOperation reports whether the entry first surely matches every request that v matches.
func coversOperation(first, v *yamlfile.Value) bool {
	for _, name := range []string{"method", "host"} {
		if f := written(first, name); f != "" && f != written(v, name) {
			return false
		}
	}
	for _, name := range []string{"query", "header", "form"} {
		if f := first.Child(name); f != nil {
			for _, key := range f.Names {
				other := v.Child(name).Child(key)
				if other == nil || other.Text() != f.ByName[key].Text() {
					return false
				}
			}
		}
	}
	return pathCovers(anySegment(written(first, "path")), anySegment(written(v, "path")))
}

// pathCovers reports whether the path glob wide surely matches all paths that narrow matches.
// It matches wide against narrow itself: a '*' in narrow is a character that only a '*' in wide
// matches. For a "**" in narrow it tries every number of segments up to one more than wide has.
func pathCovers(wide, narrow string) bool {
	if wide == "" || wide == narrow {
		return true
	}
	if narrow == "" {
		return wide == "/**"
	}
	var parts []string
	deep := 0
	for s := range strings.SplitSeq(narrow, "/") {
		if s == "**" {
			deep++
		}
		parts = append(parts, s)
	}
	if deep == 0 {
		return globPath(wide, narrow)
	}
	if deep > 1 {
		return false // not worth its time
	}
	for n := range strings.Count(wide, "/") + 2 {
		var some []string
		for _, s := range parts {
			if s != "**" {
				some = append(some, s)
				continue
			}
			for range n {
				some = append(some, "\x00")
			}
		}
		if !globPath(wide, strings.Join(some, "/")) {
			return false
		}
	}
	return true
}
