package enginetest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
)

// refresh presents a refresh token.
func refresh(s *enginetest.OAuth, token string) (status int, g enginetest.Grant, err error) {
	resp, err := s.Client().Do(s.RefreshRequest(token))
	if err != nil {
		return 0, g, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == 200 {
		g, err = s.ParseGrant(body)
	}
	return resp.StatusCode, g, err
}

func TestOAuthRotation(t *testing.T) {
	for _, tt := range []struct {
		name    string
		o       enginetest.OAuthOptions
		again   int // status of the first token's second use
		after   int // status of its successor's first use after that
		reuses  int
		revoked int
	}{
		{"single-use", enginetest.OAuthOptions{}, 400, 200, 1, 0},
		{"reuse ends the grant", enginetest.OAuthOptions{RevokeOnReuse: true}, 400, 400, 1, 1},
		{"reusable", enginetest.OAuthOptions{Reusable: true}, 200, 200, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := enginetest.NewOAuth(tt.o)
				defer s.Close()
				first := s.Grant("ann")
				status, second, err := refresh(s, first.Refresh)
				if status != 200 || err != nil || second.Access == first.Access || (second.Refresh == first.Refresh) != tt.o.Reusable {
					t.Fatalf("status %d, %v: %+v after %+v", status, err, second, first)
				}
				if status, _, _ := refresh(s, first.Refresh); status != tt.again {
					t.Errorf("the first again: status %d, want %d", status, tt.again)
				}
				if status, _, _ := refresh(s, second.Refresh); status != tt.after {
					t.Errorf("the second: status %d, want %d", status, tt.after)
				}
				c := s.Counts()
				want := 2
				if tt.o.Reusable {
					want = 3
				}
				if n := s.Presented(first.Refresh); n != want || c.TokenReuses != tt.reuses || c.GrantsRevoked != tt.revoked || c.Requests != 3 {
					t.Errorf("presented %d times, counts %+v, want %d, %d reuses, %d revoked", n, c, want, tt.reuses, tt.revoked)
				}
				other := s.Grant("ann")
				if status, _, err := refresh(s, other.Refresh); status != 200 || err != nil {
					t.Errorf("another grant of the account: status %d, %v", status, err)
				}
			})
		})
	}
}

func TestOAuthFaults(t *testing.T) {
	for _, tt := range []struct {
		fault  enginetest.Fault
		status int           // 0 = no answer
		took   time.Duration // at least
		again  int           // status of a second use
	}{
		{enginetest.Throttled, 429, 0, 429},
		{enginetest.Overloaded, 429, 0, 200},
		{enginetest.Unavailable, 503, 0, 200},
		{enginetest.ServerError, 500, 0, 200},
		{enginetest.GrantDead, 400, 0, 200},
		{enginetest.NotReady, 400, 0, 200},
		{enginetest.Slow, 200, time.Minute, 400},
		{enginetest.ConnectionLost, 0, 0, 200},
		{enginetest.ReplyLost, 0, 0, 400},
		{enginetest.FailedLate, 500, 0, 400},
	} {
		t.Run(string(tt.fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := enginetest.NewOAuth(enginetest.OAuthOptions{})
				defer s.Close()
				g := s.Grant("ann")
				s.Inject(tt.fault)
				began := time.Now()
				status, _, err := refresh(s, g.Refresh)
				if took := time.Since(began); status != tt.status || (err != nil) != (tt.status == 0) || took < tt.took || took > tt.took+time.Second {
					t.Errorf("status %d, %v after %v, want %d after %v", status, err, took, tt.status, tt.took)
				}
				if status, _, _ := refresh(s, g.Refresh); status != tt.again {
					t.Errorf("again: status %d, want %d", status, tt.again)
				}
				if c := s.Counts(); (c.EarlyReturns == 1) != (tt.fault == enginetest.Throttled) || (c.RepliesLost == 1) != (tt.fault == enginetest.ReplyLost) {
					t.Errorf("counts: %+v", c)
				}
			})
		})
	}
}

// What is no refresh is refused.
func TestOAuthBadRequests(t *testing.T) {
	s := enginetest.NewOAuth(enginetest.OAuthOptions{Latency: 1})
	defer s.Close()
	address, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, body, want string }{
		{"no form", "%zz", "invalid_request"},
		{"another grant", url.Values{"grant_type": {"password"}}.Encode(), "unsupported_grant_type"},
		{"unknown token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}.Encode(), "invalid_grant"},
		{"too long", strings.Repeat("x", 2<<20), "invalid_request"},
	} {
		resp, err := http.Post("http://"+address+"/token", "application/x-www-form-urlencoded", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s: status %d, %s, want 400 %s", tt.name, resp.StatusCode, body, tt.want)
		}
	}
	if n := s.Presented("x"); n != 1 {
		t.Errorf("the unknown token was presented %d times, want once", n)
	}
}

// Many calls of one account whose token has run out refresh it once: a token that can
// be used once is not presented twice.
func TestOAuthSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		oauth := enginetest.NewOAuth(enginetest.OAuthOptions{AccessLife: time.Minute, RevokeOnReuse: true})
		defer oauth.Close()
		s := enginetest.NewGmail(enginetest.Options{Faultless: true, OAuth: oauth, Mailboxes: 1})
		s.FailOnEarlyReturn(t)
		tokens := enginetest.NewTokens(s)
		eng, err := engine.New(engine.Options{
			Authorize: tokens.Authorize,
			Reauth: engine.Reauth{Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
				return tokens.Renew(ctx, r.Account)
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: eng.Transport(enginetest.NewTransport(s))}
		mailbox := s.Mailboxes()[0]
		time.Sleep(2 * time.Minute)
		var calls sync.WaitGroup
		for _, m := range s.Messages(mailbox)[:20] {
			calls.Go(func() {
				resp, err := client.Do(s.GetRequest(mailbox, m.ID).WithContext(engine.WithAccount(t.Context(), mailbox)))
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("status %d", resp.StatusCode)
				}
			})
		}
		calls.Wait()
		if c := oauth.Counts(); c.Refreshes != 1 || c.TokenReuses != 0 || c.Requests != 1 {
			t.Errorf("counts: %+v, want one refresh", c)
		}
	})
}

// A dead grant is the user's to renew; a dead endpoint is not.
func TestOAuthDead(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(o *enginetest.OAuth, account string)
		as   string
	}{
		{"revoked", func(o *enginetest.OAuth, account string) { o.Revoke(account) }, engine.AsNeedsUser},
		{"says so", func(o *enginetest.OAuth, _ string) { o.Outage(enginetest.GrantDead) }, engine.AsNeedsUser},
		{"unavailable", func(o *enginetest.OAuth, _ string) { o.Outage(enginetest.Unavailable) }, ""},
		{"connections are lost", func(o *enginetest.OAuth, _ string) { o.Outage(enginetest.ConnectionLost) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				oauth := enginetest.NewOAuth(enginetest.OAuthOptions{})
				defer oauth.Close()
				s := enginetest.NewIMAP(enginetest.Options{Faultless: true, OAuth: oauth})
				s.FailOnEarlyReturn(t)
				w := newIMAPWorker(t, s, oauth)
				tt.end(oauth, w.user)
				time.Sleep(2 * time.Hour) // the access token's life is over
				err := w.do(t.Context(), "AUTHENTICATE", func(*imapClient) error { return nil })
				gave, given := errors.AsType[*engine.GiveUpError](err)
				if later, ok := errors.AsType[*engine.DeferError](err); tt.as == "" && (!ok || later.Until.IsZero()) && (!given || gave.Decision.As == engine.AsNeedsUser) {
					t.Errorf("got %v, want it handed back", err)
				}
				if tt.as != "" && (!given || gave.Decision.As != tt.as) {
					t.Errorf("got %v, want it given up as %q", err, tt.as)
				}
			})
		})
	}
}
