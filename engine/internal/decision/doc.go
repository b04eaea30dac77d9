// Package decision says what to do after an attempt of a call. It is pure: it reads no
// clock, draws no chance, sleeps for nothing and sends nothing.
//
// Its Decision, Rule, Reason, State and Hold are the ones of package engine, which makes
// the calls.
package decision
