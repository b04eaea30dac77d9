package redact

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/rules"
)

const basic, jwt = "dXNlcjpwYXNz", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"

// secrets are what stands in the texts below and is never shown.
var secrets = []string{"s3cr", "t0k3n", basic, "dXNlcj1zb21ldXNl", "AGFubgBzM2NyM3Q", "YIIGhgYGKwYBBQUCoIIGejCC", "c2ln", "a0AfH6SMB"}

// never are texts as libraries make them. No filter finds all of the secrets in
// them.
var never = []struct{ name, text string }{
	{"query", `Get "https://api.test/v1/a?x=1": EOF`},
	{"query behind a space", `parse "https://h/p?a=b s3cr3t": bad`},
	{"query in single quotes", `GET 'https://h/p?a=b s3cr3t' failed`},
	{"query with quotes escaped", `parse "https://h/p?a=\"s3cr3t\" x": bad`},
	{"query in a quoted body", `"{\"next\":\"https://h/p?a=b c\",\"code\":5}"`},
	{"query in HTML", `<A HREF="https://h/p?k=s3cr3t">here</A>`},
	{"query in brackets", `see <https://h/p?k=s3cr3t> now`},
	{"quote never closed", `parse "https://h/p?a=b s3cr3t`},
	{"fragment", `to https://app.test/cb#id_token=s3cr3t refused`},
	{"relative", `parse "/cb?access_token=s3cr3t x": invalid`},
	{"relative without a name", `GET /cb?s3cr3t failed`},
	{"no scheme", `dial api.test/cb?sig=s3cr3t failed`},
	{"user", `Get "https://ann:s3cr3t@api.test/x": EOF`},
	{"user with an at", `dial imaps://ann:pa@s3cr3t@imap.test:993`},
	{"user with a slash", `dial imaps://ann:pa/s3cr3t@imap.test`},
	{"user with a question", `dial imaps://ann:pa?s3cr3t@imap.test/x`},
	{"user with digits and a slash", `dial imaps://ann:12/s3cr3t@imap.test`},
	{"user with a slash in https", `Get "https://ann:pa/s3cr3t@h/x": EOF`},
	{"user with a space", `parse "https://ann:pa s3cr3t@h/x": bad`},
	{"half a user", `parse "https://ann:s3cr3t": bad`},
	{"half a port", `parse "https://ann:pa/s3cr3t@h": invalid port ":pa" after host`},
	{"proxy", `proxyconnect tcp: dial "socks5://u:s3cr3t@proxy:1080"`},
	{"URL in a URL", `Get "https://h/to/https://ann:s3cr3t@x.test/a?b=c": EOF`},
	{"no scheme but an authority", `dial //ann:s3cr3t@h/x`},
	{"bearer", `Authorization: Bearer s3cr3t-t0k3n: EOF`},
	{"bearer with a pipe", `Authorization: Bearer 17|s3cr3t`},
	{"bearer with a colon", `bearer abcdefgh:s3cr3t refused`},
	{"bearer of letters", `Bearer abcdefgh refused`},
	{"short bearer", `Bearer s3cr3t`},
	{"bearer in quotes", `Bearer "s3cr3t x" refused`},
	{"bearer in a form", `auth=Bearer%20s3cr3t&x=1`},
	{"basic", `basic ` + basic + ` refused`},
	{"short basic", `Basic YTpi`},
	{"negotiate", `Negotiate YIIGhgYGKwYBBQUCoIIGejCC`},
	{"digest", `Digest username="ann", response="s3cr3t"`},
	{"header of JSON", `{"authorization": "Basic ` + basic + `=", "x": 1}`},
	{"header of Go", `map[Accept:[*/*] Authorization:[Bearer s3cr3t] Cookie:[a=b; c=s3cr3t] X-Id:[7]]`},
	{"header of AWS", `Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=s3cr3t`},
	{"header of GitHub", `Authorization: token s3cr3t`},
	{"header of an unknown scheme", `proxy-authorization: Zoho-oauthtoken 1000.s3cr3t` + "\nX-Id: 7"},
	{"JWT", `token ` + jwt + ` has expired`},
	{"JWT in a path", `GET /v1/` + jwt + `/x`},
	{"access token of Google", `grant ya29.a0AfH6SMBs3cr3t refused`},
	{"refresh token of Google", `grant 1//0gabcdefs3cr3t-x_y refused`},
	{"form", `bad form: grant_type=refresh_token&refresh_token=s3cr3t&client_id=7`},
	{"code of a form", `grant_type=authorization_code&code=4/0As3cr3t&state=7`},
	{"JSON", `oauth2: cannot fetch token: 400 Bad Request` + "\n" + `Response: {"error":"invalid_grant","refresh_token":"s3cr3t","expires_in":5}`},
	{"JSON with spaces", `{ "access_token" : "s3cr3t with \"quotes\"", "scope" : "a b" }`},
	{"JSON in quotes", `body "{\"client_secret\":\"s3cr\\\"3t\",\"x\":1}"`},
	{"JSON cut short", `{"access_token":"s3cr3t`},
	{"JSON without quotes", `{"password":12345,"x":1}`},
	{"camel case", `{accessToken:s3cr3t, ID:7} {"idToken":"s3cr3t"}`},
	{"client secret", `client_id=7 client_secret=s3cr3t~x.`},
	{"password", `dsn user=ann password=s3,cr3t host=h`},
	{"password in quotes", `password='s3 cr3t' host=h`},
	{"password of YAML", "user: ann\npassword: s3cr3t\nhost: h"},
	{"struct", `{User:ann Password:secret Port:993}`},
	{"key in a header", `bad header X-Api-Key: s3cr3t`},
	{"cookie", "Set-Cookie: sid=s3cr3t; Path=/\r\nX-Id: 7"},
	{"percent", `/login/redirect%3Faccess_token%3Ds3cr3t failed`},
	{"token after its word", `token s3cr3t-t0k3n is invalid`},
	{"XOAUTH2", `AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRo: 535`},
	{"XOAUTH2 alone", `XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQ==`},
	{"PLAIN", `a1 AUTHENTICATE PLAIN AGFubgBzM2NyM3Q=`},
	{"LOGIN", `a1 LOGIN ann secret: timeout`},
	{"LOGIN in quotes", `a1 LOGIN "ann" "s3 cr\"3t" failed`},
	{"LOGIN quoted once more", `wrote "a1 LOGIN \"ann\" \"s3 cr3t\"\r\n"`},

	// What a filter by places let through.
	{"headers by %#v", `http.Header{"Authorization":[]string{"Bearer s3cr3t"}, "X-Thing":[]string{"s3cr3t"}}`},
	{"URL escaped in JSON", `{"next":"https:\/\/ann:s3cr3t@h\/p?token=s3cr3t"}`},
	{"URL with escaped ampersands", `{"next":"https://h/p?a=b\u0026sig=s3cr3t"}`},
	{"WS-Security", `<wsse:UsernameToken><wsse:Password Type="PasswordText">s3cr3t</wsse:Password></wsse:UsernameToken>`},
	{"SASL continuation", "C: a1 AUTHENTICATE PLAIN\r\nS: +\r\nC: AGFubgBzM2NyM3Q="},
	{"LOGIN in SMTP", "AUTH LOGIN\r\n334 VXNlcm5hbWU6\r\nYW5u\r\n334 UGFzc3dvcmQ6\r\ns3cr3t"},
	{"struct", `config: {ann s3cr3t 993}`},
	{"bytes", `body [115 51 99 114 51 116] s3cr3t`},
	{"sentence", `the code s3cr3t was used twice`},
}

// foreign is an error of a type that nobody knows.
type foreign struct{ text string }

func (e *foreign) Error() string { return e.text }

// wrapping is one that wraps another.
type wrapping struct {
	text string
	err  error
}

func (e wrapping) Error() string { return e.text + ": " + e.err.Error() }
func (e wrapping) Unwrap() error { return e.err }

type addr string

func (a addr) Network() string { return string(a) }
func (a addr) String() string  { return string(a) }

// places are errors and events that have a text in every part that holds one.
func places(text string) map[string]string {
	shown := map[string]string{}
	for name, err := range map[string]error{
		"errors.New":       errors.New(text),
		"fmt.Errorf":       fmt.Errorf("%s: %w", text, io.EOF),
		"joined":           errors.Join(errors.New(text), fmt.Errorf("%s", text), io.EOF),
		"foreign":          &foreign{text},
		"wrapping":         wrapping{text, &foreign{text}},
		"wrapped in ours":  Wrap("ours", &foreign{text}),
		"url.Error":        &url.Error{Op: text, URL: text, Err: errors.New(text)},
		"query":            &url.Error{Op: "Get", URL: "https://h.test/a?b=" + url.QueryEscape(text), Err: io.EOF},
		"raw query":        &url.Error{Op: "Get", URL: "https://h.test/a?" + text, Err: io.EOF},
		"fragment":         &url.Error{Op: "Get", URL: "https://h.test/a#" + text, Err: io.EOF},
		"user":             &url.Error{Op: "Get", URL: "https://ann:" + url.QueryEscape(text) + "@h.test/a", Err: io.EOF},
		"path":             &url.Error{Op: "Get", URL: "https://h.test/" + url.PathEscape(text) + "/a", Err: io.EOF},
		"net.OpError":      &net.OpError{Op: text, Net: text, Source: addr(text), Addr: addr(text), Err: errors.New(text)},
		"zone":             &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv6loopback, Zone: text}, Err: io.EOF},
		"net.DNSError":     &net.DNSError{Err: text, Name: "h.test", Server: text},
		"net.AddrError":    &net.AddrError{Err: text, Addr: text},
		"net.ParseError":   &net.ParseError{Type: text, Text: text},
		"os.SyscallError":  &os.SyscallError{Syscall: "read", Err: errors.New(text)},
		"fs.PathError":     &fs.PathError{Op: text, Path: text, Err: errors.New(text)},
		"textproto.Error":  &textproto.Error{Code: 535, Msg: text},
		"protocol error":   textproto.ProtocolError(text),
		"strconv.NumError": &strconv.NumError{Func: "Atoi", Num: text, Err: errors.New(text)},
		"of net/http":      errors.New("malformed HTTP response " + strconv.Quote(text)),
	} {
		shown[name] = Error(err, nil)
	}
	shown["message"] = Facts(&rules.Event{Protocol: "http", Status: 401, Message: "Invalid token " + text})
	shown["quoted in a message"] = Facts(&rules.Event{Protocol: "http", Status: 401, Message: "Invalid token '" + text + "'."})
	shown["code"] = Facts(&rules.Event{Protocol: "smtp", Status: 535, Codes: []string{text}})
	shown["elsewhere"] = Facts(&rules.Event{
		Protocol: "http", Status: 401, Type: text, Body: text, Header: map[string][]string{"X": {text}, text: {"x"}}, Facts: map[string]string{"x": text},
	})
	return shown
}

// A secret never comes out, wherever the text with it stands.
func TestNeverShown(t *testing.T) {
	for _, tt := range never {
		for place, got := range places(tt.text) {
			for _, secret := range secrets {
				if strings.Contains(got, secret) {
					t.Errorf("%s, %s: given %s\ngot   %s\nwant no %q", tt.name, place, tt.text, got, secret)
				}
			}
			if len(got) > maxText+len(hidden) || strings.ContainsAny(got, "\r\n") {
				t.Errorf("%s, %s: got %q, want one line", tt.name, place, got)
			}
		}
	}
}

// Whatever stands around it, a secret does not come out.
func FuzzNeverShown(f *testing.F) {
	const secret = "s3cr3t-T0k3n"
	for _, tt := range never {
		before, after, _ := strings.Cut(tt.text, "s3cr3t")
		f.Add(before, after)
	}
	for _, s := range []string{"", "EOF", "\x00\xff", "http2: ", "stream error: stream ID ", "(", "'", "https://", "http://h/", "0x", "%", "1.", "…"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, secret) {
			return
		}
		if u, err := url.Parse(before + secret + after); err == nil && strings.Contains(u.Host, secret) {
			return // a host is shown
		}
		for place, got := range places(before + secret + after) {
			if strings.Contains(got, secret) || len(got) > maxText+len(hidden) {
				t.Errorf("%s: given %q\ngot %q", place, before+secret+after, got)
			}
		}
	})
}
