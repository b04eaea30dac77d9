// Package protocol has one value for each protocol that Recourse decides about.
// Whatever depends on the protocol of a call asks that value.
package protocol

import (
	"slices"
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// Protocol answers what the engine asks about a protocol. Its functions read the
// facts of an attempt's reply only: whether there was a failure below the protocol
// (Event.Network) is for the caller to look at first.
type Protocol struct {
	Name string

	// Replied reports whether a reply came at all.
	Replied func(e *rules.Event) bool
	// Succeeded reports whether the reply is a success.
	Succeeded func(e *rules.Event) bool
	// Refused reports whether the reply says that the request was not carried out.
	// Of every other reply that is no success the outcome is unknown.
	Refused func(e *rules.Event) bool
	// HostDown reports whether the reply says that the host as a whole is in trouble.
	HostDown func(e *rules.Event) bool
	// Idempotent reports whether to repeat a request does no harm. The method is
	// that of HTTP, or the command, in upper case.
	Idempotent func(method string) bool

	// Commands reports whether what a client sends are commands: then the
	// operation is the command, and the method too. Else requests have a method,
	// headers and a body, and the policy names their operations.
	Commands bool
	// Reply is the reply as the server sends it, where it is known as a status code
	// and a text, either of which may be missing; "" = there was none. Nil = the
	// protocol's replies are no text.
	Reply func(status int, text string) string
}

// protocols are all protocols. The first is that of a policy which names none.
var protocols = []*Protocol{HTTP, SMTP, IMAP}

// Of finds a protocol by its name; "" and unknown names are HTTP.
func Of(name string) *Protocol {
	for _, p := range protocols {
		if p.Name == name {
			return p
		}
	}
	return protocols[0]
}

// Names are the names of all protocols.
func Names() []string {
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = p.Name
	}
	return names
}

// OfProvider guesses the protocol of a provider that has no policy by the end of
// its name, such as "example_imap".
func OfProvider(name string) *Protocol {
	i := slices.IndexFunc(protocols, func(p *Protocol) bool { return name == p.Name || strings.HasSuffix(name, "_"+p.Name) })
	return protocols[max(i, 0)]
}
