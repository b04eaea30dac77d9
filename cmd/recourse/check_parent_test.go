package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A policy that is checked without what it extends is told where that is.
func TestCheckFindsParents(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"policies/acme.yaml":      "version: 1\nprovider: acme # the base\nextends: [http]\n",
		"policies/eu.yaml":        "version: 1\nprovider: acme_eu\nextends: [acme]\n",
		"fragments/us.yaml":       "version: 1\nprovider: acme_us\nextends: [acme]\n",
		"fragments/deep/asia.yml": "version: 1\nprovider: acme_asia\nextends: [acme]\n",
		"top.yaml":                "version: 1\nprovider: top\nextends: [acme]\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ file, want string }{
		{"policies/eu.yaml", "policies/acme.yaml has it, and is not checked here: recourse check policies/acme.yaml policies/eu.yaml"},
		{"fragments/us.yaml", "policies/acme.yaml has it, and is not checked here: recourse check policies/acme.yaml fragments/us.yaml"},
		{"fragments/deep/asia.yml", "policies that others extend"},
		{"top.yaml", ""},
	} {
		got := filepath.ToSlash(try(t, "", "check", tt.file).stdout)
		if !strings.Contains(got, "[unknown-parent]") || tt.want != "" && strings.HasPrefix(tt.want, "policies/") && !strings.Contains(got, "hint: "+tt.want) {
			t.Errorf("check %s\ngot  %s\nwant %s", tt.file, got, tt.want)
		}
	}
	if got := try(t, "", "check", "policies/acme.yaml", "fragments/us.yaml").stdout; !strings.HasPrefix(got, "2 files: 0 errors") {
		t.Errorf("check of both: %s", got)
	}
}
