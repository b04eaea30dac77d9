package rules

import (
	"slices"
	"time"

	"github.com/recourse-go/recourse/rules/internal/fact"
)

// Event is one finished attempt, as a rule sees it. Every field is a fact
// that a `when` expression can read; the names in brackets are those of the
// expression language.
//
// The zero value is an attempt of which nothing is known. An Event is plain
// data: whoever fills it owns it, and matching only reads it, so one Event may
// be matched by several goroutines at once as long as nobody writes to it.
type Event struct {
	Provider  string // [provider] the policy's name
	Operation string // [operation] the policy's name of the request, such as "messages.get"
	Method    string // [method] HTTP method, SMTP verb or IMAP command, upper case
	Protocol  string // [protocol] "http", "smtp" or "imap"

	Status     int    // [status] HTTP status or SMTP reply code; 0 = no reply
	IMAPStatus string // [imap_status] "OK", "NO", "BAD", "BYE", "PREAUTH" or ""

	Type    string            // [type] the provider's error type
	Codes   []string          // [codes] every error code, in order, without repeats; [code] is the first or ""
	Message string            // [message] the provider's text for people
	Facts   map[string]string // [facts.NAME] the policy's own facts; a missing one reads as ""

	Network string // [network] one of the Network constants, or ""

	RetryAfter time.Duration // [retry_after] what the server asked for, after sanity checks; 0 = nothing
	Attempt    int           // [attempt] this attempt's number, from 1
	Elapsed    time.Duration // [elapsed] time spent trying, without waits that the server asked for

	// Now is when the attempt ended, by the clock of whoever asks. Times of day are
	// worked out from it; no expression reads it. Zero = not known.
	Now time.Time

	Idempotent bool // [idempotent] a repeat is harmless
	Sent       bool // [sent] the request may have reached the server

	// Header holds the response's headers under their canonical names, as
	// net/http does; an http.Header converts to it without a copy. [header("X")]
	Header map[string][]string
	// Body is the first 64 KiB of the response's body as text. [body]
	Body string
}

// IsFact reports whether a name is that of a fact that every event has.
func IsFact(name string) bool {
	return name == "header" || name == "now" || slices.Contains(fact.Names, name)
}

// facts is e as the rules read it.
func (e *Event) facts() *fact.Event { return (*fact.Event)(e) }

// Code is the first of e.Codes, or "".
func (e *Event) Code() string {
	if len(e.Codes) == 0 {
		return ""
	}
	return e.Codes[0]
}

// What went wrong below the protocol: the values of Event.Network.
const (
	NetworkTimeout  = "timeout"  // no answer in time
	NetworkDNS      = "dns"      // the host's name did not resolve
	NetworkConnect  = "connect"  // no connection: refused, unreachable
	NetworkReset    = "reset"    // the connection broke while in use
	NetworkEOF      = "eof"      // the peer closed before its answer was whole
	NetworkTLS      = "tls"      // certificate, handshake, alert or record
	NetworkCanceled = "canceled" // the caller gave up
	NetworkOther    = "other"    // any other error below the protocol
)
