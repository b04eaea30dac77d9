// Package debug is a page for whoever is on call: why is this mailbox waiting, when does it
// resume, and what happened to it last. It is mounted as net/http/pprof is:
//
//	http.Handle("/debug/recourse/", debug.Handler(eng, debug.Options{}))
//
// The page shows keys of limits that are held or nearly used up, the waits of the last five
// minutes, the decisions by rule, each with an explanation of the latest one, circuit breakers,
// retry budgets, credentials, pauses, policies and the fleet. An account is searched by its
// form, or by the URL ?account=NAME. Beside every table stands the same as JSON.
//
// The page works under any path that ends in a slash, with http.StripPrefix or without, since
// its links are relative, and the names of its files have no slash.
//
// # Who may see it
//
// Without Options.Authorize only requests from this machine are answered, and only those that
// call it localhost or by a loopback address: see Options. Accounts are shown as pseudonyms
// unless Options.ShowAccounts is set. Secrets, bodies and tokens are never shown, and of errors
// only what is known to hold none.
//
// # What it costs
//
// From the moment it is made, the handler listens to the engine (see engine.Engine.Attach). A call
// that succeeds without waiting pays nothing for that; a call that fails pays some microseconds.
// The handler's memory is bounded. A table shows the first 50 rows and how many more there are.
// When somebody opens the page, the handler walks through all keys of all limits, a few at a time
// under a lock. That takes at most a twentieth of one core, however many people look.
//
// docs/debug-page.md describes each table.
package debug
