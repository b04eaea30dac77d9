package httpattempt

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestHead(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name  string
		given io.Reader
		text  string // of the head, at most 4 bytes
		whole bool
		all   string // what can be read after Replay
		err   error
		cut   error // the same after Cut
	}{
		{"empty", strings.NewReader(""), "", true, "", nil, nil},
		{"short", strings.NewReader("abc"), "abc", true, "abc", nil, nil},
		{"as long as the head", strings.NewReader("abcd"), "abcd", true, "abcd", nil, nil},
		{"longer", strings.NewReader("abcdefgh"), "abcd", false, "abcdefgh", nil, io.ErrUnexpectedEOF},
		{"broken", io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), "ab", true, "ab", broken, broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := io.NopCloser(tt.given)
			h := ReadHead(body, body, 4)
			if string(h.Text()) != tt.text || h.Whole() != tt.whole {
				t.Errorf("got  %q, whole %v\nwant %q, whole %v", h.Text(), h.Whole(), tt.text, tt.whole)
			}
			lost := h
			if all, err := io.ReadAll(h.Replay(body)); string(all) != tt.all || err != tt.err {
				t.Errorf("got  %q, %v after Replay\nwant %q, %v", all, err, tt.all, tt.err)
			}
			lost.Cut()
			if _, err := io.ReadAll(lost.Replay(body)); err != tt.cut {
				t.Errorf("got  %v after Cut, want %v", err, tt.cut)
			}
		})
	}
	if h := ReadHead(nil, nil, 4); len(h.Text()) != 0 || !h.Whole() {
		t.Errorf("no body: got %q, whole %v, want an empty head that is whole", h.Text(), h.Whole())
	}
}
