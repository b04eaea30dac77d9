package policy

import (
	"slices"
	"testing"
)

// A word of another tool is not one of ours: then nobody is ever told about it.
func TestForeignWordsAreForeign(t *testing.T) {
	for _, o := range objects {
		for _, f := range o.Fields {
			if say := o.Foreign[f.Name]; say != "" {
				t.Errorf("%s has a field %q, and yet %q is said of it", o.Title, f.Name, say)
			}
			for word, say := range f.Foreign {
				if slices.Contains(f.Enum, word) {
					t.Errorf("%q can be %q, and yet %q is said of it", f.Name, word, say)
				}
			}
		}
	}
}
