package classify_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

func newEvent() *rules.Event { return &rules.Event{} }

// load reads a policy, which needs to say only what matters here.
func load(text string) *policy.Policy {
	set, found := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte("version: 1\ndefault: fail\n" + text)}}, policy.LoadOptions{})
	if err := found.Err(); err != nil {
		panic(err)
	}
	return set.Policies()[0]
}

// from is the extractor that a policy file writes as {form: text}.
func from(form, text string) extract.Extractor {
	if form == "text" {
		return extract.New(extract.Text, regexp.MustCompile(text))
	}
	i := slices.Index(extract.Names(), form)
	return extract.New(extract.Forms[i], text)
}

// timeFrom is the extractor of a time that a policy file writes as {header: name, as: as}.
func timeFrom(name, as string) extract.Extractor {
	x := from("header", name)
	x.As = as
	return x
}

// checkEvent holds e to what every event keeps, whatever it was made from.
func checkEvent(t *testing.T, given any, e *rules.Event) {
	t.Helper()
	if e.RetryAfter < 0 || e.RetryAfter > classify.MaxHint {
		t.Errorf("given %q\ngot  wait %v", given, e.RetryAfter)
	}
	if len(e.Codes) > 64 {
		t.Errorf("given %q\ngot  %d codes", given, len(e.Codes))
	}
	seen := make(map[string]bool)
	for _, c := range e.Codes {
		if c == "" || seen[c] {
			t.Errorf("given %q\ngot  codes %q: one is empty or there twice", given, e.Codes)
		}
		seen[c] = true
	}
	if len(e.Body) > classify.MaxBody {
		t.Errorf("got a body of %d bytes", len(e.Body))
	}
	for _, s := range append([]string{e.Type, e.Message, e.Body, e.Facts["domain"]}, e.Codes...) {
		if !utf8.ValidString(s) {
			t.Errorf("given %q\ngot  %q, which is not UTF-8", given, s)
		}
	}
}

// checkSame holds the traced form of a classification to the plain one.
func checkSame(t *testing.T, given any, plain, traced *rules.Event) {
	t.Helper()
	if !reflect.DeepEqual(plain, traced) {
		t.Errorf("given %q\ngot  %+v traced\nwant %+v", given, traced, plain)
	}
}

func trim(s string) string { return strings.TrimSpace(s) }
