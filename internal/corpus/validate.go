package corpus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// maxNesting bounds how deep a case's JSON may nest. Deeper JSON is refused before
// a recursive reader sees it.
const maxNesting = 1000

// validate returns an error that says why data is not valid JSON, or nil if it is.
func validate(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("not JSON: nothing there")
	}
	if tooDeep(data) {
		return fmt.Errorf("not JSON to be read: nested deeper than %d", maxNesting)
	}
	if gjson.ValidBytes(data) {
		return nil
	}
	// encoding/json is slower, but says where the error is.
	syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(data, &struct{}{}))
	if !ok {
		return fmt.Errorf("not JSON")
	}
	if at := int(syntax.Offset); at >= 1 && at <= len(data) && !strings.HasPrefix(syntax.Error(), "unexpected end") {
		c, _ := utf8.DecodeRune(data[at-1:])
		return fmt.Errorf("not JSON: unexpected %q at byte %d", c, at)
	}
	return fmt.Errorf("not JSON: it ends in the middle of a value, at byte %d", syntax.Offset)
}

// tooDeep reports whether data nests deeper than maxNesting. Most data has so few
// brackets, those inside strings included, that counting them answers.
func tooDeep(data []byte) bool {
	if bytes.Count(data, []byte{'['})+bytes.Count(data, []byte{'{'}) <= maxNesting {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case inString:
			switch b {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case b == '"':
			inString = true
		case b == '[' || b == '{':
			if depth++; depth > maxNesting {
				return true
			}
		case b == ']' || b == '}':
			depth--
		}
	}
	return false
}
