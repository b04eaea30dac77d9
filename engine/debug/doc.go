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
// It works under any path that ends in a slash, with http.StripPrefix or without, since all
// that it serves has a name without a slash and links are relative.
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
// The handler listens to the engine from when it is made (see engine.Engine.Attach): a call that
// succeeds without having waited pays nothing for it, a call that fails some microseconds. What it remembers
// is bounded, and so is what it shows: the first 50 rows of a table, and how many there are more. All
// keys of all limits are walked through when somebody looks, a few at a time under a lock, and
// for a twentieth of one core's time at most, however many look.
//
// docs/debug-page.md describes each table.
package debug
