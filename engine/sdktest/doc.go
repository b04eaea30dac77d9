// Package sdktest holds tests alone: that Transport works below the clients
// which Google and Microsoft publish, unchanged, against servers that
// misbehave, and that Do understands the errors which they return. It is a
// module of its own, so that these clients stay out of everybody else's go.sum.
//
// Gmail is google.golang.org/api/gmail/v1. Microsoft Graph is the request
// adapter of github.com/microsoftgraph/msgraph-sdk-go-core with its default
// middleware, and the errors of github.com/microsoftgraph/msgraph-sdk-go; the
// few messages that the tests need are written by hand after the generated
// ones, whose package alone takes more than a minute to compile. What is below
// the adapter is what every Graph client for Go sends its requests by.
//
// It also has the code of the pages docs/sdk-gmail.md, docs/sdk-graph.md and docs/imap-smtp.md
// (with emersion/go-imap and net/smtp): the files whose names end in setup_test.go. Their tests
// hold that with this set-up a call is sent as often as the policy says and never sleeps where
// it should be handed back, and what happens without it.
package sdktest
