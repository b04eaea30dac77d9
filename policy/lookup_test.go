package policy

import (
	"testing"
)

// mustLoad loads one or more files, which must have no problems.
func mustLoad(t testing.TB, over *Set, files ...string) *Set {
	t.Helper()
	var in []File
	for i, data := range files {
		in = append(in, File{Name: string(rune('a'+i)) + ".yaml", Data: []byte(data)})
	}
	s, ds := Load(in, LoadOptions{Over: over})
	for _, d := range ds {
		t.Errorf("%s", d)
	}
	if s == nil {
		t.FailNow()
	}
	return s
}

func TestLookup(t *testing.T) {
	s := mustLoad(t, nil, `
version: 1
provider: gmail
match:
  - {host: gmail.googleapis.com}
  - {host: www.googleapis.com, path: /gmail/**}
default: fail
`, `
version: 1
provider: calendar
match: {host: www.googleapis.com, path: /calendar/**}
default: fail
`, `
version: 1
provider: google
match: [{host: "*.googleapis.com"}, {host: www.googleapis.com}]
default: fail
`, `
version: 1
provider: local
match: [{host: "127.0.0.1:8080"}, {host: "*.example.com", path: /v1/*/x}, {host: "*.eu.example.com", path: /v1/*/x}]
default: fail
`, `
version: 1
provider: exact
match: [{host: api.eu.example.com, path: /v1/*/x}, {host: "*.example.com", path: /v1/long/x}]
default: fail
`)
	for _, c := range []struct{ host, path, want string }{
		{"gmail.googleapis.com", "/gmail/v1/users/me", "gmail"},
		{"GMAIL.googleapis.com:443", "", "gmail"},
		{"www.googleapis.com", "/gmail/v1/x", "gmail"},
		{"www.googleapis.com", "/calendar/v3/x", "calendar"},
		{"www.googleapis.com", "/drive/v3/x", "google"},
		{"drive.googleapis.com", "/v3/x", "google"},
		{"a.b.googleapis.com", "/v3/x", "google"},
		{"googleapis.com", "/v3/x", ""},
		{"127.0.0.1:8080", "/x", "local"},
		{"127.0.0.1:8081", "/x", ""},
		{"127.0.0.1", "/x", ""},
		{"a.example.com", "/v1/any/x", "local"},
		{"a.example.com", "/v1/long/x", "exact"},
		{"api.eu.example.com", "/v1/any/x", "exact"},
		{"b.eu.example.com", "/v1/any/x", "local"},
		{"b.eu.example.com", "/v1/any/y", ""},
		{"", "", ""},
		{"[::1]:80", "/", ""},
	} {
		got := ""
		if p := s.Lookup(c.host, c.path); p != nil {
			got = p.Name
		}
		if got != c.want {
			t.Errorf("Lookup(%q, %q) = %q, want %q", c.host, c.path, got, c.want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { s.Lookup("www.googleapis.com:443", "/calendar/v3/x") }); n != 0 {
		t.Errorf("Lookup allocates %v times, want 0", n)
	}
}

const operations = `
version: 1
provider: example
operations:
  - {method: POST, path: /token, form: {grant_type: refresh_token}, operation: token.refresh, token: true}
  - {method: POST, path: /token, form: {grant_type: "*"}, operation: token.exchange, token: true}
  - {method: get, path: /users/*/history, operation: history.list}
  - {path: /sync, query: {Cmd: Sync}, operation: sync}
  - {path: /sync, query: {"odd name": "a b*"}, operation: odd}
  - {path: /ews, header: {soapaction: "*/GetItem"}, operation: GetItem}
  - {host: "*.upload.example.com", operation: upload}
  - {method: GET, operation: get}
idempotent: [sync, "*.list"]
costs:
  units: {default: 5, "messages.*": 3, messages.send: 100, "messages.batch*": 50, free: 0}
limits:
  - {name: user, key: account, rate: 100/s, cost: units}
  - {name: sends, key: account, operations: ["*.send"]}
inspect:
  - {status: 200, operations: ["$batch"], content_type: application/json, max: 1KiB}
  - {operations: sync}
default: fail
`

// operationOf is the operation alone that p names the request by.
func operationOf(p *Policy, r *Request) string {
	name, _ := p.NameRequest(r)
	return name
}

func TestNameRequest(t *testing.T) {
	p, _ := mustLoad(t, nil, operations).Policy("example")
	form := func(grant string) func() map[string][]string {
		return func() map[string][]string { return map[string][]string{"grant_type": {grant}} }
	}
	for _, c := range []struct {
		name string
		r    Request
		want string
	}{
		{"form", Request{Method: "POST", Path: "/token", Form: form("refresh_token")}, "token.refresh"},
		{"form glob", Request{Method: "POST", Path: "/token", Form: form("authorization_code")}, "token.exchange"},
		{"form missing", Request{Method: "POST", Path: "/token"}, ""},
		{"path glob, method in capitals", Request{Method: "GET", Path: "/users/me/history"}, "history.list"},
		{"query", Request{Method: "POST", Path: "/sync", RawQuery: "User=a&Cmd=Sync"}, "sync"},
		{"query differs", Request{Method: "POST", Path: "/sync", RawQuery: "Cmd=Ping"}, ""},
		{"query escaped", Request{Method: "POST", Path: "/sync", RawQuery: "x&odd+name=a%20bc"}, "odd"},
		{"query broken", Request{Method: "POST", Path: "/sync", RawQuery: "%zz=%&&=;"}, ""},
		{"header", Request{Method: "POST", Path: "/ews", Header: map[string][]string{"Soapaction": {"a", "b/GetItem"}}}, "GetItem"},
		{"host", Request{Method: "PUT", Host: "EU.Upload.example.com:443", Path: "/x"}, "upload"},
		{"method alone", Request{Method: "GET", Path: "/anything"}, "get"},
		{"none", Request{}, ""},
	} {
		if got := operationOf(p, &c.r); got != c.want {
			t.Errorf("%s: NameRequest(%+v) = %q, want %q", c.name, c.r, got, c.want)
		}
	}
	r := &Request{Method: "POST", Path: "/sync", RawQuery: "User=a&Cmd=Sync", Host: "example.com"}
	if n := testing.AllocsPerRun(100, func() { operationOf(p, r) }); n != 0 {
		t.Errorf("NameRequest allocates %v times, want 0", n)
	}
}

func TestOperationRules(t *testing.T) {
	p, _ := mustLoad(t, nil, operations).Policy("example")
	for op, want := range map[string]bool{"sync": true, "history.list": true, "get": false, "": false} {
		if got := p.isIdempotent(op); got != want {
			t.Errorf("isIdempotent(%q) = %t, want %t", op, got, want)
		}
	}
	for op, want := range map[string]int64{"": 5, "x": 5, "messages.get": 3, "messages.send": 100, "messages.batchModify": 50, "free": 0} {
		if got := p.costs[0].of(op); got != want {
			t.Errorf("Of(%q) = %d, want %d", op, got, want)
		}
	}
	for op, want := range map[string]bool{"messages.send": true, "send": false, "": false} {
		if got := p.Limits[1].Applies(op); got != want {
			t.Errorf("Applies(%q) = %t, want %t", op, got, want)
		}
	}
	if !p.Limits[0].Applies("") {
		t.Error("a limit without operations does not apply to all")
	}
	for _, c := range []struct {
		status          int
		operation, kind string
		want            int64 // Max; 0 = nil
	}{
		{200, "$batch", "application/json; charset=utf-8", 1024},
		{200, "$batch", "Application/JSON", 1024},
		{201, "$batch", "application/json", 0},
		{200, "$batch", "text/html", 0},
		{204, "sync", "", 64 << 10},
		{500, "sync", "", 0},
		{200, "", "", 0},
	} {
		got := int64(0)
		if in := p.InspectFor(c.status, c.operation, c.kind); in != nil {
			got = in.Max
		}
		if got != c.want {
			t.Errorf("InspectFor(%d, %q, %q) has Max %d, want %d", c.status, c.operation, c.kind, got, c.want)
		}
	}
}
