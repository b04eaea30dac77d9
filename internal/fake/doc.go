// Package fake holds servers that behave as mail providers do when a sync
// worker leans on them: a Gmail that counts quota units a user a second, a
// Microsoft Graph that refuses a fifth concurrent request on a mailbox, a Nylas
// v3 whose tokens expire, and a Warpflow.
//
// They are real http.Handlers, served over loopback (Listen) or over in-memory
// connections (ListenPipe, which works inside a testing/synctest bubble). Each
// enforces its provider's limits, misbehaves at stated rates (Server.Faults),
// and keeps count of what it saw (Server.Count). What goes wrong is decided by
// a hash of the seed, the mailbox, the message and the number of the attempt,
// never by the order in which goroutines happen to run.
//
// The limits are the providers' own; the waits that a refusal names are seconds
// here where the providers often name minutes, so that a run is short.
package fake
