package rules

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

// textOf reads a text; name is that of a factCustom, or the canonical one of a
// factHeader.
func textOf(e *Event, f fact, name string) string {
	switch f {
	case factProvider:
		return e.Provider
	case factOperation:
		return e.Operation
	case factMethod:
		return e.Method
	case factProtocol:
		return e.Protocol
	case factIMAPStatus:
		return e.IMAPStatus
	case factType:
		return e.Type
	case factCode:
		if len(e.Codes) > 0 {
			return e.Codes[0]
		}
	case factNetwork:
		return e.Network
	case factMessage:
		return e.Message
	case factBody:
		return e.Body
	case factCustom:
		return e.Facts[name]
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
		return int64(len(e.Codes))
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
