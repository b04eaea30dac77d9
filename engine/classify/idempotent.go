package classify

import (
	"net/http"
	"strings"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
)

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
