package index

import (
	"fmt"
	"testing"
)

// TestTextTable puts texts into tables of each size that is kept differently.
func TestTextTable(t *testing.T) {
	for _, size := range []int{0, 1, fewTexts, fewTexts + 1, 100, 2000} {
		var table textTable
		kids := map[string]*Tree{}
		for i := range size {
			text := fmt.Sprintf("application%05dthrottled", i) // alike but for the middle
			kids[text] = &Tree{min: int32(i)}
			table.add(text, kids[text])
		}
		table.build()
		for text, kid := range kids {
			if got := table.find(text); got != kid {
				t.Fatalf("of %d texts, find(%q) = %v, want %v", size, text, got, kid)
			}
		}
		for _, text := range []string{"", "x", "application", "applicationxxxxxthrottled"} {
			if got := table.find(text); got != nil {
				t.Errorf("of %d texts, find(%q) = %v, want nil", size, text, got)
			}
		}
	}
}
