package policy

import "testing"

// TestOverlayClaims holds that a policy goes before one of the same requests that it
// overlays, under whatever name, and that two of one Set still may not claim the same.
func TestOverlayClaims(t *testing.T) {
	file := func(name, match string) []File {
		return []File{{Name: name + ".yaml", Data: []byte("version: 1\nprovider: " + name + "\ndefault: fail\nmatch: [" + match + "]\n")}}
	}
	load := func(files []File, over *Set) *Set {
		set, ds := Load(files, LoadOptions{Over: over})
		if set == nil {
			t.Fatal(ds)
		}
		return set
	}
	const whole, narrow, wide = `{host: api.example.com}`, `{host: "*.example.com", path: '/v1/**'}`, `{host: "*.example.com"}`
	base := load(append(file("whole", whole), append(file("narrow", narrow), file("wide", wide)...)...), nil)
	over := load(append(file("mine", whole+", "+narrow), file("a_wide", `{host: "*.example.com", path: '/v2/**'}`)...), base)
	top := load(file("above", whole), over)
	for _, tt := range []struct {
		name       string
		set        *Set
		host, path string
		want       string
	}{
		{"below", base, "api.example.com", "/", "whole"},
		{"the same host", over, "api.example.com", "/", "mine"},
		{"the same path", over, "x.example.com", "/v1/a", "mine"},
		{"another path", over, "x.example.com", "/v2/a", "a_wide"},
		{"what nobody overlays", over, "x.example.com", "/v3/a", "wide"},
		{"twice", top, "api.example.com", "/", "above"},
		{"twice, what only the middle claims", top, "x.example.com", "/v1/a", "mine"},
	} {
		if p := tt.set.Lookup(tt.host, tt.path); p == nil || p.Name != tt.want {
			t.Errorf("%s: given %s%s\ngot  %v\nwant %s", tt.name, tt.host, tt.path, p, tt.want)
		}
	}
	if whole := over.WholeHosts(); len(whole) != 0 {
		t.Errorf("hosts that need no look at the path: %v", whole)
	}
	if set, _ := Load(append(file("one", whole), file("two", whole)...), LoadOptions{Over: base}); set != nil {
		t.Error("two policies of one Set claim the same requests")
	}
}
