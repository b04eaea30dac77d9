package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/limiter"
)

// builtinEngine has the built-in packs.
func builtinEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nothingLeft(t, e) })
	return e
}

const (
	gmailURL    = "https://gmail.googleapis.com/gmail/v1/users/me/messages/1"
	calendarURL = "https://www.googleapis.com/calendar/v3/calendars/primary/events"
	unknownAPI  = "https://api.example.com/x"
	unknownIdP  = "https://idp.example.com/oauth/token"
)

// fetch is one request of an account, and how it ended.
func fetch(t testing.TB, tr http.RoundTripper, account, url string) string {
	req, err := http.NewRequestWithContext(WithAccount(t.Context(), account), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ending(tr.RoundTrip(req))
}

// answers is a base whose answer to a request is a status.
func answers(f func(*http.Request) int) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: f(req), Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	})
}

// isSpent reports whether an account's refresh token may be spent.
func isSpent(t testing.TB, e *Engine, provider, account string) bool {
	p, err := e.Provider(provider)
	if err != nil {
		t.Fatal(err)
	}
	failure := credentialOf(p, account).Failure
	return failure != nil && failure.Spent
}

// credentialOf is what is known of an account's credential.
func credentialOf(p *Provider, account string) credential.State {
	for state := range p.credentials.All() {
		if state.Key == p.credentialKey(account) {
			return state
		}
	}
	return credential.State{}
}

// refused401 is what Do's function returns for a refused token.
func refused401(context.Context) error { return &ResponseError{Status: 401} }

// Calls of one credential share its refreshes, whatever their provider and
// account; without a Credential, and for whom it names none, each has its own.
func TestCredential(t *testing.T) {
	grant := func(provider, account string) string {
		if provider == "gmail" || provider == "google_calendar" {
			return "google/" + strings.TrimSuffix(account, "@example.com")
		}
		return ""
	}
	for _, tt := range []struct {
		name       string
		credential func(provider, account string) string
		want       []string
	}{
		{"none", nil, []string{"gmail a", "gmail b", "google_calendar a", "google_calendar a@example.com", "http a"}},
		{"one of Google's", grant, []string{"google a", "google b", "http a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var ran []string
				inside, fresh := map[string]int{}, map[string]bool{}
				name := func(provider, account string) string {
					if tt.credential != nil && tt.credential(provider, account) != "" {
						return strings.ReplaceAll(tt.credential(provider, account), "/", " ")
					}
					return provider + " " + account
				}
				e := builtinEngine(t, Options{Reauth: Reauth{Credential: tt.credential, Refresh: func(_ context.Context, r ReauthRequest) error {
					who := name(r.Provider, r.Account)
					mu.Lock()
					ran = append(ran, who)
					if inside[who]++; inside[who] > 1 {
						t.Errorf("%s: two refreshes at once", who)
					}
					mu.Unlock()
					time.Sleep(time.Second)
					mu.Lock()
					inside[who]--
					fresh[who] = true
					mu.Unlock()
					return nil
				}}})
				tr := e.Transport(answers(func(req *http.Request) int {
					provider := map[string]string{"gmail.googleapis.com": "gmail", "www.googleapis.com": "google_calendar", "api.example.com": "http"}[req.URL.Host]
					mu.Lock()
					defer mu.Unlock()
					if fresh[name(provider, callFrom(req.Context()).Account)] {
						return 200
					}
					return 401
				}))
				var wg sync.WaitGroup
				for _, c := range [][2]string{{gmailURL, "a"}, {calendarURL, "a"}, {calendarURL, "a@example.com"}, {gmailURL, "b"}, {unknownAPI, "a"}} {
					for range 3 {
						wg.Go(func() {
							if got := fetch(t, tr, c[1], c[0]); got != "200" {
								t.Errorf("%s of %s: %s", c[0], c[1], got)
							}
						})
					}
				}
				wg.Wait()
				slices.Sort(ran)
				if !slices.Equal(ran, tt.want) {
					t.Errorf("refreshed %q, want %q", ran, tt.want)
				}
			})
		})
	}
}

// What a failed refresh means, Renewed and a success are the credential's too.
func TestCredentialFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, sent, good := 0, map[string]int{}, map[string]bool{}
		e := builtinEngine(t, Options{
			Reauth: Reauth{Credential: func(_, account string) string { return account },
				Refresh: func(context.Context, ReauthRequest) error {
					runs++
					return &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: errors.New("invalid_grant")}
				}},
		})
		tr := e.Transport(answers(func(req *http.Request) int {
			sent[req.URL.Host]++
			if good[req.URL.Host] {
				return 200
			}
			return 401
		}))
		want := func(what, url, ends string, requests, refreshes int) {
			t.Helper()
			n, r := sent["gmail.googleapis.com"]+sent["www.googleapis.com"], runs
			if got := fetch(t, tr, "a", url); got != ends {
				t.Errorf("%s: ended as %q, want %q", what, got, ends)
			}
			if n, r := sent["gmail.googleapis.com"]+sent["www.googleapis.com"]-n, runs-r; n != requests || r != refreshes {
				t.Errorf("%s: %d requests and %d refreshes, want %d and %d", what, n, r, requests, refreshes)
			}
		}
		want("the refused call", gmailURL, AsNeedsUser, 1, 1)
		want("one of another provider", calendarURL, AsNeedsUser, 0, 0)
		if got := fetch(t, tr, "b", unknownAPI); got != AsNeedsUser || runs != 2 {
			t.Errorf("another account: %q after %d refreshes", got, runs)
		}
		p, _ := e.Provider("google_calendar")
		good["gmail.googleapis.com"], good["www.googleapis.com"] = true, true
		p.Renewed("a")
		want("after Renewed at the other provider", gmailURL, "200", 1, 0)

		// An access token that the other provider still takes proves nothing.
		good["gmail.googleapis.com"] = false
		want("the next one refused", gmailURL, AsNeedsUser, 1, 1)
		time.Sleep(31 * time.Second)
		want("a success elsewhere", calendarURL, "200", 1, 0)
		if c := credentialOf(p, "a"); c.Failure == nil || c.Failures != 1 {
			t.Errorf("a success at another provider undid the failure")
		}
		good["gmail.googleapis.com"] = true
		want("a success of its own", gmailURL, "200", 1, 0)
		if c := credentialOf(p, "a"); c.Failure != nil {
			t.Errorf("a success left the failure %v", c.Failure.Err)
		}
	})
}

// While nobody's credential is in backoff, Credential is not asked.
func TestCredentialIsNotAskedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		e := builtinEngine(t, Options{
			Reauth: Reauth{Credential: func(provider, account string) string { asked++; return account },
				Refresh: func(context.Context, ReauthRequest) error { return nil }},
		})
		tr := e.Transport(answers(func(*http.Request) int { return 200 }))
		for range 10 {
			fetch(t, tr, "a", gmailURL)
		}
		if asked != 0 {
			t.Errorf("asked %d times by calls that succeed", asked)
		}
	})
}

// A Credential that panics loses no permit.
func TestCredentialPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		panics := int32(1 << 30)
		e := testEngine(t, Options{
			Reauth: Reauth{Credential: func(provider, account string) string {
				if asked.Add(1) >= panics {
					panic("credential")
				}
				return account
			},
				Refresh: func(context.Context, ReauthRequest) error { return errors.New("no") }},
		})
		e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}, refused401)
		for n := range int32(4) { // before its permit, after it, and after the attempt
			panics = asked.Load() + 1 + n
			func() {
				defer func() { _ = recover() }()
				e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "b"}}, func(context.Context) error { return nil })
			}()
		}
	})
}

// A failure of the hook's own store is not one of the token endpoint: nothing is
// spent, nobody is disconnected, and it is tried again.
func TestReauthHookStoreFails(t *testing.T) {
	dial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		err  error
		ends string // "200" = after a wait
	}{
		{io.EOF, "200"},
		{context.DeadlineExceeded, "200"},
		{context.Canceled, "200"},
		{fmt.Errorf("redis: %w", io.ErrUnexpectedEOF), "200"},
		{fmt.Errorf("postgres: %w", dial), "200"},
		{errors.New("redis: read tcp 10.0.0.1:6379: i/o timeout"), "200"},
		{errors.New("the vault is sealed"), AsPermanent},

		// These say that it was the endpoint, and whether it has had the request.
		{&url.Error{Op: "Post", URL: unknownIdP, Err: io.ErrUnexpectedEOF}, AsAmbiguous},
		{fmt.Errorf("refresh: %w", &url.Error{Op: "Post", URL: unknownIdP, Err: context.DeadlineExceeded}), AsAmbiguous},
		{&url.Error{Op: "Post", URL: unknownIdP, Err: dial}, "200"},
		{errors.New("oauth2: cannot fetch token: read tcp 10.0.0.2:443: connection reset by peer"), AsAmbiguous}, // all that x/oauth2 leaves
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				runs := 0
				e := builtinEngine(t, Options{Authorize: s.put, Rand: func() float64 { return 0 }, Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
					if runs++; runs == 1 {
						return tt.err
					}
					s.renew(r.Account)
					return nil
				}}})
				start := time.Now()
				got := s.do(t, e.Transport(s), Call{Provider: "gmail", Keys: limiter.Keys{Account: "a"}})
				if got != tt.ends || got == "200" && time.Since(start).Round(time.Second) != 30*time.Second {
					t.Errorf("ended as %q after %v, want %q", got, time.Since(start), tt.ends)
				}
				if spent := isSpent(t, e, "gmail", "a"); spent != (tt.ends == AsAmbiguous) {
					t.Errorf("spent: %v", spent)
				}
			})
		})
	}
}

// The same holds for the Authorize hook, for the one call.
func TestAuthorizeHookStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		e := builtinEngine(t, Options{Authorize: func(*http.Request, string) error {
			if n++; n == 1 {
				return fmt.Errorf("redis: %w", io.EOF)
			}
			return nil
		}})
		req := request(t, t.Context(), "POST", "/send", "mail")
		req = req.WithContext(WithCall(t.Context(), Call{Provider: "gmail", Keys: limiter.Keys{Operation: "messages.send", Account: "a"}}))
		if got := ending(e.Transport(newServer()).RoundTrip(req)); got != "200" || n != 2 {
			t.Errorf("ended as %q after %d times", got, n)
		}
	})
}

// New credentials that come while a refresh is under way end the wait for it,
// and its failure is one of the old ones.
func TestRenewedDuringRefresh(t *testing.T) {
	for name, hook := range map[string]func(context.Context) error{
		"that fails":        func(context.Context) error { time.Sleep(10 * time.Second); return errors.New("invalid_grant") },
		"that is late":      func(context.Context) error { time.Sleep(10 * time.Minute); return errors.New("invalid_grant") },
		"that succeeds too": func(context.Context) error { time.Sleep(10 * time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &tokens{good: 1}
				var runs atomic.Int32
				e := testEngine(t, Options{Authorize: s.put, MaxInline: time.Second, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
					runs.Add(1)
					err := hook(ctx)
					if r.Event.Status != 401 { // the call is long over
						t.Errorf("the hook's event has become %+v", r.Event)
					}
					return err
				}}})
				p, _ := e.Provider("test")
				tr := e.Transport(s)
				time.AfterFunc(5*time.Second, func() {
					s.renew("a")
					p.Renewed("a")
				})
				start := time.Now()
				if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != "200" || time.Since(start) > 6*time.Second {
					t.Errorf("the call that waited: %s after %v", got, time.Since(start))
				}
				for time.Since(start) < 11*time.Minute {
					if got := s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}}); got != "200" {
						t.Errorf("a call %v later: %s", time.Since(start), got)
					}
					time.Sleep(500 * time.Millisecond)
				}
				if n := p.credentials.InBackoff(); n != 0 || runs.Load() != 1 {
					t.Errorf("%d credentials in backoff after %d refreshes", n, runs.Load())
				}
			})
		})
	}
}

// A refusal of what was sent before Renewed is one of old credentials, also
// while the refresh of those still runs.
func TestRenewedBeforeTheRefusalCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var renewed atomic.Bool
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			time.Sleep(50 * time.Second)
			return nil
		}}})
		p, _ := e.Provider("test")
		time.AfterFunc(5*time.Second, func() {
			renewed.Store(true)
			p.Renewed("a")
		})
		var wg sync.WaitGroup
		for _, took := range []time.Duration{0, 10 * time.Second} {
			wg.Go(func() {
				start := time.Now()
				err := p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "a"}}, func(context.Context) error {
					had := renewed.Load()
					time.Sleep(took)
					if !had {
						return &ResponseError{Status: 401}
					}
					return nil
				})
				if since := time.Since(start); err != nil || since > 20*time.Second {
					t.Errorf("refused after %v, ended with %v after %v", took, err, since)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
	})
}

// Credentials that are refused while the refresh of older ones still runs wait
// for it, and then get a refresh of their own.
func TestRenewedAndRefusedDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		var runs, most, inside atomic.Int32
		e := testEngine(t, Options{Authorize: s.put, Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
			most.Store(max(most.Load(), inside.Add(1)))
			defer inside.Add(-1)
			time.Sleep(10 * time.Second)
			if runs.Add(1) == 1 {
				return errors.New("invalid_grant")
			}
			s.renew(r.Account)
			return nil
		}}})
		p, _ := e.Provider("test")
		time.AfterFunc(5*time.Second, func() { p.Renewed("a") }) // with credentials that are no good
		start := time.Now()
		if got := s.do(t, e.Transport(s), Call{Keys: limiter.Keys{Account: "a"}}); got != "200" || runs.Load() != 2 || most.Load() != 1 {
			t.Errorf("ended as %s after %v, %d refreshes, %d at once", got, time.Since(start), runs.Load(), most.Load())
		}
	})
}

// sessionYAML is an API that has a request for tokens of its own.
const sessionYAML = `
version: 1
provider: test
operations: [{method: POST, path: /session, operation: session.renew, token: true}]
rules: [{name: token, when: 'status == 401 and operation != "session.renew"', action: reauth}]
default: fail
`

func (wrapsNil) Error() string { return "wraps" }

func (wrapsNil) Unwrap() error { return (*url.Error)(nil) }

func (wrapsItself) Error() string { return "wraps" }
