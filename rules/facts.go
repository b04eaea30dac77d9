package rules

import "unicode/utf8"

// fact is one of an event's facts.
type fact uint8

const (
	factNone fact = iota

	// Texts.
	factProvider
	factOperation
	factMethod
	factProtocol
	factIMAPStatus
	factType
	factCode
	factNetwork
	factMessage
	factBody
	factCustom // facts.NAME
	factHeader // header("NAME")

	// Numbers; a duration counts nanoseconds, false is 0 and true 1.
	factStatus
	factAttempt
	factCodeCount // len(codes)
	factRetryAfter
	factElapsed
	factIdempotent
	factSent

	factCodes
)

// facts by their name in the language.
var facts = map[string]fact{
	"provider": factProvider, "operation": factOperation, "method": factMethod, "protocol": factProtocol,
	"imap_status": factIMAPStatus, "type": factType, "code": factCode, "network": factNetwork,
	"message": factMessage, "body": factBody, "status": factStatus, "attempt": factAttempt,
	"retry_after": factRetryAfter, "elapsed": factElapsed, "idempotent": factIdempotent, "sent": factSent,
	"codes": factCodes,
}

func (f fact) isText() bool { return factProvider <= f && f <= factHeader }
func (f fact) isNum() bool  { return factStatus <= f && f <= factElapsed }
func (f fact) isBool() bool { return f == factIdempotent || f == factSent }

// isDuration tells durations from plain numbers.
func (f fact) isDuration() bool { return f == factRetryAfter || f == factElapsed }

// What a rule sees of an event is bounded, so that what it costs is: a text ends
// after so many bytes, and there are no codes beyond so many.
const (
	maxBody  = 64 << 10 // the body
	maxText  = 16 << 10 // the message, a fact of the policy's own, a header
	maxWord  = 512      // any other text, and each code
	maxCodes = 64
)

func mostBytes(f fact) int {
	switch f {
	case factBody:
		return maxBody
	case factMessage, factCustom, factHeader:
		return maxText
	}
	return maxWord
}

// cut is the start of s, at most so many bytes, without a character that is cut
// in two.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := most; i > most-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:most]
}

// codesOf are the codes that a rule sees. Each is to be cut to maxWord.
func codesOf(e *Event) []string {
	if len(e.Codes) > maxCodes {
		return e.Codes[:maxCodes]
	}
	return e.Codes
}

// textOf reads a text; name is that of a factCustom, or the canonical one of a
// factHeader.
func textOf(e *Event, f fact, name string) string {
	switch f {
	case factProvider:
		return cut(e.Provider, maxWord)
	case factOperation:
		return cut(e.Operation, maxWord)
	case factMethod:
		return cut(e.Method, maxWord)
	case factProtocol:
		return cut(e.Protocol, maxWord)
	case factIMAPStatus:
		return cut(e.IMAPStatus, maxWord)
	case factType:
		return cut(e.Type, maxWord)
	case factCode:
		if len(e.Codes) > 0 {
			return cut(e.Codes[0], maxWord)
		}
	case factNetwork:
		return cut(e.Network, maxWord)
	case factMessage:
		return cut(e.Message, maxText)
	case factBody:
		return cut(e.Body, maxBody)
	case factCustom:
		return cut(e.Facts[name], maxText)
	case factHeader:
		return firstHeader(e.Header, name)
	}
	return ""
}

// numOf reads a number, a duration or a boolean.
func numOf(e *Event, f fact) int64 {
	switch f {
	case factStatus:
		return int64(e.Status)
	case factAttempt:
		return int64(e.Attempt)
	case factCodeCount:
		return int64(len(codesOf(e)))
	case factRetryAfter:
		return int64(e.RetryAfter)
	case factElapsed:
		return int64(e.Elapsed)
	case factIdempotent:
		if e.Idempotent {
			return 1
		}
	case factSent:
		if e.Sent {
			return 1
		}
	}
	return 0
}
