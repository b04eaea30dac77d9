package bench

import (
	"regexp"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// nylasSwitch decides what the pack nylas_v3 decides of the error types of
// Nylas' table, as one would write it by hand. Unlike the pack it does not read
// the messages and the mail provider's own words.
func nylasSwitch(e *rules.Event) string {
	switch e.Type {
	case "grant.refresh_token_invalid", "grant.access_denied", "grant.invalid_authentication", "grant.login_id_invalid", "grant.reauth_email_invalid",
		"grant.scopes_conflict", "grant.gmail_domain_invalid", "grant.hosted_login_expired", "grant.provider_id_token_missing", "grant.imap_autodetect_fail",
		"grant.imap_type_mismatch", "grant.provider_mismatch", "grant.expired",
		"oauth2.oauth_failed", "oauth2.invalid_grant", "oauth2.provider_code_exchange_failed", "oauth2.provider_code_request_failed":
		return "grant-needs-user"
	case "grant.provider_not_responding", "provider_not_responding":
		return "provider-not-responding"
	case "application.id_not_allowed":
		return "application-wrong"
	case "oauth2.invalid_token", "invalid_token":
		if len(e.Operation) < 8 || e.Operation[:8] != "connect." {
			return "token-expired"
		}
		if e.Type == "oauth2.invalid_token" && e.Status != 403 {
			return "application-wrong"
		}
	case "api.authentication_error", "authentication_error", "token.unauthorized_access", "unauthorized_access", "oauth2.invalid_client",
		"oauth2.redirect_uri_mismatch", "oauth2.unsupported_grant_type", "oauth2.origin_not_allowed",
		"grant.callback_uri_not_allowed", "grant.provider_required",
		"connector.not_found", "connector.provider_not_supported", "connector.provider_settings_invalid", "connector.provider_settings_secret_required",
		"connector.already_exists", "connector.problem", "connector.no_longer_exists", "credential.not_found", "credential.already_exists", "credential.missing_param",
		"application.missing_required_parameter", "application.not_found", "application.callback_uris_not_found", "application.callback_uri_is_not_valid",
		"common.scope_not_allowed", "common.secret_not_found":
		if e.Status != 403 {
			return "application-wrong"
		}
	case "oauth2.oauth_provider_error":
		if e.Status < 500 && e.Status != 429 && len(e.Codes) == 0 {
			if e.Attempt < 3 {
				return "oauth-provider-error"
			}
			return "oauth-provider-refused"
		}
	case "token.exchange_failed", "grant.not_found", "grant.auth_limit_reached", "grant.session_revoke_failed",
		"api.invalid_request_error", "invalid_request_error", "api.not_found_error", "not_found_error", "api.partial_not_found_error", "partial_not_found_error", "sending_error":
		if e.Status < 500 && e.Status != 401 && e.Status != 403 && len(e.Codes) == 0 {
			return "refused"
		}
	case "api.provider_error", "provider_error":
		if e.Status == 401 {
			return "provider-unauthorized"
		}
	case "nylas_rate_limit_exceeded", "api.rate_limit_error", "rate_limit_error":
		if e.Status != 429 {
			return "rate-limit-type"
		}
	}
	switch {
	case e.Status == 429:
		return "throttled"
	case e.Status == 401:
		return "unauthorized"
	case e.Status == 403 && e.RetryAfter == 0 && len(e.Codes) == 0:
		return "not-authenticated-with-provider"
	case e.Status == 404, e.Status == 410:
		return "gone"
	case e.Status >= 500 && e.Status < 600:
		return "server-error"
	}
	return "default"
}

// TestSwitchIsThePack compares the two on the events that are measured, and on
// every error type that the pack names, with every status that matters to it.
func TestSwitchIsThePack(t *testing.T) {
	p, _ := policy.Builtin().Policy("nylas_v3")
	events := packSet(t, "nylas_v3").events
	types := map[string]bool{}
	for _, r := range p.Rules {
		for _, list := range namedTypes.FindAllString(r.When, -1) {
			for _, name := range quoted.FindAllString(list, -1) {
				types[strings.Trim(name, `"`)] = true
			}
		}
	}
	if len(types) < len(nylasTypes) {
		t.Fatalf("the pack names %d error types, want at least the %d of Nylas' table", len(types), len(nylasTypes))
	}
	for name := range types {
		for _, status := range []int{400, 401, 403, 404, 410, 422, 429, 500, 503, 504} {
			e := *events[0]
			e.Type, e.Status, e.Message, e.Body, e.Codes = name, status, "", "", nil
			events = append(events, &e)
		}
	}
	for _, e := range events {
		want := "default"
		if i := p.Matcher.Match(e); i >= 0 {
			want = p.Rules[i].Name
		}
		if got := nylasSwitch(e); got != want {
			t.Errorf("%d %s: the switch says %q, the pack %q", e.Status, e.Type, got, want)
		}
	}
}

var (
	namedTypes = regexp.MustCompile(`type (in \[[^\]]*\]|== "[^"]*")`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
)

func BenchmarkMatchSwitch(b *testing.B) {
	b.Run("pack=nylas_v3", func(b *testing.B) {
		events := packSet(b, "nylas_v3").events
		b.ReportAllocs()
		for i := 0; b.Loop(); {
			sink += len(nylasSwitch(events[i]))
			if i++; i == len(events) {
				i = 0
			}
		}
	})
}
