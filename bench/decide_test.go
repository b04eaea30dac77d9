package bench

import (
	"net/http"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// BenchmarkDecide decides the answers of each pack's provider: match, gate,
// schedule, jitter, state.
func BenchmarkDecide(b *testing.B) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range packs {
		b.Run("pack="+name, func(b *testing.B) {
			p, err := eng.Provider(name)
			if err != nil {
				b.Fatal(err)
			}
			events := packSet(b, name).events
			b.ReportAllocs()
			for i := 0; b.Loop(); {
				d := p.Decide(engine.State{}, events[i], 0.5)
				sink += int(d.Action)
				if i++; i == len(events) {
					i = 0
				}
			}
		})
	}
}

// wireAnswers are raw answers as they come over the wire: about 500 bytes of
// JSON, and a page of 64 KiB.
var wireAnswers = []struct {
	name, pack string
	answer
}{
	{"gmail403", "gmail", answer{"messages.get", "GET", 403,
		http.Header{"Content-Type": {"application/json; charset=UTF-8"}, "Date": {"Sun, 22 Nov 2026 10:00:00 GMT"}},
		`{"error":{"code":403,"message":"User-rate limit exceeded.  Retry after 2026-11-22T10:15:00.000Z","errors":[{"message":"User-rate limit exceeded.  Retry after 2026-11-22T10:15:00.000Z","domain":"usageLimits","reason":"rateLimitExceeded"}],"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"rateLimitExceeded","domain":"usageLimits","metadata":{"service":"gmail.googleapis.com","consumer":"projects/123456789012","quota_unit":"1/min/{project}/{user}"}}]}}`}},
	{"nylas429", "nylas_v3", answer{"messages.list", "GET", 429,
		http.Header{"Content-Type": {"application/json"}, "Retry-After": {"10"}},
		`{"request_id":"1f58962d-9967-42de-9dd3-3f55aa1a216a","error":{"type":"rate_limit_error","message":"Application is over its MailboxConcurrency limit.","provider_error":{"error":{"code":"ApplicationThrottled","message":"Application is over its MailboxConcurrency limit.","innerError":{"date":"2026-11-22T10:00:00","request-id":"02403262-4063-455c-9c8f-54f442b31343","client-request-id":"02403262-4063-455c-9c8f-54f442b31343"}}}}}`}},
	{"graph429", "microsoft_graph", answer{"messages.list", "GET", 429,
		http.Header{"Content-Type": {"application/json"}, "Retry-After": {"10"}, "Date": {"Sun, 22 Nov 2026 10:00:00 GMT"}},
		`{"error":{"code":"ApplicationThrottled","message":"Application is over its MailboxConcurrency limit.","innerError":{"code":"TooManyRequests","message":"Please retry again later.","date":"2026-11-22T10:00:00","request-id":"02403262-4063-455c-9c8f-54f442b31343","client-request-id":"02403262-4063-455c-9c8f-54f442b31343","innerError":{"code":"MailboxConcurrency"}},"details":[{"code":"ThrottledMailbox","message":"mailbox"}]}}`}},
	{"html502", "gmail", answer{"messages.get", "GET", 502,
		http.Header{"Content-Type": {"text/html; charset=UTF-8"}},
		"<!DOCTYPE html><html lang=en><title>Error 502 (Server Error)!!1</title>" + strings.Repeat("<p><b>502.</b> <ins>That's an error.</ins> The server encountered a temporary error.</p>\n", 760)}},
}

func BenchmarkClassify(b *testing.B) {
	for _, w := range wireAnswers {
		b.Run(w.name, func(b *testing.B) {
			p, ok := policy.Builtin().Policy(w.pack)
			if !ok {
				b.Fatalf("no policy %q", w.pack)
			}
			body := []byte(w.body)
			body = body[:min(len(body), classify.MaxBody)]
			r := classify.Response{Operation: w.operation, Method: w.method, Status: w.status, Header: w.header, Body: body, Now: day}
			var e rules.Event
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				e = rules.Event{}
				classify.HTTP(p, &r, &e)
			}
			sink += e.Status
		})
	}
}
