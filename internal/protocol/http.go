package protocol

import "github.com/recourse-go/recourse/rules"

// HTTP is RFC 9110 and what builds on it.
var HTTP = &Protocol{
	Name:    "http",
	Replied: func(e *rules.Event) bool { return e.Status != 0 },
	Succeeded: func(e *rules.Event) bool {
		return e.Status >= 200 && e.Status < 400 || e.Status == 101 // a 101 comes only if the request asked for it
	},
	Refused:    func(e *rules.Event) bool { return e.Status >= 400 && e.Status < 500 },
	HostDown:   func(e *rules.Event) bool { return e.Status >= 500 },
	Idempotent: IdempotentMethod,
}

// IdempotentMethod reports whether IANA's HTTP Method Registry
// (www.iana.org/assignments/http-methods, checked 2026-11) lists a method, in upper
// case, as idempotent. The registry's other methods are CONNECT, LOCK, PATCH and POST.
func IdempotentMethod(method string) bool {
	switch method {
	case "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LABEL", "LINK",
		"MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH",
		"PRI", "PROPFIND", "PROPPATCH", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT",
		"UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL":
		return true
	}
	return false
}
