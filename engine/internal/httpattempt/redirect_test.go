package httpattempt

import (
	"net/http"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// redirected returns the request that a redirect from each URL to the next one makes in the end.
func redirected(t *testing.T, urls ...string) (first, last *http.Request) {
	t.Helper()
	for _, url := range urls {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil {
			req.Response = &http.Response{Request: last}
		} else {
			first = req
		}
		last = req
	}
	return first, last
}

func TestStrays(t *testing.T) {
	gmail, ok := policy.Builtin().Policy("gmail")
	if !ok {
		t.Fatal("there is no policy gmail")
	}
	for _, tt := range []struct {
		name string
		urls []string
		want bool
	}{
		{"not redirected", []string{"https://dav.example/a"}, false},
		{"the same host", []string{"https://dav.example/a", "https://dav.example/b"}, false},
		{"another port of it", []string{"https://dav.example/a", "https://dav.example:8443/b"}, false},
		{"a subdomain", []string{"https://dav.example/a", "https://eu.dav.example/b"}, false},
		{"another host", []string{"https://dav.example/a", "https://evil.example/b"}, true},
		{"a host that ends alike", []string{"https://dav.example/a", "https://evildav.example/b"}, true},
		{"a host that the policy claims", []string{"https://dav.example/a", "https://gmail.googleapis.com/b"}, false},
		{"from TLS to none", []string{"https://dav.example/a", "http://dav.example/b"}, true},
		{"from none to TLS", []string{"http://dav.example/a", "https://dav.example/b"}, false},
		{"away and back", []string{"https://dav.example/a", "https://evil.example/b", "https://dav.example/c"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, last := redirected(t, tt.urls...)
			if got := First(last); got != first {
				t.Errorf("First is %v, want %v", got.URL, first.URL)
			}
			if got := Strays(first, last, gmail); got != tt.want {
				t.Errorf("redirects %q: Strays = %t, want %t", tt.urls, got, tt.want)
			}
		})
	}
}

func TestFirstOfEndlessRedirects(t *testing.T) {
	req := &http.Request{}
	req.Response = &http.Response{Request: req}
	if got := First(req); got != nil {
		t.Errorf("First of a request that was redirected to itself is %v, want nil", got)
	}
}
