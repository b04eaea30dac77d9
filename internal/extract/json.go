package extract

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/tidwall/gjson"
)

// jsonForm reads the scalars at a gjson path.
var jsonForm = &Form{
	Field:     yamlfile.Field{Name: "json", Kind: checked(badJSONPath, "%q is not a gjson path"), Doc: "A gjson path into a JSON body, such as error.errors.#.reason."},
	ReadsBody: true,
	compile:   func(path any) reader { return newJSONPath(path.(string)) },
}

// jsonIndex is an element as other paths name it.
var jsonIndex = regexp.MustCompile(`^([\w.#-]+)\[([0-9]+|\*)\]`)

func badJSONPath(s string) string {
	if len(s) > 256 {
		return "at most 256 characters"
	}
	if strings.ContainsAny(s, "\n\r\t") {
		return "no blanks"
	}
	if strings.HasPrefix(s, "$") {
		return "without $: error.code"
	}
	if m := jsonIndex.FindStringSubmatch(s); m != nil {
		return fmt.Sprintf("an element is named by its number: %s.%s; # stands for all", m[1], m[2])
	}
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '.' || r == '|' }) {
		if name, ok := strings.CutPrefix(part, "@"); ok {
			name, _, _ = strings.Cut(name, ":")
			if !gjson.ModifierExists(name, nil) {
				return `a name that begins with @ is escaped: \` + part
			}
		}
	}
	return ""
}

// jsonPath is a gjson path that has been taken apart.
type jsonPath struct {
	text  string
	plain bool       // see isPlain
	keys  []string   // its first two keys, as far as they are plain
	rest  []string   // for each of keys, the path that follows it; "" = none
	each  [][]string // for each of rest, what eachOf says of it
	needs keySet     // the keys that a document must have for the path to match
}

func newJSONPath(text string) *jsonPath {
	p := &jsonPath{text: text, plain: isPlain(text) && !strings.HasSuffix(text, ".")}
	for rest, more := text, true; more; {
		var key string
		if key, rest, more = strings.Cut(rest, "."); !isPlain(key) {
			break
		}
		if len(p.keys) < 2 {
			p.keys, p.rest, p.each = append(p.keys, key), append(p.rest, rest), append(p.each, eachOf(rest))
		}
		if c := key[0]; c != '#' && c != ':' && !isDigit(c) {
			p.needs |= keySetOf(key)
		}
	}
	return p
}

// isPlain reports whether a path consists of keys, indices and "#" only, without
// gjson's patterns, queries, modifiers and the like.
func isPlain(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '(', '@', '|', '\\', '{', '[', '!', '*', '?', '~':
			return false
		case '.':
			if i == 0 || path[i-1] == '.' {
				return false
			}
		}
	}
	return path != ""
}

func (p *jsonPath) read(dst []string, r *Reply, limit int) []string {
	if r.JSON.text == "" {
		return dst
	}
	return r.JSON.values(dst, p, limit)
}
