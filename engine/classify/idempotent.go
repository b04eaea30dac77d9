package classify

import (
	"net/http"
	"strings"

	"github.com/recourse-go/recourse/policy"
)

// idempotentMethods are those that the HTTP Method Registry of IANA
// (www.iana.org/assignments/http-methods, checked 2026-11) calls idempotent.
// The others there are CONNECT, LOCK, PATCH and POST.
var idempotentMethods = map[string]bool{
	"ACL": true, "BASELINE-CONTROL": true, "BIND": true, "CHECKIN": true, "CHECKOUT": true, "COPY": true,
	"DELETE": true, "GET": true, "HEAD": true, "LABEL": true, "LINK": true, "MERGE": true, "MKACTIVITY": true,
	"MKCALENDAR": true, "MKCOL": true, "MKREDIRECTREF": true, "MKWORKSPACE": true, "MOVE": true,
	"OPTIONS": true, "ORDERPATCH": true, "PRI": true, "PROPFIND": true, "PROPPATCH": true, "PUT": true,
	"QUERY": true, "REBIND": true, "REPORT": true, "SEARCH": true, "TRACE": true, "UNBIND": true,
	"UNCHECKOUT": true, "UNLINK": true, "UNLOCK": true, "UPDATE": true, "UPDATEREDIRECTREF": true,
	"VERSION-CONTROL": true,
}

// beforeDot are the SMTP commands whose loss cannot have sent a message. DATA
// and BDAT are not among them: their failure may be that of the reply to the
// final dot, or to the last chunk.
var beforeDot = map[string]bool{
	"CONNECT": true, "EHLO": true, "HELO": true, "LHLO": true, "STARTTLS": true, "AUTH": true, "MAIL": true,
	"RCPT": true, "RSET": true, "NOOP": true, "VRFY": true, "EXPN": true, "HELP": true, "QUIT": true, "ETRN": true,
	"ATRN": true, "TURN": true,
}

// Idempotent reports whether repeating a request whose outcome is unknown does
// no harm: the policy lists its operation, or
//
//   - http: IANA's registry calls its method idempotent (PROPFIND and REPORT
//     too), or the request's headers h have an Idempotency-Key or an
//     X-Idempotency-Key, which net/http takes for the same;
//   - imap: it is any command but APPEND, COPY, MOVE, REPLACE, and STORE
//     unless it is known to set flags absolutely ("STORE 1 FLAGS (\Seen)"),
//     each with or without UID before it;
//   - smtp: it is a command before the final dot of a message.
//
// method is the HTTP method, the SMTP verb or the IMAP command, where that is
// empty the operation is taken for it. What is not known is not idempotent. p
// and h may be nil.
func Idempotent(p *policy.Policy, protocol, method, operation string, h http.Header) bool {
	if p != nil && operation != "" && listed(p.Idempotent, operation) {
		return true
	}
	switch protocol {
	case "smtp", "imap":
		if strings.TrimSpace(method) == "" {
			method = operation
		}
		method = upper(method)
		if protocol == "imap" {
			return idempotentIMAP(method)
		}
		verb, _, _ := strings.Cut(method, " ")
		return beforeDot[verb]
	}
	if idempotentMethods[upper(method)] {
		return true
	}
	h = canonical(h)
	for _, keys := range [...][]string{h["Idempotency-Key"], h["X-Idempotency-Key"]} {
		for _, v := range keys {
			if strings.TrimSpace(v) != "" {
				return true
			}
		}
	}
	return false
}

func idempotentIMAP(command string) bool {
	words := strings.Fields(command)
	if len(words) > 0 && words[0] == "UID" {
		words = words[1:]
	}
	if len(words) == 0 {
		return false
	}
	switch words[0] {
	case "APPEND", "MULTIAPPEND", "COPY", "MOVE", "XMOVE", "REPLACE":
		return false
	case "STORE":
		for _, w := range words[1:] {
			if strings.HasPrefix(w, "FLAGS") {
				return true
			}
			if strings.HasPrefix(w, "+FLAGS") || strings.HasPrefix(w, "-FLAGS") {
				return false
			}
		}
		return false
	}
	return true
}

// listed reports whether one of the globs matches the operation.
func listed(globs []string, operation string) bool {
	for _, g := range globs {
		if policy.Glob(g, operation) {
			return true
		}
	}
	return false
}
