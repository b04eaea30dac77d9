package oauth2error

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// RetrieveError has the fields of golang.org/x/oauth2's.
type RetrieveError struct {
	Response  *http.Response
	ErrorCode string
}

func (*RetrieveError) Error() string { return "oauth2" }

// otherError has the field, but another name.
type otherError struct{ Response *http.Response }

func (otherError) Error() string { return "other" }

func Test(t *testing.T) {
	endpoint := &url.URL{Scheme: "https", Host: "id.example.com", Path: "/token"}
	answered := &RetrieveError{&http.Response{StatusCode: 400, Request: &http.Request{URL: endpoint}}, "invalid_grant"}
	tests := []struct {
		name     string
		given    error
		answer   bool // of the error itself
		code     string
		inside   bool
		endpoint *url.URL
	}{
		{"an answer", answered, true, "invalid_grant", true, endpoint},
		{"wrapped", fmt.Errorf("sync: %w", answered), false, "", true, endpoint},
		{"joined", errors.Join(errors.New("x"), answered), false, "", true, endpoint},
		{"without a request", &RetrieveError{Response: &http.Response{StatusCode: 400}}, true, "", true, nil},
		{"without a response", &RetrieveError{ErrorCode: "x"}, true, "x", true, nil},
		{"nil pointer", (*RetrieveError)(nil), false, "", false, nil},
		{"another type", otherError{answered.Response}, false, "", false, nil},
		{"no struct", errors.ErrUnsupported, false, "", false, nil},
		{"nil", nil, false, "", false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, ok := Answer(tt.given); ok != tt.answer {
				t.Errorf("given %v\ngot  Answer %v, want %v", tt.given, ok, tt.answer)
			}
			if code := Code(tt.given); code != tt.code {
				t.Errorf("given %v\ngot  Code %q, want %q", tt.given, code, tt.code)
			}
			if u, ok := Endpoint(tt.given); u != tt.endpoint || ok != tt.inside {
				t.Errorf("given %v\ngot  Endpoint %v, %v, want %v, %v", tt.given, u, ok, tt.endpoint, tt.inside)
			}
		})
	}
}
