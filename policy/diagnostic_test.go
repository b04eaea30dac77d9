package policy

import (
	"strings"
	"testing"
)

func TestUnderline(t *testing.T) {
	long := strings.Repeat("a", 100) + "HERE" + strings.Repeat("b", 100)
	for _, c := range []struct {
		name, line      string
		from, to        int
		shown, carets   string
		wantCut, onHere bool
	}{
		{name: "plain", line: "when: x", from: 7, to: 8, shown: "when: x", carets: "      ^"},
		{name: "tabs stay tabs", line: "\twhen: x", from: 2, to: 6, shown: "\twhen: x", carets: "\t^^^^"},
		{name: "past the end", line: "ab", from: 3, to: 4, shown: "ab", carets: "  ^"},
		{name: "empty", line: "", from: 1, to: 2, shown: "", carets: "^"},
		{name: "control characters", line: "a\x1b[31mb", from: 1, to: 2, shown: "a·[31mb", carets: "^"},
		{name: "long", line: long, from: 101, to: 105, wantCut: true, onHere: true},
	} {
		shown, carets := underline(c.line, c.from, c.to)
		if !c.wantCut && (shown != c.shown || carets != c.carets) {
			t.Errorf("%s: got\n%q\n%q\nwant\n%q\n%q", c.name, shown, carets, c.shown, c.carets)
		}
		if c.onHere {
			i := strings.Index(carets, "^^^^")
			if rs := []rune(shown); len(rs) > widest+2 || i < 0 || string(rs[i:i+4]) != "HERE" {
				t.Errorf("%s: got\n%s\n%s", c.name, shown, carets)
			}
		}
	}
}
