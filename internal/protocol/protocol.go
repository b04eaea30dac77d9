// Package protocol has one value for each protocol that Recourse knows. All code that
// depends on the protocol of a call asks that value.
package protocol

import (
	"slices"
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// Protocol is what the engine needs to know about a protocol. Its functions read only
// the facts of an attempt's reply. The caller must check first whether the attempt
// failed below the protocol (Event.Network).
type Protocol struct {
	Name string

	// Replied reports whether a reply came.
	Replied func(e *rules.Event) bool
	// Succeeded reports whether the reply is a success.
	Succeeded func(e *rules.Event) bool
	// Refused reports whether the reply says that the request was not carried out.
	// After any other reply that is not a success, the request may have been carried out.
	Refused func(e *rules.Event) bool
	// HostDown reports whether the reply says that the host as a whole is in trouble.
	HostDown func(e *rules.Event) bool
	// Idempotent reports whether repeating a request does no harm. method is the HTTP
	// method, or the command, in upper case.
	Idempotent func(method string) bool

	// Commands is true if clients send commands, as in SMTP and IMAP: then the command
	// is both the operation and the method. If false, requests have a method, headers
	// and a body, and the policy names their operations.
	Commands bool
	// Reply puts a reply together, as the server sends it, from its status code (0 = not
	// known) and its text ("" = not known). It returns "" if there was no reply. It is
	// nil if the protocol's replies are more than a text.
	Reply func(status int, text string) string
}

// protocols are all protocols. The first is the protocol of a policy that names none.
var protocols = []*Protocol{HTTP, SMTP, IMAP}

// Of returns the protocol of that name; HTTP for "" and for unknown names.
func Of(name string) *Protocol {
	for _, p := range protocols {
		if p.Name == name {
			return p
		}
	}
	return protocols[0]
}

// Succeeded reports whether an attempt succeeded by its protocol: it did not fail below the
// protocol, and its reply is a success, which is HTTP 2xx and 3xx, a 101 that was asked for,
// SMTP 2yz and 3yz, IMAP OK and PREAUTH.
func Succeeded(e *rules.Event) bool { return e.Network == "" && Of(e.Protocol).Succeeded(e) }

// Names returns the names of all protocols.
func Names() []string {
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = p.Name
	}
	return names
}

// OfProvider guesses the protocol of a provider without a policy from the end of its
// name, such as "example_imap"; HTTP by default.
func OfProvider(name string) *Protocol {
	i := slices.IndexFunc(protocols, func(p *Protocol) bool { return name == p.Name || strings.HasSuffix(name, "_"+p.Name) })
	return protocols[max(i, 0)]
}
