package policy

import (
	"slices"
	"sync"
	"testing"
)

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
	for _, p := range s.Policies() {
		got, ok := Builtin().Policy(p.Name)
		switch {
		case !ok:
			t.Errorf("%s: Builtin() lacks it", p.Name)
		case got.Version != p.Version:
			t.Errorf("%s: the version of Builtin() is %q, that of Load of the same files %q", p.Name, got.Version, p.Version)
		case !slices.EqualFunc(got.Rules, p.Rules, func(a, b Rule) bool { return a.Name == b.Name && a.Pos == b.Pos }):
			t.Errorf("%s: rules of Builtin() stand elsewhere than those of Load of the same files", p.Name)
		}
	}
}

// Of a built-in policy only the head is read before somebody asks for it.
func TestUnread(t *testing.T) {
	s, ds := load(BuiltinFiles(), LoadOptions{}, true)
	if s == nil {
		t.Fatal(ds)
	}
	unread := func() (names []string) {
		for _, name := range s.Names() {
			if s.Unread(name) {
				names = append(names, name)
			}
		}
		return names
	}
	if got, want := unread(), s.Names(); !slices.Equal(got, want) {
		t.Errorf("unread after load: %q, want %q", got, want)
	}
	if got := s.WholeHosts()["gmail.googleapis.com"]; got != "gmail" {
		t.Errorf("the policy of all of gmail.googleapis.com is %q, want gmail", got)
	}
	if !s.Claims("graph.microsoft.com:443") || s.Claims("example.com") {
		t.Error("graph.microsoft.com is not claimed, or example.com is")
	}
	if over, ds := Load(nil, LoadOptions{Over: s}); over == nil || len(unread()) != len(s.Names()) {
		t.Errorf("an overlay without files has read policies: %v", ds)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if p := s.Lookup("slack.com", "/api/users.list"); p == nil || p.Name != "slack" || len(p.Rules) < 20 {
				t.Errorf("Lookup finds %v, want slack with its rules", p)
			}
		})
	}
	wait.Wait()
	if s.Unread("slack") || !s.Unread("gmail") {
		t.Error("after a look-up of slack: want slack read and gmail not")
	}
	// One that extends a policy that was read for another, and one that is replaced.
	over, ds := Load([]File{{Name: "http.yaml", Data: []byte("version: 1\nprovider: http\nextends: [http]\nrules: [{name: mine, when: status == 418, action: accept}]\n")}}, LoadOptions{Over: s})
	if over == nil {
		t.Fatal(ds)
	}
	for _, name := range []string{"slack", "gmail", "rick"} {
		p, _ := over.Policy(name)
		if !slices.ContainsFunc(p.Rules, func(r Rule) bool { return r.Name == "mine" }) {
			t.Errorf("%s does not inherit the rule of the http that was laid over", name)
		}
	}
	if over.Unread("rick") || over.Version() == s.Version() {
		t.Error("the policies that extend a replaced one are the old ones")
	}
}
