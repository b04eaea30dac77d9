package policy

import "testing"

func BenchmarkNameRequest(b *testing.B) {
	for _, c := range []struct{ provider, method, path string }{
		{"gmail", "GET", "/gmail/v1/users/me/messages/18c2f3a4b5d6e7f8"},
		{"gmail", "GET", "/gmail/v1/users/me/unknown/18c2f3a4b5d6e7f8/x"},
		{"microsoft_graph", "GET", "/v1.0/users/someone@example.com/messages/AAMkAGI2TAAA="},
	} {
		p, ok := Builtin().Policy(c.provider)
		if !ok {
			b.Fatalf("no policy %q", c.provider)
		}
		b.Run(c.provider, func(b *testing.B) {
			b.ReportAllocs()
			r := &Request{Method: c.method, Host: "example.com", Path: c.path}
			for b.Loop() {
				operationOf(p, r)
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	s := Builtin()
	b.ReportAllocs()
	for b.Loop() {
		s.Lookup("gmail.googleapis.com", "/gmail/v1/users/me/messages/18c2f3a4b5d6e7f8")
	}
}

func BenchmarkLoadBuiltin(b *testing.B) {
	files := BuiltinFiles()
	for b.Loop() {
		if _, ds := Load(files, LoadOptions{}); ds.Err() != nil {
			b.Fatal(ds.Err())
		}
	}
}
