package engine

import (
	"testing"

	"github.com/recourse-go/recourse/policy"
)

func BenchmarkNew(b *testing.B) {
	files := policy.BuiltinFiles()
	b.ReportAllocs()
	for b.Loop() {
		s, _ := policy.Load(files, policy.LoadOptions{})
		if _, err := New(Options{Policies: s}); err != nil {
			b.Fatal(err)
		}
	}
}
