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
// # Retries of the SDKs' own
//
// Google's client retries the chunks of uploads only. Graph's middleware
// retries 429, 503 and 504 by itself, sends included, whose mail can go out
// twice by that, and waits for as long as Retry-After says while it holds the
// worker. Above Transport that multiplies attempts, which the Observer is told
// once (engine.NoticeNested). Leave the middleware out,
//
//	client := &http.Client{Transport: eng.Transport(nil)}
//	adapter, err := msgraphsdk.NewGraphRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(auth, nil, nil, client)
//
// or tell its retry handler to leave retries alone:
//
//	middleware, err := khttp.GetDefaultMiddlewaresWithOptions(&khttp.RetryHandlerOptions{
//		ShouldRetry: func(time.Duration, int, *http.Request, *http.Response) bool { return false },
//	})
//	client.Transport = khttp.NewCustomTransportWithParentTransport(eng.Transport(nil), middleware...)
package sdktest
