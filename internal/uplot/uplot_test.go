package uplot

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestFilesAreTheRelease holds that the embedded files are those of the release that
// Version names, so that an update or an edit by hand is made on purpose.
func TestFilesAreTheRelease(t *testing.T) {
	for _, test := range []struct{ name, content, want string }{
		{"uPlot.iife.min.js", Script, "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"},
		{"uPlot.min.css", Style, "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"},
		{"LICENSE", License, "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sum := sha256.Sum256([]byte(test.content))
			if got := hex.EncodeToString(sum[:]); got != test.want {
				t.Errorf("SHA-256 of %s\ngot  %s\nwant %s", test.name, got, test.want)
			}
		})
	}
	if first, _, _ := strings.Cut(Script, "\n"); !strings.Contains(first, "(v"+Version+")") {
		t.Errorf("first line of the script: got %q, want the version %s", first, Version)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil || !strings.Contains(string(readme), "uPlot "+Version) {
		t.Errorf("README.md does not name uPlot %s (%v)", Version, err)
	}
}

// TestLicenseIsThere holds that what the MIT licence asks for goes along.
func TestLicenseIsThere(t *testing.T) {
	for _, want := range []string{"The MIT License", "Copyright (c) ", "Permission is hereby granted"} {
		if !strings.Contains(License, want) {
			t.Errorf("the licence does not say %q:\n%s", want, License)
		}
	}
}

// TestFitsAStrictPolicy holds that a page can embed the files, and forbid by its content
// security policy that anything is evaluated or fetched.
func TestFitsAStrictPolicy(t *testing.T) {
	for _, test := range []struct{ name, content, forbidden string }{
		{"ends the script element", Script, `(?i)</script|<!--`},
		{"evaluates text", Script, `\beval\(|new Function`},
		{"writes style attributes or markup", Script, `cssText|setAttribute\("style|innerHTML|insertAdjacentHTML`},
		{"fetches", Script, `fetch\(|XMLHttpRequest|import\(|new Worker`},
		{"ends the style element", Style, `(?i)</style`},
		{"fetches by CSS", Style, `url\(|@import`},
	} {
		if found := regexp.MustCompile(test.forbidden).FindString(test.content); found != "" {
			t.Errorf("%s: got %q, want none", test.name, found)
		}
	}
}
