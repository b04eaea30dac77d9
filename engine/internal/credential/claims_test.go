package credential

import "testing"

func TestClaims(t *testing.T) {
	for _, tt := range []struct{ header, want string }{
		{`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", error="insufficient_claims", claims="eyJhIjoxfQ=="`, "eyJhIjoxfQ=="},
		{`Bearer claims="eyJhIjoxfQ==", error="insufficient_claims"`, "eyJhIjoxfQ=="},
		{`Bearer realm="a, claims=b", error="invalid_token"`, ""},
		{`Bearer claims="never closed`, ""},
		{`Bearer claims=`, ""},
		{``, ""},
		{`=====`, ""},
	} {
		if got := Claims(map[string][]string{"Www-Authenticate": {tt.header}}); got != tt.want {
			t.Errorf("Claims(%q) = %q, want %q", tt.header, got, tt.want)
		}
	}
}
