// Package rules matches a finished attempt against an ordered list of
// conditions and says which holds first.
//
// A condition is an expr-lang expression over the facts of an [Event]:
//
//	status == 404 and operation == "history.list"
//	"rateLimitExceeded" in codes
//	status in 500..599 and not idempotent
//	lower(message) contains "quota" or message matches "(?i)rate.?limit"
//	retry_after > duration("10m")
//
// [Compile] checks all conditions of a list at once: syntax, names, types,
// constants, and what one evaluation may cost at most. For that, a condition sees
// so much of an event: the first 64 KiB of the body, 16 KiB of the message, of a
// fact of facts and of a header's first value, 512 bytes of any other text, and 64
// codes. What Compile accepts can fail at run time only by reading a code that
// an event does not have, or by converting or dividing what it cannot; such a
// condition counts as one that does not hold.
package rules
