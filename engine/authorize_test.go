package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// web is a base that answers by URL: with a redirect, or whether there were
// credentials.
type web struct {
	redirects map[string]string
	refuse    map[string]bool // hosts that answer 401
	seen      []string        // host and Authorization of each request
}

func (w *web) RoundTrip(req *http.Request) (*http.Response, error) {
	w.seen = append(w.seen, strings.TrimSpace(req.URL.Scheme+"://"+req.URL.Host+" "+req.Header.Get("Authorization")))
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}
	if to := w.redirects[req.URL.String()]; to != "" {
		resp.StatusCode = 302
		resp.Header.Set("Location", to)
	} else if w.refuse[req.URL.Hostname()] {
		resp.StatusCode = 401
	}
	return resp, nil
}

const redirectYAML = `
version: 1
provider: api
match: [{host: api.test}, {host: cdn.test, path: /files/**}, {host: "*.pods.test"}]
backoff: {default: {initial: 1s, min: 1s, max: 1s, attempts: 2}}
rules:
  - {name: token, when: status == 401, action: reauth}
default: fail
`

// Credentials go to the first request's host, and on redirects nowhere else but
// where the policy says that the host is the provider's.
func TestAuthorizeFollowsNoStranger(t *testing.T) {
	for _, tt := range []struct {
		name     string
		provider string // that the call names
		chain    []string
		want     []bool // which of them get credentials
	}{
		{"a claimed host", "", []string{"https://api.test/1"}, []bool{true}},
		{"an unclaimed host", "", []string{"https://dav.example.net/1"}, []bool{false}},
		{"an unclaimed host of a named provider", "api", []string{"https://dav.example.net/1"}, []bool{true}},
		{"an unclaimed host, by the fallback's name", "http", []string{"https://dav.example.net/1"}, []bool{true}},
		{"a path that is not claimed", "", []string{"https://cdn.test/other"}, []bool{true}},
		{"the same host", "", []string{"https://api.test/1", "https://api.test/2"}, []bool{true, true}},
		{"another port", "", []string{"https://api.test/1", "https://api.test:8443/2"}, []bool{true, true}},
		{"a subdomain", "", []string{"https://api.test/1", "https://eu.api.test/2"}, []bool{true, true}},
		{"a subdomain by its name only", "", []string{"https://api.test/1", "https://evil-api.test/2"}, []bool{true, false}},
		{"the domain above", "", []string{"https://a.pods.test/1", "https://pods.test/2"}, []bool{true, false}},
		{"a stranger", "", []string{"https://api.test/1", "https://evil.example/2"}, []bool{true, false}},
		{"a stranger, of a named provider", "api", []string{"https://api.test/1", "https://evil.example/2"}, []bool{true, false}},
		{"a stranger with the host in its user", "", []string{"https://api.test/1", "https://api.test@evil.example/2"}, []bool{true, false}},
		{"over a stranger and back", "", []string{"https://api.test/1", "https://evil.example/2", "https://api.test/3"}, []bool{true, false, true}},
		{"from a stranger", "", []string{"https://evil.example/1", "https://api.test/2"}, []bool{false, false}},
		{"a host that the policy claims", "", []string{"https://api.test/1", "https://cdn.test/files/2"}, []bool{true, true}},
		{"a wildcard that the policy claims", "api", []string{"https://dav.example.net/1", "https://b.pods.test/2"}, []bool{true, true}},
		{"a host that another policy claims", "", []string{"https://api.test/1", "https://gmail.googleapis.com/gmail/v1/users/me/messages/1"}, []bool{true, false}},
		{"out of TLS", "", []string{"https://api.test/1", "http://api.test/2"}, []bool{true, false}},
		{"self-hosted, to itself", "api", []string{"https://dav.example.net/1", "https://dav.example.net/2"}, []bool{true, true}},
		{"self-hosted, to a stranger", "api", []string{"https://dav.example.net/1", "https://evil.example/2"}, []bool{true, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, diags := policy.Load([]policy.File{{Name: "api.yaml", Data: []byte(redirectYAML)}}, policy.LoadOptions{Over: policy.Builtin()})
			if set == nil {
				t.Fatal(diags)
			}
			w := &web{redirects: map[string]string{}}
			for i, u := range tt.chain[1:] {
				w.redirects[tt.chain[i]] = u
			}
			e := builtinEngine(t, Options{Policies: set, Authorize: func(req *http.Request, account string) error {
				req.Header.Set("Authorization", ProviderOf(req.Context())+"/"+account)
				return nil
			}})
			ctx := WithCall(t.Context(), Call{Provider: tt.provider, Keys: limiter.Keys{Account: "ann"}})
			req, _ := http.NewRequestWithContext(ctx, "GET", tt.chain[0], nil)
			resp, err := (&http.Client{Transport: e.Transport(w)}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			var got []bool
			for _, seen := range w.seen {
				got = append(got, strings.HasSuffix(seen, "/ann"))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("credentials went %v, want %v: %q", got, tt.want, w.seen)
			}
			if provider := tt.provider; tt.want[0] {
				if provider == "" {
					provider = "api"
				}
				if strings.Contains(tt.chain[0], "/other") {
					provider = "http" // by which the call is decided
				}
				if !strings.HasSuffix(w.seen[0], " "+provider+"/ann") {
					t.Errorf("the hook was not told the provider %q: %q", provider, w.seen)
				}
			}
		})
	}
}

// What a stranger refuses says nothing about the account's credentials.
func TestStrangersRefusal(t *testing.T) {
	set, _ := policy.Load([]policy.File{{Name: "api.yaml", Data: []byte(redirectYAML)}}, policy.LoadOptions{Over: policy.Builtin()})
	put := func(req *http.Request, _ string) error { req.Header.Set("Authorization", "Bearer x"); return nil }
	for _, tt := range []struct {
		name      string
		provider  string
		authorize func(*http.Request, string) error
		from, to  string
	}{
		{"a redirect", "", put, "https://api.test/1", "https://evil.example/2"},
		{"a redirect of a named provider", "api", put, "https://dav.example.net/1", "https://evil.example/2"},
		{"a redirect, the credentials are base's", "api", nil, "https://api.test/1", "https://evil.example/2"},
		{"a first request", "", put, "https://evil.example/1", ""},
	} {
		for _, way := range []string{"Transport", "Do"} {
			if way == "Do" && tt.to == "" {
				continue // the call names its provider
			}
			t.Run(way+"/"+tt.name, func(t *testing.T) {
				n := 0
				e := builtinEngine(t, Options{Policies: set, Authorize: tt.authorize, Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { n++; return nil }}})
				w := &web{redirects: map[string]string{tt.from: tt.to}, refuse: map[string]bool{"evil.example": true}}
				ctx := WithCall(t.Context(), Call{Provider: tt.provider, Keys: limiter.Keys{Account: "ann"}})
				var d Decision
				if way == "Transport" {
					req, _ := http.NewRequestWithContext(ctx, "GET", tt.from, nil)
					resp, err := (&http.Client{Transport: e.Transport(w)}).Do(req)
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					out, _ := Outcome(resp)
					d = out.Decision
				} else {
					err := e.Do(t.Context(), Call{Provider: "api", Keys: limiter.Keys{Account: "ann"}}, func(ctx context.Context) error {
						req, _ := http.NewRequestWithContext(ctx, "GET", tt.from, nil)
						resp, err := (&http.Client{Transport: w}).Do(req)
						if err != nil {
							return err
						}
						defer resp.Body.Close()
						return e.CheckResponse(ctx, resp)
					})
					gave, _ := errors.AsType[*GiveUpError](err)
					if gave == nil {
						t.Fatal(err)
					}
					d = gave.Decision
				}
				if d.As != AsPermanent || d.Reason != decision.ReasonForeign || n != 0 {
					t.Errorf("ended as %q (%v) after %d refreshes, want permanent after none", d.As, d.Reason, n)
				}
			})
		}
	}
}

// A refresh is told once, however many calls wait for it, and their waiting
// beside it.
func TestRefreshIsToldOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		fail error
	}{{"a refresh", nil}, {"one that fails", errors.New("no")}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				got := map[NoticeKind]int{}
				var log bytes.Buffer
				logger := LogObserver(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
				s := &tokens{good: 1}
				e := testEngine(t, Options{Authorize: s.put, Observer: ObserverFunc(func(ctx context.Context, n *Notice) {
					mu.Lock()
					defer mu.Unlock()
					logger.Observe(ctx, n)
					if n.Kind != NoticeReauth && n.Kind != NoticeReauthWait {
						return
					}
					got[n.Kind]++
					if n.Duration < time.Second/2 || n.Duration > time.Second || (n.Err != nil) != (tt.fail != nil) || n.Provider != "test" || n.Account != "a" || n.Event == nil {
						t.Errorf("told %+v", n)
					}
				}), Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
					time.Sleep(time.Second)
					s.renew(r.Account)
					return tt.fail
				}}})
				tr := e.Transport(s)
				var wg sync.WaitGroup
				for i := range 50 {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * 5 * time.Millisecond)
						s.do(t, tr, Call{Keys: limiter.Keys{Account: "a"}})
					})
				}
				wg.Wait()
				if want := map[NoticeKind]int{NoticeReauth: 1, NoticeReauthWait: 49}; fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("told %v, want %v", got, want)
				}
				if n := strings.Count(log.String(), `msg=re-authenticated`); tt.fail == nil && n != 1 {
					t.Errorf("logged %d times, want once", n)
				}
			})
		})
	}
}

// A refresh whose call has gone away is told too.
func TestRefreshOfNobodyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := &tokens{good: 1}
		ctx, cancel := context.WithCancel(t.Context())
		e := testEngine(t, Options{Authorize: s.put, Observer: ObserverFunc(func(_ context.Context, got *Notice) {
			if got.Kind == NoticeReauth && got.Err == nil {
				n++
			}
		}), Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			cancel()
			time.Sleep(time.Second)
			return nil
		}}})
		req := request(t, ctx, "GET", "/items/1", "")
		if got := ending(e.Transport(s).RoundTrip(req)); got != AsCanceled {
			t.Errorf("ended as %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n != 1 {
			t.Errorf("told %d times, want once", n)
		}
	})
}

// The hook that is asked what it would give now is not given the body.
func TestReplacedKeepsTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &tokens{good: 1}
		e := testEngine(t, Options{Authorize: func(req *http.Request, account string) error {
			if req.Body != nil {
				io.Copy(io.Discard, req.Body) // as a signature may
				req.Body, _ = req.GetBody()
			}
			return s.put(req, account)
		}})
		bodies := 0
		tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			if b, _ := io.ReadAll(req.Body); string(b) != "mail" {
				t.Errorf("sent %q", b)
			}
			bodies++
			resp, err := s.RoundTrip(req)
			s.renew("a") // by another process
			return resp, err
		}))
		req := request(t, t.Context(), "PUT", "/items/1", "mail")
		if got := ending(tr.RoundTrip(req)); got != "200" || bodies != 2 {
			t.Errorf("ended as %q after %d requests, want 200 after 2", got, bodies)
		}
	})
}
