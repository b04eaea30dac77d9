package protocol

import (
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// IMAP is RFC 9051 and RFC 3501.
var IMAP = &Protocol{
	Name:       "imap",
	Replied:    func(e *rules.Event) bool { return e.IMAPStatus != "" },
	Succeeded:  func(e *rules.Event) bool { return e.IMAPStatus == "OK" || e.IMAPStatus == "PREAUTH" },
	Refused:    func(e *rules.Event) bool { return e.IMAPStatus == "NO" || e.IMAPStatus == "BAD" },
	HostDown:   func(e *rules.Event) bool { return e.IMAPStatus == "BYE" },
	Idempotent: idempotentIMAP,
	Commands:   true,
	Reply:      func(_ int, text string) string { return text },
}

// idempotentIMAP reports whether repeating a command does no harm. That is so for all
// commands except those that add or move messages, and STORE. A STORE is idempotent if
// the command shows that it replaces the flags (FLAGS), and not if it adds or removes
// some (+FLAGS, -FLAGS) or does not say.
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
