package extract

import (
	"strings"
	"testing"
)

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		body string
		want BodyKind
	}{
		{"", BodyText},
		{" \n\t", BodyText},
		{"slow down", BodyText},
		{`{"a":1}`, BodyJSON},
		{"[1]", BodyJSON},
		{`"a"`, BodyJSON},
		{" {}", BodyJSON},
		{"\n{}", BodyJSON},
		{"\t{}", BodyJSON},
		{"\r\n{}", BodyJSON},
		{"\f{}", BodyJSON},
		{")]}'\n{}", BodyJSON},
		{"<a/>", BodyXML},
		{"\n<?xml version='1.0'?>\n<!-- x -->\n<a/>", BodyXML},
		{"<!DOCTYPE html><p>", BodyHTML},
		{"<?xml version='1.0'?> <HTML>", BodyHTML},
		{strings.Repeat("<!-- x -->", 15) + "<a/>", BodyXML},
		{strings.Repeat("<!-- x -->", 16) + "<a/>", BodyHTML}, // nobody reads on so long
	} {
		if got := KindOf(tt.body); got != tt.want {
			t.Errorf("given %q\ngot  %d, want %d", tt.body, got, tt.want)
		}
	}
}
