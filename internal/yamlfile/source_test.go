package yamlfile

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestLines(t *testing.T) {
	s := NewFile("x", []byte("\xef\xbb\xbfone\r\ntwo\rthrée\u2028four\n"), nil)
	want := []string{"one", "two", "thrée", "four", ""}
	if len(s.starts) != len(want) {
		t.Fatalf("%d lines, want %d", len(s.starts), len(want))
	}
	for i, w := range want {
		if got := s.line(i + 1); got != w {
			t.Errorf("line %d = %q, want %q", i+1, got, w)
		}
	}
	for _, n := range []int{-1, 0, 6, 99} {
		if got := s.line(n); got != "" {
			t.Errorf("line %d = %q, want nothing", n, got)
		}
	}
	for off := 0; off <= len(s.text); off++ {
		if off < len(s.text) && !utf8.RuneStart(s.text[off]) {
			continue
		}
		line, col := s.place(off)
		if got := s.offset(line, col); got != off {
			t.Errorf("offset(place(%d)) = offset(%d, %d) = %d", off, line, col, got)
		}
	}
}

// However a value is written, each of its bytes leads back to the place where
// it stands.
func TestScalarOffsets(t *testing.T) {
	word := rapid.StringMatching(`[a-zä☃]{1,4}`)
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(word, 1, 6).Draw(t, "words")
		gap := func(of ...string) string { return rapid.SampledFrom(of).Draw(t, "gap") }
		var file, value strings.Builder
		file.WriteString("a: é\nwhen: ")
		style := rapid.SampledFrom([]string{"plain", "single", "double", "literal", "folded", "flow"}).Draw(t, "style")
		switch style {
		case "single":
			file.WriteString("'it''s")
		case "double":
			file.WriteString(`"q\"\x41\u00e4` + "\\\n    x")
		case "literal":
			file.WriteString("|-\n    x")
		case "folded":
			file.WriteString(">\n\n    x")
		case "flow":
			file.Reset()
			file.WriteString("{a: é, when: x")
		default:
			file.WriteString("x")
		}
		for _, w := range words {
			switch style {
			case "flow":
				file.WriteString(gap(" ", "  ") + w)
			case "single":
				file.WriteString(gap(" ", "  ", "\n    ", " ''") + w)
			case "double":
				file.WriteString(gap(" ", "\n\n  ", `\t`, `\"`, "\\\n   ") + w)
			default:
				file.WriteString(gap(" ", "  ", "\n    ", "\n\n    ") + w)
			}
		}
		switch style {
		case "single":
			file.WriteString("'")
		case "double":
			file.WriteString(`"`)
		case "flow":
			file.WriteString("}")
		}
		file.WriteString("\n")
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(file.String()), &doc); err != nil {
			t.Fatalf("%q: %v", file.String(), err)
		}
		s := NewFile("x", []byte(file.String()), nil)
		n := doc.Content[0].Content[3]
		at := s.scalarOffsets(n)
		for i, r := range n.Value {
			written, _ := utf8.DecodeRune(s.text[at[i]:])
			blank := strings.ContainsRune(" \n\t", r)
			// A letter stands for itself, or is the escape that yields it; a blank is a
			// blank, a break or an escape.
			if written != r && written != '\\' && !(blank && strings.ContainsRune(" \n", written)) {
				t.Fatalf("%s\nbyte %d of %q is %q, and leads to %q at %d", file.String(), i, n.Value, r, written, at[i])
			}
			if i > 0 && at[i] < at[i-1] {
				t.Fatalf("%s\nbyte %d of %q leads back to %d, after %d", file.String(), i, n.Value, at[i], at[i-1])
			}
		}
		value.WriteString(n.Value)
		last := strings.TrimRight(n.Value, " \n\t")
		if end := at[len(last)]; end < at[len(last)-1] || bytes.ContainsAny(s.text[at[len(last)-1]+1:end], "\n") {
			t.Fatalf("%s\nthe end of %q leads to %d", file.String(), n.Value, end)
		}
	})
}
