package classify_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
	"github.com/tidwall/gjson"
)

// everything has an extractor of each form.
var everything = load("provider: everything\ninspect: {max: 64KiB}\n" +
	section(exchangeFacts, googleFacts, map[string]string{"codes": "{json: '#(a==1).b'}, {header: X-Code}"}))

func FuzzHTTP(f *testing.F) {
	for _, body := range []string{jsonBody, ewsFault, htmlBody[:2000], "\x1f\x8b\x08", "\xff\xfea\x00", `{"error":{"errors":[{"reason":"a"`, `[{"a":1,"b":"c"}]`, "", `<D:error><D:x/></D:error>`, ")]}'{}", wbxml + "\x45\x4e\x03111\x00\x01\x01"} {
		f.Add(503, "text/html; charset=iso-8859-1", "retry-after", "5", []byte(body))
		f.Add(200, "application/json", "Content-Encoding", "br", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType, name, value string, body []byte) {
		r := &classify.Response{Status: status, Header: http.Header{"Content-Type": {contentType}, name: {value}}, Body: body, Now: arrival}
		var e, traced rules.Event
		classify.HTTP(everything, r, &e)
		checkEvent(t, body, &e)
		r.Trace = new(classify.Trace)
		classify.HTTP(everything, r, &traced)
		checkSame(t, body, &e, &traced)
	})
}

// jsonPaths are the kinds of path that are taken apart here and not by gjson.
var jsonPaths = []string{"a", "b", "a.b", "a.a", "a.b.c", "a.0", "a.1.b", "a.b.0.c", "#.a", "a.#.b", "a.b.#.c", "a.#.b.#.c", "0", "0.a", ""}

// FuzzJSON holds what is found in sound JSON to what gjson finds, and what is
// found in JSON that is cut short to be found in the whole as well.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[{"c":1},{"c":"x"},{}],"a":true},"b":null}`), 20)
	f.Add([]byte(`{"a":[{"b":[{"c":1},{"c":[2,3]}]},{"b":"y"}],"a":2}`), 30)
	f.Add([]byte(`[{"a":"\u00e9\n"},{"a":1.50},7]`), 8)
	f.Add([]byte(`{"a":{"b":{"c":"d"}},"a\"b":1}`), 12)
	f.Fuzz(func(t *testing.T, doc []byte, cut int) {
		if !json.Valid(doc) || !utf8.Valid(doc) || len(doc) > classify.MaxBody || repeatsKeys(doc) {
			return
		}
		for _, path := range jsonPaths {
			got := codesAt(path, doc)
			if want := gjsonAt(string(doc), path); !reflect.DeepEqual(got, want) {
				t.Errorf("given %s at %q\ngot  %q\nwant %q", doc, path, got, want)
			}
			if cut < 0 || cut > len(doc) {
				continue
			}
			for _, c := range codesAt(path, doc[:cut]) {
				if !contains(got, c) {
					t.Errorf("given %s at %q\ngot  %q, which is not in the whole: %q", doc[:cut], path, c, got)
				}
			}
		}
	})
}

func codesAt(path string, doc []byte) []string {
	p := &policy.Policy{Extract: &extract.Section{Codes: []extract.Extractor{from("json", path)}}}
	var e rules.Event
	classify.HTTP(p, &classify.Response{Status: 500, Body: doc}, &e)
	return e.Codes
}

// gjsonAt is what gjson itself finds.
func gjsonAt(doc, path string) []string {
	if c := strings.TrimSpace(doc); c == "" || c[0] != '{' && c[0] != '[' && c[0] != '"' {
		return nil // not taken for JSON
	}
	var out []string
	var add func(v gjson.Result, depth int)
	add = func(v gjson.Result, depth int) {
		switch {
		case v.IsArray() && depth < 4:
			v.ForEach(func(_, v gjson.Result) bool { add(v, depth+1); return true })
		case v.Type == gjson.String, v.Type == gjson.Number, v.IsBool():
			s := v.String()
			if v.Type == gjson.Number {
				s = v.Raw
			}
			if s = strings.TrimSpace(s); s != "" && !contains(out, s) && len(out) < 64 {
				out = append(out, s)
			}
		}
	}
	add(gjson.Get(doc, path), 0)
	return out
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// repeatsKeys reports whether an object of doc has a key twice, of which
// different readers take different ones, or nesting that they do not follow.
func repeatsKeys(doc []byte) bool {
	if bytes.Count(doc, []byte("[")) > 8 {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(doc))
	type frame struct {
		keys map[string]bool
		key  bool
	}
	var stack []frame
	for {
		tok, err := d.Token()
		if err != nil {
			return err != io.EOF
		}
		var top *frame
		if len(stack) > 0 {
			top = &stack[len(stack)-1]
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, frame{make(map[string]bool), true})
			continue
		case json.Delim('['):
			stack = append(stack, frame{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
			if len(stack) > 0 && stack[len(stack)-1].keys != nil {
				stack[len(stack)-1].key = true
			}
			continue
		}
		if top == nil || top.keys == nil {
			continue
		}
		if top.key {
			k := tok.(string)
			if top.keys[k] {
				return true
			}
			top.keys[k], top.key = true, false
		} else {
			top.key = true
		}
	}
}

// FuzzXML holds what is found in sound XML to what encoding/xml reads there.
func FuzzXML(f *testing.F) {
	f.Add(ewsFault)
	f.Add(`<error><Code>a</Code><Code x="1">b<![CDATA[c]]></Code><Code/></error>`)
	f.Add(`<error><!-- <Code>x</Code> --><Code>&lt;&#65;</Code><a:b xmlns:a="x"/></error>`)
	f.Add(`<!DOCTYPE error [<!ENTITY e "x">]><error Code='a>b'><Code>d</Code></error>`)
	p := &policy.Policy{Extract: &extract.Section{
		Codes: []extract.Extractor{from("xml", "Code")},
		Type:  []extract.Extractor{from("xml_name", "error")},
	}}
	f.Fuzz(func(t *testing.T, doc string) {
		var e rules.Event
		classify.HTTP(p, &classify.Response{Status: 500, Body: []byte(doc)}, &e)
		checkEvent(t, doc, &e)
		if len(doc) > classify.MaxBody || len(e.Codes) >= 64 || strings.ContainsAny(doc, ":\r\x00") || strings.Contains(strings.ToLower(doc), "<!") ||
			!strings.HasPrefix(doc, "<error>") {
			return // names with prefixes, line ends and declarations: not the same by design
		}
		codes, child, ok := readXML(doc)
		if !ok {
			return
		}
		if !reflect.DeepEqual(e.Codes, codes) || e.Type != child {
			t.Errorf("given %q\ngot  %q %q\nwant %q %q", doc, e.Codes, e.Type, codes, child)
		}
	})
}

// readXML is the own text of every Code, and the first child of error.
func readXML(doc string) (codes []string, child string, ok bool) {
	d := xml.NewDecoder(strings.NewReader(doc))
	type element struct {
		name string
		text strings.Builder
	}
	var stack []*element
	var found []*element
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, "", false
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if len(stack) > 0 && stack[len(stack)-1].name == "error" && child == "" {
				child = tok.Name.Local
			}
			el := &element{name: tok.Name.Local}
			stack = append(stack, el)
			if el.name == "Code" {
				found = append(found, el)
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 && strings.TrimSpace(string(tok)) != "" {
				stack[len(stack)-1].text.Write(tok)
			}
		}
	}
	for _, el := range found {
		if s := strings.TrimSpace(el.text.String()); s != "" && !contains(codes, s) {
			codes = append(codes, s)
		}
	}
	return codes, child, true
}
