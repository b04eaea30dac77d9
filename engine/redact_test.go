package engine

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// What error texts look like without what is secret in them.
func TestSafeText(t *testing.T) {
	const basic, jwt = "dXNlcjpwYXNz", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
	for _, tt := range []struct{ name, text, want string }{
		// URLs.
		{"query", `Get "https://api.test/v1/a?x=1": EOF`, `Get "https://api.test/v1/a": EOF`},
		{"query behind a space", `parse "https://h/p?a=b s3cr3t": bad`, `parse "https://h/p": bad`},
		{"query in single quotes", `GET 'https://h/p?a=b s3cr3t' failed`, `GET 'https://h/p' failed`},
		{"query with quotes escaped", `parse "https://h/p?a=\"s3cr3t\" x": bad`, `parse "https://h/p": bad`},
		{"query in a quoted body", `"{\"next\":\"https://h/p?a=b c\",\"code\":5}"`, `"{\"next\":\"https://h/p\",\"code\":5}"`},
		{"query in HTML", `<A HREF="https://h/p?k=s3cr3t">here</A>`, `<A HREF="https://h/p">here</A>`},
		{"query in brackets", `see <https://h/p?k=s3cr3t> now`, `see <https://h/p> now`},
		{"quote never closed", `parse "https://h/p?a=b s3cr3t`, `parse "https://h/p`},
		{"fragment", `to https://app.test/cb#id_token=s3cr3t refused`, `to https://app.test/cb refused`},
		{"relative", `parse "/cb?access_token=s3cr3t x": invalid`, `parse "/cb": invalid`},
		{"relative without a name", `GET /cb?s3cr3t failed`, `GET /cb failed`},
		{"no scheme", `dial api.test/cb?sig=s3cr3t failed`, `dial api.test/cb failed`},
		{"user", `Get "https://ann:s3cr3t@api.test/x": EOF`, `Get "https://api.test/x": EOF`},
		{"user with an at", `dial imaps://ann:pa@s3cr3t@imap.test:993`, `dial imaps://imap.test:993`},
		{"user with a slash", `dial imaps://ann:pa/s3cr3t@imap.test`, `dial imaps://imap.test`},
		{"user with a question", `dial imaps://ann:pa?s3cr3t@imap.test/x`, `dial imaps://imap.test/x`},
		{"user with digits and a slash", `dial imaps://ann:12/s3cr3t@imap.test`, `dial imaps://imap.test`},
		{"user with a slash in https", `Get "https://ann:pa/s3cr3t@h/x": EOF`, `Get "https://h/x": EOF`},
		{"user with a space", `parse "https://ann:pa s3cr3t@h/x": bad`, `parse "https://h/x": bad`},
		{"half a user", `parse "https://ann:s3cr3t": bad`, `parse "https://ann:…": bad`},
		{"half a port", `parse "https://ann:pa/s3cr3t@h": invalid port ":pa" after host`, `parse "https://h": invalid port "…" after host`},
		{"proxy", `proxyconnect tcp: dial "socks5://u:s3cr3t@proxy:1080"`, `proxyconnect tcp: dial "socks5://proxy:1080"`},
		{"URL in a URL", `Get "https://h/to/https://ann:s3cr3t@x.test/a?b=c": EOF`, `Get "https://h/to/https://x.test/a": EOF`},
		{"no scheme but an authority", `dial //ann:s3cr3t@h/x`, `dial //h/x`},

		// Credentials.
		{"bearer", `Authorization: Bearer s3cr3t-t0k3n: EOF`, `Authorization: Bearer …: EOF`},
		{"bearer with a pipe", `Authorization: Bearer 17|s3cr3t`, `Authorization: Bearer …`},
		{"bearer with a colon", `bearer abcdefgh:s3cr3t refused`, `bearer … refused`},
		{"bearer of letters", `Bearer abcdefgh refused`, `Bearer … refused`},
		{"short bearer", `Bearer s3cr3t`, `Bearer …`},
		{"bearer in quotes", `Bearer "s3cr3t x" refused`, `Bearer "…" refused`},
		{"bearer in a form", `auth=Bearer%20s3cr3t&x=1`, `auth=Bearer%20…&x=1`},
		{"basic", `basic ` + basic + ` refused`, `basic … refused`},
		{"short basic", `Basic YTpi`, `Basic …`},
		{"negotiate", `Negotiate YIIGhgYGKwYBBQUCoIIGejCC`, `Negotiate …`},
		{"digest", `Digest username="ann", response="s3cr3t"`, `Digest …`},
		{"header of JSON", `{"authorization": "Basic ` + basic + `=", "x": 1}`, `{"authorization": "…", "x": 1}`},
		{"header of Go", `map[Accept:[*/*] Authorization:[Bearer s3cr3t] Cookie:[a=b; c=s3cr3t] X-Id:[7]]`, `map[Accept:[*/*] Authorization:[Bearer …] Cookie:[…] X-Id:[7]]`},
		{"header of AWS", `Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=s3cr3t`, `Authorization: AWS4-HMAC-SHA256 …`},
		{"header of GitHub", `Authorization: token s3cr3t`, `Authorization: token …`},
		{"header of an unknown scheme", `proxy-authorization: Zoho-oauthtoken 1000.s3cr3t` + "\nX-Id: 7", "proxy-authorization: …\nX-Id: 7"},
		{"JWT", `token ` + jwt + ` has expired`, `token … has expired`},
		{"JWT in a path", `GET /v1/` + jwt + `/x`, `GET /v1/…/x`},
		{"access token of Google", `grant ya29.a0AfH6SMBs3cr3t refused`, `grant … refused`},
		{"refresh token of Google", `grant 1//0gabcdefs3cr3t-x_y refused`, `grant … refused`},

		// Fields.
		{"form", `bad form: grant_type=refresh_token&refresh_token=s3cr3t&client_id=7`, `bad form: grant_type=refresh_token&refresh_token=…&client_id=7`},
		{"code of a form", `grant_type=authorization_code&code=4/0As3cr3t&state=7`, `grant_type=authorization_code&code=…&state=7`},
		{"JSON", `oauth2: cannot fetch token: 400 Bad Request` + "\n" + `Response: {"error":"invalid_grant","refresh_token":"s3cr3t","expires_in":5}`,
			`oauth2: cannot fetch token: 400 Bad Request` + "\n" + `Response: {"error":"invalid_grant","refresh_token":"…","expires_in":5}`},
		{"JSON with spaces", `{ "access_token" : "s3cr3t with \"quotes\"", "scope" : "a b" }`, `{ "access_token" : "…", "scope" : "a b" }`},
		{"JSON in quotes", `body "{\"client_secret\":\"s3cr\\\"3t\",\"x\":1}"`, `body "{\"client_secret\":\"…\",\"x\":1}"`},
		{"JSON cut short", `{"access_token":"s3cr3t`, `{"access_token":"…`},
		{"JSON without quotes", `{"password":12345,"x":1}`, `{"password":…,"x":1}`},
		{"camel case", `{accessToken:s3cr3t, ID:7} {"idToken":"s3cr3t"}`, `{accessToken:…, ID:7} {"idToken":"…"}`},
		{"client secret", `client_id=7 client_secret=s3cr3t~x.`, `client_id=7 client_secret=….`},
		{"password", `dsn user=ann password=s3,cr3t host=h`, `dsn user=ann password=… host=h`},
		{"password in quotes", `password='s3 cr3t' host=h`, `password='…' host=h`},
		{"password of YAML", "user: ann\npassword: s3cr3t\nhost: h", "user: ann\npassword: …\nhost: h"},
		{"struct", `{User:ann Password:secret Port:993}`, `{User:ann Password:… Port:993}`},
		{"key in a header", `bad header X-Api-Key: s3cr3t`, `bad header X-Api-Key: …`},
		{"cookie", "Set-Cookie: sid=s3cr3t; Path=/\r\nX-Id: 7", "Set-Cookie: …\r\nX-Id: 7"},
		{"percent", `/login/redirect%3Faccess_token%3Ds3cr3t failed`, `/login/redirect%3Faccess_token%3D… failed`},
		{"token after its word", `token s3cr3t-t0k3n is invalid`, `token … is invalid`},

		// Commands.
		{"XOAUTH2", `AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRo: 535`, `AUTH XOAUTH2 …: 535`},
		{"XOAUTH2 alone", `XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQ==`, `XOAUTH2 …`},
		{"PLAIN", `a1 AUTHENTICATE PLAIN AGFubgBzM2NyM3Q=`, `a1 AUTHENTICATE PLAIN …`},
		{"LOGIN", `a1 LOGIN ann secret: timeout`, `a1 LOGIN ann …: timeout`},
		{"LOGIN in quotes", `a1 LOGIN "ann" "s3 cr\"3t" failed`, `a1 LOGIN "ann" "…" failed`},
		{"LOGIN quoted once more", `wrote "a1 LOGIN \"ann\" \"s3 cr3t\"\r\n"`, `wrote "a1 LOGIN \"ann\" \"…\"\r\n"`},
	} {
		if got := safeText(errors.New(tt.text)); got != tt.want {
			t.Errorf("%s: given %s\ngot  %s\nwant %s", tt.name, tt.text, got, tt.want)
		}
		if got := safeText(errors.New(tt.want)); got != tt.want {
			t.Errorf("%s, once more: given %s\ngot %s", tt.name, tt.want, got)
		}
	}
}

// What must stay readable: hosts, ids, codes, and the messages about secrets.
func TestSafeTextKeeps(t *testing.T) {
	for _, text := range []string{
		"",
		"EOF",
		"read tcp 10.0.0.1:443: connection reset by peer (basic auth is off, is it?)",
		`dial tcp [2001:db8::1]:993: connect: connection refused`,
		`Get "https://graph.microsoft.com/v1.0/users/ann@example.com/messages/AAMkAGVmMDEzMTM4LTZmYWUtNDdkNC1hMDZhLWIyNjNhNDRmYTA1ZABGAAAAAAAiQ8W967B7TKBjgx9rVEURBwAiIsqMbYjsT5e-T7KzowPTAAAAAAEMAAAiIsqMbYjsT5e-T7KzowPTAAAYbvZYAAA=": EOF`,
		`Get "https://h:8080/users/ann@example.com": EOF`,
		`Get "http://[::1]:8080/x": EOF`,
		`the sender ann@example.com (SMTP:ann@example.com) is not allowed`,
		`open /tmp/what?: no such file`,
		`did you mean this? that=it`,
		`HTTP 401 Unauthorized (invalid_token)`,
		`oauth2: cannot fetch token: 400 Bad Request`,
		`oauth2: "invalid_grant" "Token has been expired or revoked."`,
		`oauth2: cannot fetch token: "invalid_client"`,
		`{"error":"invalid_token","error_description":"The access token expired"}`,
		`invalid_token: The access token expired`,
		`WWW-Authenticate: Bearer realm="api", error="invalid_token", error_description="The token is expired"`,
		`Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="`,
		`bearer token expired, bearer authentication failed`,
		`basic authentication is disabled; digest mismatch; failed to negotiate TLS`,
		`"token_type":"Bearer","expires_in":3599`,
		`{"code":403,"errors":[{"reason":"rateLimitExceeded"}]}`,
		`exit code=5, status code: 503`,
		`password: incorrect; password is too short; no password given; Username and Password not accepted`,
		`AADSTS7000215: Invalid client secret provided. Ensure the secret being sent is the client secret value, not the client secret ID, for a secret added to app '3f2504e0-4f89-11d3-9a0c-0305e82c3301'.`,
		`AADSTS700082: The refresh token has expired due to inactivity. The token was issued on 2018-10-25T23:35:11.9832872Z. Trace ID: 7c3280d4-5d54-4240-bc1b-97a405a38000`,
		`Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.`,
		`request-id: 74f41ee5-1d95-424d-9fe0-406c8ec5b764, client-request-id: 7c3280d4`,
		`NO [AUTHENTICATIONFAILED] LOGIN failed; LOGIN is disabled; LOGIN command rejected`,
		`AUTHENTICATE failed; AUTH PLAIN not supported; AUTH LOGIN disabled`,
		`250-AUTH LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH`,
		`* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR LOGINDISABLED`,
		`535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant`,
		`strconv.Atoi: parsing "12x": invalid syntax`,
		`unexpected token '<' at line 1; unexpected end of JSON input`,
		`json: cannot unmarshal string into Go struct field .access_token of type int`,
		`fünf Zeichen, “Zitat”, 文字`,
		"broken \xff\xfe bytes",
	} {
		if got := safeText(errors.New(text)); got != text {
			t.Errorf("given %s\ngot   %s", text, got)
		}
	}
}

// Of a long text only the beginning is shown, and nothing that is cut in two.
func TestSafeTextIsBounded(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"words", strings.Repeat("word ", 1<<18)},
		{"one word", strings.Repeat("x", 1<<20)},
		{"a user across the end", strings.Repeat("x ", maxErrorText/2-10) + "imaps://ann:s3cr3t@imap.test/"},
		{"a field across the end", strings.Repeat("x ", maxErrorText/2-10) + `{"password":"s3cr3t s3cr3t s3cr3t"}`},
		{"secrets", strings.Repeat("pwd=s3cr3t ", 1<<16)},
	} {
		got := safeText(errors.New(tt.text))
		if len(got) > maxErrorText+len(hidden) || strings.Contains(got, "s3cr") || !strings.HasSuffix(got, hidden) {
			t.Errorf("%s: %d bytes of %d, ends in %q", tt.name, len(got), len(tt.text), got[max(0, len(got)-40):])
		}
	}
}

// The error itself stays as it is, for those who unwrap it.
func TestSafeTextLeavesTheError(t *testing.T) {
	err := &url.Error{Op: "Get", URL: "https://api.test/x?sig=s3cr3t", Err: errors.New("EOF")}
	gave := &GiveUpError{Decision: Decision{As: AsPermanent}, Err: err}
	if got, ok := errors.AsType[*url.Error](error(gave)); !ok || got.URL != err.URL || strings.Contains(gave.Error(), "s3cr3t") {
		t.Errorf("got %v in %q", got, gave)
	}
	resp := &ResponseError{Status: http.StatusBadRequest, Code: "token s3cr3t-t0k3n is invalid"}
	if text := (&DeferError{Err: resp}).Error(); strings.Contains(text, "s3cr3t") {
		t.Error(text)
	}
}

// Whatever stands around it, a secret is found; nothing else happens to a text
// than that parts of it are hidden.
func FuzzSafeText(f *testing.F) {
	const secret = "s3cr3t-T0k3n"
	places := []string{
		"Bearer " + secret, "Authorization: Bearer " + secret, "grant=1&refresh_token=" + secret + "&x=1", "password=" + secret,
		"Get https://h/p?sig=" + secret, "imaps://ann:pa@" + secret + "@imap.test/", "GET /cb?code=" + secret,
		"AUTH XOAUTH2 " + secret + secret, "a1 LOGIN ann " + secret, "X-Api-Key: " + secret,
	}
	for _, s := range []string{
		"", `"`, `\"`, `password="`, "https://", "'https://h/p?", "//", "/x?", "Authorization:[", `{"token":"`, "LOGIN \"", "AUTH ", "eyJhbGciOiJ.", "1//0",
		"Bearer", "Digest username=", "invalid port \"", "cookie: a=b", "code=", "%3D", "token%3D", "\\\\\\\"", "a://b@c://d@e?f#g", "<https://h", ">", "\xff", "…",
	} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		text := before + after
		got := safeText(errors.New(text))
		if utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("given %q\ngot   %q, which is not UTF-8", text, got)
		}
		if n := min(len(text), maxErrorText); len(got) > len(hidden)*(n+1) {
			t.Errorf("given %d bytes, got %d", len(text), len(got))
		}
		if !strings.Contains(text, hidden) && !onlyHides(text, got) {
			t.Errorf("given %q\ngot   %q", text, got)
		}
		if strings.Contains(text, secret) || len(text) > maxErrorText/2 {
			return
		}
		for _, place := range places {
			text := before + "\n" + place + "\n" + after
			if got := safeText(errors.New(text)); strings.Contains(got, secret) {
				t.Errorf("given %q\ngot   %q", text, got)
			}
		}
	})
}

// onlyHides reports whether got is text without parts of it, but for hidden.
func onlyHides(text, got string) bool {
	i := 0
	for _, c := range []byte(strings.ReplaceAll(got, hidden, "")) {
		for i < len(text) && text[i] != c {
			i++
		}
		if i == len(text) {
			return false
		}
		i++
	}
	return true
}
