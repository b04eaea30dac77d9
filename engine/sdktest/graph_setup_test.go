package sdktest

import (
	"context"
	"net/http"
	"testing"
	"time"

	khttp "github.com/microsoft/kiota-http-go"
	msgraphcore "github.com/microsoftgraph/msgraph-sdk-go-core"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// newGraphHTTP is the http.Client for Microsoft Graph's client above the engine; base is
// nil outside of tests. It has the middleware that Graph's own http.Client has, with the
// handlers switched off that send requests of their own.
func newGraphHTTP(eng *engine.Engine, base http.RoundTripper) (*http.Client, error) {
	middleware, err := khttp.GetDefaultMiddlewaresWithOptions(
		&khttp.RetryHandlerOptions{ShouldRetry: func(time.Duration, int, *http.Request, *http.Response) bool { return false }},
		&khttp.RedirectHandlerOptions{ShouldRedirect: func(*http.Request, *http.Response) bool { return false }},
	)
	if err != nil {
		return nil, err
	}
	// GraphServiceClient.Me needs this one: it calls /users/me-token-to-replace.
	middleware = append(middleware, khttp.NewUrlReplaceHandler(true, msgraphcore.ReplacementPairs))
	// Without a Timeout, which would end waits too. Redirects are net/http's to follow.
	return &http.Client{Transport: khttp.NewCustomTransportWithParentTransport(eng.Transport(base), middleware...)}, nil
}

// With this set-up a call is sent as often as the policy says, and handed back without a
// sleep; with the http.Client that Graph's SDK makes above the engine it is not.
func TestGraphSetUp(t *testing.T) {
	own := func(eng *engine.Engine, base http.RoundTripper) (*http.Client, error) {
		client := msgraphcore.GetDefaultClient(&msgraphcore.GraphClientOptions{})
		client.Timeout = 0
		client.Transport = khttp.NewCustomTransportWithParentTransport(eng.Transport(base), msgraphcore.GetDefaultMiddlewaresWithOptions(&msgraphcore.GraphClientOptions{})...)
		return client, nil
	}
	get := func(ctx context.Context, c graphClient) error {
		_, err := c.message(ctx, "me-token-to-replace", "1")
		return err
	}
	send := func(ctx context.Context, c graphClient) error {
		return c.send(ctx, "me-token-to-replace", &mail{message{subject: "hello"}})
	}
	for _, tt := range []struct {
		name   string
		client func(*engine.Engine, http.RoundTripper) (*http.Client, error)
		call   func(context.Context, graphClient) error
		status int
		header string
		want   int           // requests; -1 = more than one
		sleeps time.Duration // at least; 0 = less than a second
		as     string
		defers bool
	}{
		{name: "get, told to wait for long", client: newGraphHTTP, call: get, status: 429, header: "170", want: 1, defers: true},
		{name: "send, told to wait for long", client: newGraphHTTP, call: send, status: 429, header: "170", want: 1, defers: true},
		{name: "send, lost", client: newGraphHTTP, call: send, status: 504, want: 1, as: engine.AsAmbiguous},
		{name: "moved", client: newGraphHTTP, call: get, status: http.StatusFound, want: 2, as: "gone"},
		{name: "Graph's own: get, told to wait for long", client: own, call: get, status: 429, header: "170", want: -1, sleeps: 170 * time.Second, defers: true},
		{name: "Graph's own: send, lost", client: own, call: send, status: 504, want: -1, sleeps: 3 * time.Second, as: engine.AsAmbiguous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var requests []string
			under(t, func(rw http.ResponseWriter, r *http.Request) {
				requests = append(requests, r.URL.Path)
				switch {
				case r.URL.Path == "/moved":
					refuse(rw, 404, "ErrorItemNotFound", "")
				case tt.status == http.StatusFound:
					http.Redirect(rw, r, "/moved", http.StatusFound)
				default:
					refuse(rw, tt.status, "ApplicationThrottled", tt.header)
				}
			}, func(w *world) {
				client, err := tt.client(w.engine, w.base0)
				if err != nil {
					t.Fatal(err)
				}
				var out engine.Result
				ctx := engine.WithCall(w.ctx, engine.Call{Keys: limiter.Keys{Account: "ann"}, Outcome: &out})
				began := time.Now()
				err = tt.call(ctx, w.graphClient(client))
				took := time.Since(began)
				if err == nil || out.Decision.As != tt.as || out.Decision.Defer != tt.defers {
					t.Errorf("error %v, outcome %q, handed back %v; want an error, %q, %v", err, out.Decision.As, out.Decision.Defer, tt.as, tt.defers)
				}
				if tt.sleeps == 0 && took > time.Second || took < tt.sleeps {
					t.Errorf("took %v, want %v or, for 0s, less than a second", took, tt.sleeps)
				}
				if tt.want < 0 && len(requests) < 2 || tt.want >= 0 && len(requests) != tt.want {
					t.Errorf("requests %q were sent, want %d (-1: more than one)", requests, tt.want)
				}
				if len(requests) > 0 && requests[0] != "/v1.0/me/messages/1" && requests[0] != "/v1.0/me/sendMail" {
					t.Errorf("the first request went to %q", requests[0])
				}
			})
		})
	}
}
