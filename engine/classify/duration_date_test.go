package classify

import (
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestParseHTTPDate holds that what parseHTTPDate reads http.ParseTime reads as well,
// and that it reads every time that net/http writes.
func TestParseHTTPDate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62_135_596_800, 253_402_300_799).Draw(t, "seconds"), 0).UTC()
		s := at.Format(http.TimeFormat)
		if got, ok := parseHTTPDate(s); !ok || !got.Equal(at) {
			t.Fatalf("%q: %v, %v, want %v", s, got, ok, at)
		}
		b := []byte(s)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("0123456789 :,AJFMaugunSMGTz-")).Draw(t, "byte")
		}
		got, ok := parseHTTPDate(string(b))
		if want, err := http.ParseTime(string(b)); ok && (err != nil || !got.Equal(want)) {
			t.Fatalf("%q: %v, want %v, %v", b, got, want, err)
		}
	})
}
