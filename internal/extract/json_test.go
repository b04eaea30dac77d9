package extract

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestKeysLoseNothing holds that a path whose keys are not in the document's set yields
// nothing, also where the document is broken.
func TestKeysLoseNothing(t *testing.T) {
	token := rapid.SampledFrom([]string{`{`, `}`, `[`, `]`, `:`, `,`, ` `, `"a"`, `"b"`, `"error"`, `"\u0061"`, `"code"`, `1`, `null`, `"a":`, `{"a":`, `,"b":"x"`, `{"error":{"code":1}}`, `"`, `x`,
		`"a":[`, `{"b":"x"}`, `{"b":{"code":[1,"y"]},"code":true}`, `,{"b":1,"b":"\n","a":{}}`, `]`, `"b":-1.5e3`})
	paths := []string{"a", "b", "a.b", "error.code", "a.#.b", "#.a", "a.b.error", "code", "a.0.b", "a.#(b==\"x\").a", "error.a*", "a.b.#.code", "a.", "a.#.b.code", "a.b.#.b", "error.a.#.b.code"}
	rapid.Check(t, func(t *rapid.T) {
		body := "{"
		for _, s := range rapid.SliceOfN(token, 0, 14).Draw(t, "tokens") {
			body += s
		}
		var d JSON
		if d.Read(body); d.text == "" {
			return
		}
		whole := d
		whole.keys = allKeys
		for _, text := range paths {
			p := newJSONPath(text)
			if got, want := d.values(nil, p, 9), whole.values(nil, p, 9); !slices.Equal(got, want) {
				t.Fatalf("%s of %s: got %q, want %q", text, body, got, want)
			}
		}
	})
}

func TestStringEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.SampledFrom([]byte("aaaaaaaa\\\"\x5d\x21\x23\xa2\xdc\x00")), 1, 30).Draw(t, "text"))
		want := -1
		for i := 1; i < len(s) && want < 0; i++ {
			switch s[i] {
			case '"':
				want = i + 1
			case '\\':
				i++
			}
		}
		if got := stringEnd(s, 0); got != want {
			t.Fatalf("stringEnd(%q) = %d, want %d", s, got, want)
		}
	})
}
