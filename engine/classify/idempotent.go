package classify

import (
	"net/http"
	"strings"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
)

// Idempotent reports whether a request whose outcome is unknown can be repeated without
// harm. That is so if the policy lists its operation as idempotent, or if
//
//   - http: IANA's registry calls its method idempotent (PROPFIND and REPORT too), or
//     its headers h have an Idempotency-Key or an X-Idempotency-Key, as net/http has it;
//   - imap: it is any command except APPEND, COPY, MOVE, REPLACE and, unless it is known
//     to set flags absolutely ("STORE 1 FLAGS (\Seen)"), STORE, with or without UID
//     before it;
//   - smtp: it is a command before the final dot of a message.
//
// method is the HTTP method, the SMTP verb or the IMAP command. For SMTP and IMAP, the
// operation takes its place if it is empty. An unknown method is not idempotent. p and h
// may be nil.
func Idempotent(p *policy.Policy, protocolName, method, operation string, h http.Header) bool {
	if p != nil && operation != "" && listed(p.Idempotent, operation) {
		return true
	}
	pr := protocol.Of(protocolName)
	if pr.Commands && strings.TrimSpace(method) == "" {
		method = operation
	}
	if pr.Idempotent(upper(method)) {
		return true
	}
	if pr.Commands {
		return false
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

// listed reports whether one of the globs matches the operation.
func listed(globs []string, operation string) bool {
	for _, g := range globs {
		if policy.Glob(g, operation) {
			return true
		}
	}
	return false
}
