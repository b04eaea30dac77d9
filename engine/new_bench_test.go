package engine

import (
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// BenchmarkNew is what a worker pays for an engine, and for its first decisions by
// three providers. The built-in policies are loaded once a process, by the first
// engine; see TestBytesOfNew.
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
