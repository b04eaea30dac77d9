package policy

import (
	"net/url"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// Captured path segments: {name} in an operation's path stands for one segment,
// whose text rules read as facts.name, and by which limits may count.

// capture is a segment of an operation's path that is a fact.
type capture struct {
	name    string
	segment int // counted from the path's first '/', from 0; negative from its end, -1 being the last
}

// maxCaptured is how much of a segment becomes the fact, in bytes. The rest is cut off.
const maxCaptured = 256

// readOperationPath reads a path glob that may have {name} in it.
func readOperationPath(f *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	_, captures, fault := parseCaptures(in.Text)
	if fault != nil {
		return nil, fault
	}
	if len(captures) == 0 {
		return readPath(f, in)
	}
	if _, fault := readPath(f, yamlfile.Scalar{Text: strings.NewReplacer("{", "", "}", "").Replace(in.Text), Tag: in.Tag, Label: in.Label}); fault != nil {
		return nil, fault
	}
	return in.Text, nil
}

// parseCaptures replaces each {name} of a path by '*', which makes the path a glob, and
// returns the segments that were named.
func parseCaptures(path string) (glob string, captures []capture, fault *yamlfile.Fault) {
	segments := strings.Split(path, "/")[1:]
	deep := 0
	for _, s := range segments {
		if s == "**" {
			deep++
		}
	}
	offset, passed := 1, 0
	for i, s := range segments {
		name, is := strings.CutPrefix(s, "{")
		bad := func(code, hint, format string, args ...any) (string, []capture, *yamlfile.Fault) {
			fault := yamlfile.Bad(code, hint, format, args...)
			fault.Offset, fault.Length = offset, len(s)
			return "", nil, fault
		}
		switch {
		case s == "**":
			passed++
		case !strings.ContainsAny(s, "{}"):
		case !is || !strings.HasSuffix(name, "}") || strings.Count(s, "{") > 1 || strings.Count(s, "}") > 1:
			return bad("bad-glob", "{name} stands for a whole segment: /v1/{name}/items", "%q is not a path glob", yamlfile.Cut(path))
		default:
			name = strings.TrimSuffix(name, "}")
			switch {
			case !isFact(name):
				return bad("bad-name", "letters, digits and '_', so that a rule can say facts.NAME", "%q is not a fact's name", yamlfile.Cut(name))
			case rules.IsFact(name) || slices.Contains(dimensions, name):
				return bad("reserved-name", "choose another name", "%q is built in", name)
			case slices.ContainsFunc(captures, func(c capture) bool { return c.name == name }):
				return bad("duplicate-name", "", "{%s} is there twice", name)
			case passed > 0 && passed < deep:
				return bad("bad-glob", "a segment between two ** stands nowhere for sure", "{%s} between two **", name)
			}
			at := i
			if passed > 0 {
				at = i - len(segments)
			}
			captures = append(captures, capture{name, at})
			segments[i] = "*"
		}
		offset += len(s) + 1
	}
	if len(captures) == 0 {
		return path, nil, nil
	}
	return "/" + strings.Join(segments, "/"), captures, nil
}

// Captures reports whether the path of some operation names facts: whether NameRequest may
// return any.
func (p *Policy) Captures() bool { return p.captures }

// facts returns the names of the facts that rules and limits of the policy may use: those
// that it extracts, and those that the paths of its operations name.
func (p *Policy) facts() []string {
	var names []string
	for _, f := range p.Extract.Facts {
		names = append(names, f.Name)
	}
	for i := range p.Operations {
		for _, c := range p.Operations[i].captures {
			if !slices.Contains(names, c.name) {
				names = append(names, c.name)
			}
		}
	}
	return names
}

// isDimension reports whether a limit's key names a part of a call's keys that is built
// in, such as the account; all others are facts.
func isDimension(key string) bool { return slices.Contains(dimensions, key) }

// Missing returns the first fact that the limit counts by and that a call with these facts
// lacks; "" = none is missing, so the limit counts the call.
func (l *Limit) Missing(facts map[string]string) string {
	for _, key := range l.Key {
		if !isDimension(key) && facts[key] == "" {
			return key
		}
	}
	return ""
}

// NameRequest returns the name of the first of p.Operations whose conditions all hold for a
// request, "" if there is none, and the facts that the request's path names; nil = none.
func (p *Policy) NameRequest(r *Request) (operation string, facts map[string]string) {
	best := p.find(r)
	if best < 0 {
		return "", nil
	}
	o := &p.Operations[best]
	if len(o.captures) == 0 {
		return o.Operation, nil
	}
	path, escaped := r.Path, false
	if r.RawPath != "" {
		path, escaped = r.RawPath, true
	}
	segments := strings.Split(path, "/")[1:]
	facts = make(map[string]string, len(o.captures))
	for _, c := range o.captures {
		at := c.segment
		if at < 0 {
			at += len(segments)
		}
		if at >= 0 && at < len(segments) {
			facts[c.name] = captured(segments[at], escaped)
		}
	}
	return o.Operation, facts
}

// captured returns a segment as a fact: without escapes, valid UTF-8, and cut.
func captured(segment string, escaped bool) string {
	if escaped {
		if s, err := url.PathUnescape(segment); err == nil {
			segment = s
		}
	}
	return extract.Cut(strings.ToValidUTF8(segment, "\ufffd"), maxCaptured)
}

// pathFits reports whether the path of a request is that of the operation. An operation that
// captures segments is compared with the path as it was sent, so that an escaped '/' is part
// of a segment.
func (o *Operation) pathFits(r *Request) bool {
	if len(o.captures) == 0 || r.RawPath == "" {
		return globPath(o.path, r.Path)
	}
	// Each segment is compared without its escapes; a '/' among them stands for no end.
	var b strings.Builder
	for i, s := range strings.Split(r.RawPath, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		if u, err := url.PathUnescape(s); err == nil {
			s = strings.ReplaceAll(u, "/", "\x00")
		}
		b.WriteString(s)
	}
	return globPath(o.path, b.String())
}

// captures reports segments that have the name of a fact which the policy extracts.
func (c *compiler) captures(v *yamlfile.Value, captures []capture) {
	for _, one := range captures {
		if slices.ContainsFunc(c.p.Extract.Facts, func(f extract.Fact) bool { return f.Name == one.name }) {
			c.err(v.Child("path").Span(), "duplicate-name", "choose another name", "the fact %q is extracted from responses already", one.name)
		}
	}
}

// key checks what a limit counts by.
func (c *compiler) key(v *yamlfile.Value, facts []string) {
	name := v.Text()
	if v.Bad || isDimension(name) || slices.Contains(facts, name) || c.lost("operations") || c.lost("extract") {
		return
	}
	known := slices.Concat(dimensions, facts)
	hint := closest.Hint(name, known)
	if hint == "" {
		hint = "one of " + strings.Join(known, ", ") + "; or a fact, which an operation's path names: /v1/{" + name + "}/items"
	}
	c.err(v.Span(), "unknown-value", hint, "%q cannot be %q", "key", yamlfile.Cut(name))
}
