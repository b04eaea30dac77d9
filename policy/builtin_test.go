package policy

import "testing"

func TestBuiltinLoads(t *testing.T) {
	files := BuiltinFiles()
	if len(files) == 0 {
		t.Fatal("no built-in policies are embedded")
	}
	s, ds := Load(files, LoadOptions{})
	for _, d := range ds {
		t.Errorf("%s", d)
	}
	if s == nil {
		t.FailNow()
	}
	if got := len(s.Policies()); got != len(files) {
		t.Errorf("%d files, got %d policies, want as many", len(files), got)
	}
	if Builtin().Version() != s.Version() {
		t.Errorf("Builtin().Version() = %q, Load of the same files gives %q", Builtin().Version(), s.Version())
	}
}
