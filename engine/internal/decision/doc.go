// Package decision decides what to do after an attempt of a call. It is pure: it reads no
// clock, draws no random numbers, does not sleep and sends nothing.
//
// Package engine, which makes the calls, exports Decision, Rule, Reason, State and Hold as
// its own.
package decision
