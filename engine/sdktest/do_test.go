package sdktest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// Do around an SDK's call reads the SDK's own error: status, codes, message,
// headers. The client below is a plain one, without Transport.
func TestDoReadsErrorsOfSDKs(t *testing.T) {
	gmail := func(status int, reason, message string) string {
		return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"errors":[{"domain":"usageLimits","reason":%q,"message":%q}]}}`, status, message, reason, message)
	}
	for _, tt := range []struct {
		name     string
		provider string
		call     func(w *world, ctx context.Context, client *http.Client) error
		status   int
		header   string // Retry-After
		body     string
		then     bool // the next answer is a success
		as       string
		deferred time.Duration
		took     time.Duration // at least; with `then`
		own      any           // a pointer to the SDK's error type
	}{
		{
			name: "Gmail, throttled", provider: "gmail", call: gmailGet,
			status: 403, body: gmail(403, "rateLimitExceeded", "User-rate limit exceeded.  Retry after 2000-01-01T00:00:05.000Z"), // five seconds from a bubble's start
			then: true, took: 5 * time.Second,
		},
		{
			name: "Gmail, gone", provider: "gmail", call: gmailGet,
			status: 404, body: gmail(404, "notFound", "Requested entity was not found."), as: "gone", own: new(*googleapi.Error),
		},
		{
			name: "Gmail, told to wait for long", provider: "gmail", call: gmailGet,
			status: 429, header: "600", body: gmail(429, "rateLimitExceeded", "Resource has been exhausted (e.g. check quota)."),
			deferred: 10 * time.Minute, own: new(*googleapi.Error),
		},
		{
			name: "Graph, throttled", provider: "microsoft_graph", call: graphGet,
			status: 429, header: "7", body: `{"error":{"code":"ApplicationThrottled","message":"Slow."}}`, then: true, took: 7 * time.Second,
		},
		{
			name: "Graph, sync state lost", provider: "microsoft_graph", call: graphGet,
			status: 410, body: `{"error":{"code":"SyncStateNotFound","message":"Start again."}}`, as: engine.AsResync, own: new(*odataerrors.ODataError),
		},
		{
			name: "oauth2, a dead grant", provider: "google_oauth", call: refresh,
			status: 400, body: `{"error":"invalid_grant","error_description":"Token has been expired or revoked."}`,
			as: engine.AsNeedsUser, own: new(*oauth2.RetrieveError),
		},
		{
			name: "oauth2, server failure", provider: "google_oauth", call: refresh,
			status: 503, body: `{"error":"temporarily_unavailable"}`, then: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			handler := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				if requests++; requests > 1 && tt.then {
					fmt.Fprint(rw, `{"id":"1","access_token":"x","token_type":"Bearer","expires_in":3600}`)
					return
				}
				if tt.header != "" {
					rw.Header().Set("Retry-After", tt.header)
				}
				rw.WriteHeader(tt.status)
				fmt.Fprint(rw, tt.body)
			})
			under(t, handler, func(w *world) {
				client := &http.Client{Transport: direct{handler}}
				start := time.Now()
				err := w.engine.Do(w.ctx, engine.Call{Provider: tt.provider, Keys: limiter.Keys{Account: "ann", Operation: "messages.get"}, Method: "GET", Idempotent: true},
					func(ctx context.Context) error { return tt.call(w, ctx, client) })
				took := time.Since(start)
				if tt.then {
					if err != nil || requests != 2 || took < tt.took || took > tt.took+time.Minute {
						t.Errorf("error %v after %d requests and %v, want none after two and %v or a little more", err, requests, took, tt.took)
					}
					return
				}
				if requests != 1 {
					t.Errorf("%d requests, want one", requests)
				}
				if !errors.As(err, tt.own) {
					t.Errorf("error %v, want one that wraps a %T", err, tt.own)
				}
				if gave, ok := errors.AsType[*engine.GiveUpError](err); tt.deferred == 0 && (!ok || gave.Decision.As != tt.as) {
					t.Errorf("error %v, want it given up as %q", err, tt.as)
				}
				if later, ok := errors.AsType[*engine.DeferError](err); tt.deferred > 0 && (!ok || later.Until.Before(start.Add(tt.deferred))) {
					t.Errorf("error %v, want a deferral of %v", err, tt.deferred)
				}
			})
		})
	}
}

func gmailGet(w *world, ctx context.Context, client *http.Client) error {
	_, err := w.gmailService(client).Users.Messages.Get("me", "1").Context(ctx).Do()
	return err
}

func graphGet(w *world, ctx context.Context, client *http.Client) error {
	_, err := w.graphClient(client).message(ctx, "ann", "1")
	return err
}

func refresh(_ *world, ctx context.Context, client *http.Client) error {
	c := oauth2.Config{ClientID: "worker", Endpoint: oauth2.Endpoint{TokenURL: "http://oauth2.googleapis.com/token", AuthStyle: oauth2.AuthStyleInParams}}
	_, err := c.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, client), &oauth2.Token{RefreshToken: "r"}).Token()
	return err
}
