package corpus

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	tests := []struct {
		name string
		in   string
		want []string
	}{
		{"nothing", "", nil},
		{"one", "a\n", []string{"a"}},
		{"no end", "a\nb", []string{"a", "b"}},
		{"of Windows", "\xef\xbb\xbfa\r\nb\r\n", []string{"a", "b"}},
		{"blank", "a\n\nb\n", []string{"a", "", "b"}},
		{"longer than the buffer", long + "\nb\n", []string{long, "b"}},
		{"longer than the buffer, no end", "a\n" + long, []string{"a", long}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLineReader(strings.NewReader(tt.in))
			var got []string
			for {
				line, err := l.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("next: %v", err)
				}
				got = append(got, string(line))
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %d lines, want %d", len(got), len(tt.want))
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("line %d: got %.40q (%d bytes), want %.40q (%d bytes)", i, got[i], len(got[i]), tt.want[i], len(tt.want[i]))
				}
			}
		})
	}
}

// endless yields b for ever, up to n bytes in all.
type endless struct {
	b byte
	n int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), e.n)
	for i := range p[:n] {
		p[i] = e.b
	}
	e.n -= n
	return int(n), nil
}

// A line far above MaxLine is skipped, in bounded memory, and the next is read.
func TestLineTooLong(t *testing.T) {
	for _, size := range []int64{MaxLine + 1, 200 << 20} {
		l := newLineReader(io.MultiReader(strings.NewReader("a\n"), &endless{'x', size}, strings.NewReader("\nb\n")))
		if line, err := l.next(); string(line) != "a" || err != nil {
			t.Fatalf("first line: %q, %v", line, err)
		}
		line, err := l.next()
		if !errors.Is(err, errLineTooLong) {
			t.Fatalf("line of %d bytes: got %d bytes, error %v, want %v", size, len(line), err, errLineTooLong)
		}
		if most := 2*MaxLine + 1<<20; cap(l.long) > most {
			t.Errorf("line of %d bytes: holds %d bytes, want at most %d", size, cap(l.long), most)
		}
		if line, err := l.next(); string(line) != "b" || err != nil {
			t.Errorf("the line after: %q, %v, want %q", line, err, "b")
		}
		if _, err := l.next(); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v, want EOF", err)
		}
	}
}

func TestLineOfMaxLine(t *testing.T) {
	l := newLineReader(&endless{'x', MaxLine})
	if line, err := l.next(); len(line) != MaxLine || err != nil {
		t.Errorf("line of MaxLine bytes: got %d bytes, %v", len(line), err)
	}
}

func TestLineReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	l := newLineReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)))
	if line, err := l.next(); string(line) != "a" || err != nil {
		t.Fatalf("first line: %q, %v", line, err)
	}
	if _, err := l.next(); !errors.Is(err, broken) {
		t.Errorf("second line: %v, want %v", err, broken)
	}
}
