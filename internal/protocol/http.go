package protocol

import "github.com/recourse-go/recourse/rules"

// HTTP is RFC 9110 and what builds on it.
var HTTP = &Protocol{
	Name:    "http",
	Replied: func(e *rules.Event) bool { return e.Status != 0 },
	Succeeded: func(e *rules.Event) bool {
		return e.Status >= 200 && e.Status < 400 || e.Status == 101 // one that was asked for
	},
	Refused:    func(e *rules.Event) bool { return e.Status >= 400 && e.Status < 500 },
	HostDown:   func(e *rules.Event) bool { return e.Status >= 500 },
	Idempotent: IdempotentMethod,
}

// IdempotentMethod reports whether the HTTP Method Registry of IANA
// (www.iana.org/assignments/http-methods, checked 2026-11) calls a method
// idempotent. The others there are CONNECT, LOCK, PATCH and POST.
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
