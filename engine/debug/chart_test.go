package debug

import (
	"fmt"
	"testing"
)

// A limit keeps its line for as long as the chart shows it, wherever it stands among the others.
func TestLines(t *testing.T) {
	var lines chartLines
	for _, tt := range []struct{ shown, want string }{
		{"abc", "a0 b1 c2"},
		{"cab", "c2 a0 b1"},
		{"dcb", "d0 c2 b1"}, // a is gone, so its line is free
		{"adb", "a2 d0 b1"},
		{"abdefg", "a2 b1 d0 e3 f4 g5"},
		{"hbdefg", "h2 b1 d0 e3 f4 g5"},
		{"", ""},
		{"h", "h2"},
	} {
		var rows []waitRow
		for _, limit := range tt.shown {
			rows = append(rows, waitRow{Provider: "shop", Limit: string(limit)})
		}
		lines.give(rows)
		got := ""
		for i, r := range rows {
			if i > 0 {
				got += " "
			}
			got += fmt.Sprint(r.Limit, r.Line[1:])
		}
		if got != tt.want {
			t.Errorf("of %q got %q, want %q", tt.shown, got, tt.want)
		}
	}
}
