// Package oauth2error reads the *RetrieveError of golang.org/x/oauth2, the error of a token
// endpoint's answer. It is known by the names of its type and of its fields, so that this
// module need not import that one.
package oauth2error

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/recourse-go/recourse/internal/errtree"
)

// Answer returns the response that err has, which may be nil. ok reports whether err itself
// is a *RetrieveError.
func Answer(err error) (resp *http.Response, ok bool) {
	v, ok := fields(err)
	if !ok || !strings.HasSuffix(v.Type().String(), ".RetrieveError") { // Type.Name is slow
		return nil, false
	}
	f := v.FieldByName("Response")
	if !f.IsValid() || !f.CanInterface() {
		return nil, false
	}
	resp, ok = f.Interface().(*http.Response)
	return resp, ok
}

// Code returns the code that the endpoint gave, such as "invalid_grant"; "" = none. err must
// be a *RetrieveError.
func Code(err error) string {
	v, ok := fields(err)
	if !ok {
		return ""
	}
	if code := v.FieldByName("ErrorCode"); code.Kind() == reflect.String {
		return code.String()
	}
	return ""
}

// Endpoint reports whether err is or wraps a *RetrieveError, and returns the URL of the
// endpoint that answered; nil = the error does not say it.
func Endpoint(err error) (u *url.URL, ok bool) {
	ok = errtree.Walk(err, func(err error) bool {
		resp, is := Answer(err)
		if is && resp != nil && resp.Request != nil {
			u = resp.Request.URL
		}
		return is
	})
	return u, ok
}

// fields returns the struct that an error is, or that it points to.
func fields(err error) (v reflect.Value, ok bool) {
	v = reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	return v, v.Kind() == reflect.Struct
}
