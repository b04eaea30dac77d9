package classify

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestKeysLoseNothing holds that a path whose keys are not in the document's set yields
// nothing, also where the document is broken.
func TestKeysLoseNothing(t *testing.T) {
	token := rapid.SampledFrom([]string{`{`, `}`, `[`, `]`, `:`, `,`, ` `, `"a"`, `"b"`, `"error"`, `"\u0061"`, `"code"`, `1`, `null`, `"a":`, `{"a":`, `,"b":"x"`, `{"error":{"code":1}}`, `"`, `x`})
	paths := []string{"a", "b", "a.b", "error.code", "a.#.b", "#.a", "a.b.error", "code", "a.0.b", "a.#(b==\"x\").a", "error.a*", "a.b.#.code", "a."}
	rapid.Check(t, func(t *rapid.T) {
		body := "{"
		for _, s := range rapid.SliceOfN(token, 0, 14).Draw(t, "tokens") {
			body += s
		}
		var d jsonDoc
		if d.read(body); d.text == "" {
			return
		}
		whole := d
		whole.keys = allKeys
		for _, text := range paths {
			p := newJSONPath(text)
			if got, want := d.values(nil, &p, 9), whole.values(nil, &p, 9); !slices.Equal(got, want) {
				t.Fatalf("%s of %s: got %q, want %q", text, body, got, want)
			}
		}
	})
}
