package pseudonym

import "testing"

func TestOf(t *testing.T) {
	for _, tt := range []struct{ key, name, want string }{
		{"", "", "b613679a0814d9ec"}, // of HMAC-SHA-256 without a key and a text
		{"key", "The quick brown fox jumps over the lazy dog", "f7bc83f430538424"},
	} {
		if got := Of([]byte(tt.key), tt.name); got != tt.want {
			t.Errorf("given the key %q and %q: got %s, want %s", tt.key, tt.name, got, tt.want)
		}
	}
}
