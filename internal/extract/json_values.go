package extract

import (
	"strings"

	"github.com/tidwall/gjson"
)

// values appends to dst the scalars at p, at most limit of them.
func (d *JSON) values(dst []string, p *jsonPath, limit int) (out []string) {
	out = dst
	if d.keys&p.needs != p.needs {
		return out
	}
	defer func() {
		// gjson gets bytes and paths from outside. If it ever panics on them,
		// the fact counts as absent.
		_ = recover()
	}()
	noted := d.noted && d.text[0] == '{'
	if !p.plain {
		if noted && len(p.keys) > 0 && d.find(-1, p.keys[0]) < 0 {
			return out // a quick way out: most policies ask for parts of a batch, and few answers are batches
		}
		return scalars(out, gjson.Get(d.text, p.text), limit, 0)
	}
	if !noted {
		return walk(out, d.text, p.text, limit)
	}
	at := -1
	for depth, key := range p.keys {
		if at = d.find(at, key); at < 0 {
			return out
		}
		m := &d.members[at]
		value, rest := d.text[m.start:m.end], p.rest[depth]
		if rest == "" {
			return scalarsOf(out, value, limit)
		}
		if each := p.each[depth]; each != nil && d.keys != allKeys && value != "" && value[0] == '[' {
			if found, ok := inEach(out, value, each, limit); ok {
				return found
			}
		}
		if value == "" || value[0] != '{' || depth == len(p.keys)-1 {
			return walk(out, value, rest, limit)
		}
	}
	return out
}

// walk appends to dst the scalars at a plain path. It goes through the elements of
// each "#" itself, since gjson would build a new array for them.
func walk(dst []string, doc, path string, limit int) []string {
	i := strings.Index(path, "#.")
	if i < 0 || i > 0 && path[i-1] != '.' {
		return scalars(dst, gjson.Get(doc, path), limit, 0)
	}
	rest := path[i+2:]
	array := gjson.Result{Type: gjson.JSON, Raw: doc}
	if i > 0 {
		array = gjson.Get(doc, path[:i-1])
	} else {
		array.Raw = skipSpace(doc)
	}
	if !array.IsArray() {
		return dst
	}
	array.ForEach(func(_, v gjson.Result) bool {
		if v.Type == gjson.JSON {
			dst = walk(dst, v.Raw, rest, limit)
		}
		return len(dst) < limit
	})
	return dst
}

// scalarsOf does what scalars does, for a value that is not parsed yet.
func scalarsOf(dst []string, value string, limit int) []string {
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' && strings.IndexByte(value, '\\') < 0 {
		return append(dst, value[1:n-1])
	}
	return scalars(dst, gjson.Parse(value), limit, 0)
}

// Scalars returns the text of v, as far as it is a scalar or an array of scalars: at most
// limit of them.
func Scalars(v gjson.Result, limit int) []string { return scalars(nil, v, limit, 0) }

// scalars appends the text of a string, number or boolean, and of those inside an
// array. Objects and null have no text.
func scalars(dst []string, v gjson.Result, limit, depth int) []string {
	switch v.Type {
	case gjson.String:
		return append(dst, v.Str)
	case gjson.Number:
		return append(dst, v.Raw)
	case gjson.True:
		return append(dst, "true")
	case gjson.False:
		return append(dst, "false")
	case gjson.JSON:
		if depth < 4 && v.IsArray() {
			v.ForEach(func(_, v gjson.Result) bool {
				dst = scalars(dst, v, limit, depth+1)
				return len(dst) < limit
			})
		}
	}
	return dst
}
