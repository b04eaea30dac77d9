// Package columns lays out rows of text in columns.
package columns

import (
	"strings"
	"unicode/utf8"
)

// Lines returns the rows as lines, each column as wide as its longest cell, with two blanks
// between columns. Columns that isLeft names by their index are aligned to the left, like
// texts; the others to the right, like numbers. A row without cells becomes an empty line.
func Lines(rows [][]string, isLeft func(column int) bool) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			blanks := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if isLeft(i) {
				cells[i] = cell + blanks
			} else {
				cells[i] = blanks + cell
			}
		}
		lines[n] = strings.TrimRight(strings.Join(cells, "  "), " ")
	}
	return lines
}
