package httpattempt

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestHadOnce(t *testing.T) {
	again := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("mail")), nil }
	body, _ := again()
	for _, tt := range []struct {
		name string
		req  http.Request
		want bool
	}{
		{"no body", http.Request{}, false},
		{"NoBody", http.Request{Body: http.NoBody}, false},
		{"a body with GetBody", http.Request{Body: body, GetBody: again}, false},
		{"a body without GetBody", http.Request{Body: body}, true},
	} {
		if got := HadOnce(&tt.req); got != tt.want {
			t.Errorf("%s: HadOnce %v, want %v", tt.name, got, tt.want)
		}
	}
}
