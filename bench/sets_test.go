package bench

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// set is a compiled list of rules and the events that it is measured on.
type set struct {
	*rules.Set
	events []*rules.Event
}

// packSet takes a built-in policy's rules and real answers of its provider.
func packSet(tb testing.TB, name string) set {
	tb.Helper()
	p, ok := policy.Builtin().Policy(name)
	if !ok {
		tb.Fatalf("no built-in policy %q", name)
	}
	s := set{Set: p.Matcher}
	for _, r := range answers[name] {
		s.events = append(s.events, classified(p, r))
	}
	return s
}

// answer is a provider's answer as it comes over the wire.
type answer struct {
	operation, method string
	status            int
	header            http.Header
	body              string
}

var day = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func classified(p *policy.Policy, a answer) *rules.Event {
	e := new(rules.Event)
	classify.HTTP(p, &classify.Response{
		Operation: a.operation, Method: a.method, Status: a.status, Header: a.header, Body: []byte(a.body), Now: day,
	}, e)
	e.Attempt, e.Sent = 1, true
	e.Idempotent = a.method == "GET"
	return e
}

// answers are the failures that a sync worker meets, by policy.
var answers = map[string][]answer{
	"nylas_v3": nylasAnswers(),
	"gmail": {
		{"messages.get", "GET", 403, nil, `{"error":{"errors":[{"domain":"usageLimits","reason":"rateLimitExceeded","message":"Rate Limit Exceeded"}],"code":403,"message":"Rate Limit Exceeded"}}`},
		{"messages.list", "GET", 403, nil, `{"error":{"code":403,"message":"User-rate limit exceeded.  Retry after 2026-11-22T10:15:00.000Z","errors":[{"message":"User-rate limit exceeded.  Retry after 2026-11-22T10:15:00.000Z","domain":"global","reason":"userRateLimitExceeded"}]}}`},
		{"messages.get", "GET", 429, nil, `{"error":{"code":429,"message":"Too many concurrent requests for user","errors":[{"message":"Too many concurrent requests for user","domain":"global","reason":"rateLimitExceeded"}],"status":"RESOURCE_EXHAUSTED"}}`},
		{"history.list", "GET", 404, nil, `{"error":{"code":404,"message":"Requested entity was not found.","errors":[{"message":"Requested entity was not found.","domain":"global","reason":"notFound"}],"status":"NOT_FOUND"}}`},
		{"messages.get", "GET", 404, nil, `{"error":{"code":404,"message":"Requested entity was not found.","errors":[{"message":"Requested entity was not found.","domain":"global","reason":"notFound"}],"status":"NOT_FOUND"}}`},
		{"messages.list", "GET", 401, nil, `{"error":{"code":401,"message":"Invalid Credentials","errors":[{"message":"Invalid Credentials","domain":"global","reason":"authError"}],"status":"UNAUTHENTICATED"}}`},
		{"messages.list", "GET", 500, nil, `{"error":{"code":500,"message":"Backend Error","errors":[{"message":"Backend Error","domain":"global","reason":"backendError"}]}}`},
		{"messages.list", "GET", 503, nil, `{"error":{"code":503,"message":"The service is currently unavailable.","errors":[{"message":"The service is currently unavailable.","domain":"global","reason":"backendError"}],"status":"UNAVAILABLE"}}`},
	},
	"microsoft_graph": {
		{"messages.list", "GET", 429, http.Header{"Retry-After": {"10"}}, `{"error":{"code":"ApplicationThrottled","message":"Application is over its MailboxConcurrency limit.","innerError":{"date":"2026-11-22T10:00:00","request-id":"5f6d2e0c-8e65-4b8f-9f0b-0b6f7a6f8d11"}}}`},
		{"messages.list", "GET", 429, http.Header{"Retry-After": {"150"}}, `{"error":{"code":"TooManyRequests","message":"Please retry again later.","innerError":{"code":"429"}}}`},
		{"messages.list", "GET", 503, http.Header{"Retry-After": {"30"}}, `{"error":{"code":"ErrorServerBusy","message":"The server cannot service this request right now. Try again later."}}`},
		{"messages.delta", "GET", 410, nil, `{"error":{"code":"syncStateNotFound","message":"The sync state generation is not found; generation=10; target=11."}}`},
		{"messages.get", "GET", 404, nil, `{"error":{"code":"ErrorItemNotFound","message":"The specified object was not found in the store."}}`},
		{"messages.list", "GET", 401, nil, `{"error":{"code":"InvalidAuthenticationToken","message":"Access token has expired or is not yet valid."}}`},
		{"messages.list", "GET", 504, nil, `{"error":{"code":"UnknownError","message":""}}`},
		{"messages.list", "GET", 500, nil, `{"error":{"code":"ErrorInternalServerTransientError","message":"An internal server error occurred. Try again later."}}`},
	},
}

// nylasTypes are the error types of Nylas' table, with the status and message of
// each (https://developer.nylas.com/docs/api/errors/, checked 2026-11-22).
var nylasTypes = []struct {
	status        int
	kind, message string
}{
	{400, "api.invalid_request_error", "The message_id parameter is required."},
	{400, "invalid_request_error", "The message_id parameter is required."},
	{401, "api.authentication_error", "Unauthorized"},
	{404, "api.not_found_error", "Couldn't find the requested resource."},
	{404, "api.partial_not_found_error", "Couldn't find some of the requested resources."},
	{429, "api.rate_limit_error", "Too many requests"},
	{429, "rate_limit_error", "Too many requests"},
	{429, "nylas_rate_limit_exceeded", "Too many requests"},
	{504, "api.provider_error", "Provider error message."},
	{504, "provider_error", "Provider error message."},
	{500, "api.internal_error", "Internal error, contact administrator."},
	{400, "grant.provider_not_responding", "Provider not responding."},
	{401, "grant.refresh_token_invalid", "Invalid refresh_token supplied to Grant."},
	{403, "grant.access_denied", "Access to Grant denied."},
	{400, "grant.scopes_conflict", "Scopes conflict."},
	{404, "grant.not_found", "Grant not found."},
	{400, "grant.auth_limit_reached", "Auth limit reached."},
	{401, "token.unauthorized_access", "Unauthorized access."},
	{400, "token.exchange_failed", "Token exchange failed."},
	{400, "oauth2.invalid_grant", "Invalid grant."},
	{400, "oauth2.invalid_client", "Invalid client."},
	{401, "oauth2.invalid_token", "Invalid token."},
	{400, "oauth2.redirect_uri_mismatch", "Redirect URI mismatch."},
	{404, "connector.not_found", "Connector not found."},
	{400, "connector.provider_not_supported", "Provider not supported."},
	{404, "credential.not_found", "Credential not found."},
	{404, "application.not_found", "Application not found."},
	{403, "application.id_not_allowed", "Application id not allowed."},
	{400, "common.scope_not_allowed", "Scope not allowed."},
	{422, "sending_error", "Message delivery submission failed."},
}

func nylasAnswers() []answer {
	var all []answer
	for _, t := range nylasTypes {
		body := fmt.Sprintf(`{"request_id":"1f58962d-9967-42de-9dd3-3f55aa1a216a","error":{"type":%q,"message":%q}}`, t.kind, t.message)
		all = append(all, answer{"messages.list", "GET", t.status, nil, body})
	}
	return all
}

// manySet is n rules as packs have them, nearly all of which compare statuses,
// types, codes and operations. Only the last one holds for the event.
func manySet(tb testing.TB, n int) set {
	tb.Helper()
	s, err := rules.Compile(manyRules(n), rules.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return set{s, []*rules.Event{{
		Provider: "acme", Operation: "messages.get", Method: "GET", Protocol: "http", Status: 429,
		Type: "rate_limit_error", Codes: []string{"userRateLimitExceeded"}, Message: "User rate limit exceeded", Attempt: 1, Idempotent: true, Sent: true,
	}}}
}

func manyRules(n int) []rules.Rule {
	var all []rules.Rule
	for i := range n - 1 {
		var when string
		switch status := 400 + i%120; i % 6 {
		case 0:
			when = fmt.Sprintf(`status == %d and type == "type_%d"`, status, i)
		case 1:
			when = fmt.Sprintf(`"reason%d" in codes`, i)
		case 2:
			when = fmt.Sprintf(`status == %d and operation == "op%d.list" and "reason%d" in codes`, status, i%40, i%300)
		case 3:
			when = fmt.Sprintf(`type in ["type_%d", "api.type_%d"] and status != 500`, i, i)
		case 4:
			when = fmt.Sprintf(`status in [%d, %d] and code == "code%d" and attempt < 5`, status, status+1, i)
		case 5:
			when = fmt.Sprintf(`status == 429 and type == "kind_%d" and not idempotent`, i)
		}
		all = append(all, rules.Rule{Name: fmt.Sprintf("rule-%d", i), When: when})
	}
	return append(all, rules.Rule{Name: "last", When: `status == 429 and type == "rate_limit_error" and "userRateLimitExceeded" in codes`})
}

// residualSet is a pack's worth of rules of which the one that holds needs a
// search and a regexp over the message.
func residualSet(tb testing.TB) set {
	tb.Helper()
	all := manyRules(60)
	all[len(all)-1] = rules.Rule{Name: "by-message", When: fmt.Sprintf(`status == 403 and message contains %q and message matches %q`, residualText, residualPattern)}
	s, err := rules.Compile(all, rules.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return set{s, []*rules.Event{{Operation: "messages.get", Status: 403, Type: "PERMISSION_DENIED", Codes: []string{"forbidden"}, Message: residualMessage, Attempt: 1}}}
}

const (
	residualText    = "limit exceeded"
	residualPattern = `[Rr]etry after \d{4}-\d\d-\d\d`
	residualMessage = "User-rate limit exceeded.  Retry after 2026-11-22T10:15:00.000Z"
)
