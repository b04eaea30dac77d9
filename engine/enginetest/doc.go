// Package enginetest provides fake mail providers for tests, as
// net/http/httptest provides servers: a Gmail that counts quota units a user a
// second, a Microsoft Graph that refuses a fifth concurrent request on a
// mailbox, a Nylas v3 whose tokens expire, and a Warpflow; IMAP and SMTP servers that
// refuse as Gmail, Yahoo and Exchange do; and an OAuth token endpoint whose refresh
// tokens can be used once.
//
//	func TestSync(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			s := enginetest.NewGmail(enginetest.Options{Seed: 1})
//			s.FailOnEarlyReturn(t) // closes the server when the test ends, too
//			s.Inject(enginetest.ReplyLost)
//			tokens := enginetest.NewTokens(s)
//			eng, err := engine.New(engine.Options{Authorize: tokens.Authorize, …})
//			client := &http.Client{Transport: eng.Transport(enginetest.NewTransport(s))}
//			… run the worker with that client …
//			if c := s.Counts(); c.DuplicateSends > 0 { … }
//		})
//	}
//
// A client reaches the HTTP servers by a [Transport], under their providers' own
// host names, and an [IMAP] or [SMTP] server by its Dial. Connections are in memory,
// so that everything works in a testing/synctest bubble, where waits cost no time;
// Listen opens a port of the loopback interface besides.
//
// Each server enforces its provider's limits, fails at stated rates ([Server.Faults]) and as
// a test tells it to ([Server.Inject], [Server.Outage]), and counts what it saw
// ([Server.Counts]). What goes wrong by chance depends on a hash of the seed, the mailbox, the
// message and the number of the attempt, and never on the order in which goroutines run.
//
// The limits are the providers' own. But the waits that a refusal names are seconds, where
// providers often name minutes, so that a run is short.
//
// A [Script] is simpler: a base transport that gives the answers of a list.
package enginetest
