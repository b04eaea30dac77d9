package fact

import (
	"reflect"
	"strings"
	"testing"
)

// TestTable holds that every field of an event is in the table, of its type, and
// is read as the table says.
func TestTable(t *testing.T) {
	e := &Event{Facts: map[string]string{}, Header: map[string][]string{}}
	v := reflect.ValueOf(e).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("expr")
		if name == "-" || name == "facts" {
			continue
		}
		f, ok := ByName[name]
		if !ok {
			t.Errorf("the field %q is not in the table", name)
			continue
		}
		field := v.Field(i)
		switch field.Kind() {
		case reflect.String:
			field.SetString(strings.Repeat("x", MaxBody+1))
			if got, most := TextOf(e, f, ""), f.Info().Most; len(got) != most || !f.IsText() {
				t.Errorf("%s: %d bytes are read, want %d", name, len(got), most)
			}
		case reflect.Int, reflect.Int64:
			field.SetInt(7)
			if got := NumOf(e, f); got != 7 || !f.IsNum() {
				t.Errorf("%s: read %d, want 7", name, got)
			}
		case reflect.Bool:
			field.SetBool(true)
			if got := NumOf(e, f); got != 1 || !f.IsBool() {
				t.Errorf("%s: read %d, want 1", name, got)
			}
		}
	}
	for f, info := range Table {
		if f > 0 && info.kind == 0 {
			t.Errorf("fact %d has no entry", f)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		s    string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aéb", 2, "a"}, {"aéb", 3, "aé"}, {"\xbf\xbf\xbf\xbf\xbf", 4, "\xbf\xbf\xbf\xbf"}} {
		if got := Cut(tt.s, tt.most); got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.s, tt.most, got, tt.want)
		}
	}
}
