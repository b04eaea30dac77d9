package policy

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The tree names every request as the list does.
func TestOperationIndex(t *testing.T) {
	segments := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "*", "**", "a*", "", "*b"}), 1, 5)
	rapid.Check(t, func(t *rapid.T) {
		var p Policy
		for i := range rapid.IntRange(8, 20).Draw(t, "operations") {
			o := Operation{Operation: string(rune('A' + i)), method: rapid.SampledFrom([]string{"", "GET", "POST"}).Draw(t, "method")}
			if rapid.IntRange(0, 9).Draw(t, "has path") > 0 {
				o.path = "/" + strings.Join(segments.Draw(t, "path"), "/")
			}
			if rapid.IntRange(0, 9).Draw(t, "has form") == 0 {
				o.form = map[string]string{"f": "x"}
			}
			p.Operations = append(p.Operations, o)
		}
		r := &Request{Method: rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"), Path: rapid.StringMatching(`(/(a|b|c|ab)?){0,6}`).Draw(t, "path")}
		if rapid.Bool().Draw(t, "form") {
			r.Form = func() map[string][]string { return map[string][]string{"f": {"x"}} }
		}
		want := operationOf(&p, r)
		p.operations = newOperationIndex(p.Operations)
		if got := operationOf(&p, r); got != want {
			t.Fatalf("given %+v and %+v, got %q by the tree, want %q", p.Operations, r, got, want)
		}
	})
}

func TestNameRequestDoesNotAllocate(t *testing.T) {
	p, ok := Builtin().Policy("gmail")
	if !ok || p.operations == nil {
		t.Fatal("gmail has no operations to look up")
	}
	r := &Request{Method: "GET", Host: "gmail.googleapis.com", Path: "/gmail/v1/users/me/messages/18c2f3a4b5d6e7f8"}
	if got := operationOf(p, r); got != "messages.get" {
		t.Errorf("NameRequest = %q, want messages.get", got)
	}
	if n := testing.AllocsPerRun(100, func() { operationOf(p, r) }); n != 0 {
		t.Errorf("NameRequest allocates %v times, want 0", n)
	}
}
