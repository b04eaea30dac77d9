package enginetest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// OAuthOptions configure a token endpoint. The zero value is usable: refresh
// tokens are single-use.
type OAuthOptions struct {
	Seed       uint64        // decides the tokens
	Latency    time.Duration // an answer takes from 0.5 to 1.5 times this; 0 = 20 ms
	AccessLife time.Duration // how long an access token is good; 0 = an hour
	// Reusable lets a refresh token be used any number of times. Otherwise each can be
	// used once, and the answer brings the next one (RFC 6749, section 6).
	Reusable bool
	// RevokeOnReuse revokes a grant with all its tokens when one of its used refresh
	// tokens is presented again (RFC 9700, section 4.14.2). Otherwise such a token is
	// only refused.
	RevokeOnReuse bool
}

// OAuth is a fake OAuth 2.0 token endpoint, which refreshes tokens and counts how often each
// was presented. It is safe for concurrent use.
//
// It knows the faults Throttled, which closes the endpoint until the time that it names,
// Overloaded, Unavailable, ServerError, GrantDead, Slow, ConnectionLost, ReplyLost and
// FailedLate. After the last two the refresh token is used up, and the client does not have
// its successor.
type OAuth struct {
	o OAuthOptions
	moments
	net listeners

	mu        sync.Mutex
	grants    []*grant
	refresh   map[string]*refreshToken
	access    map[string]*accessToken
	presented map[string]int // by token, also of tokens that were never issued
	strange   int            // those of them
	scripted  scripted
	refusals  refusals
	named     []*refusal
	until     time.Time // throttled
	counts    Counts
}

// Grant holds the tokens that an account's consent, or a refresh, has brought.
type Grant struct {
	Access, Refresh string
	Expires         time.Time // of Access
}

// grant is one consent of an account, to which all tokens refreshed from it belong.
type grant struct {
	account string
	number  int
	issued  int // generation of the newest tokens
	revoked bool
}

type refreshToken struct {
	grant *grant
	used  bool
}

type accessToken struct {
	grant   *grant
	expires time.Time
}

// NewOAuth returns a token endpoint at https://oauth.example/token, which refreshes tokens as
// RFC 6749, section 6 describes. A Transport reaches it in plain HTTP.
func NewOAuth(o OAuthOptions) *OAuth {
	if o.Latency <= 0 {
		o.Latency = defaultLatency
	}
	if o.AccessLife <= 0 {
		o.AccessLife = time.Hour
	}
	s := &OAuth{o: o, refresh: map[string]*refreshToken{}, access: map[string]*accessToken{}, presented: map[string]int{}}
	s.counts.Refused = map[Fault]int{}
	s.refusals.reset()
	s.net.handle(s.answer)
	return s
}

// Host is the host name under which clients know the endpoint.
func (s *OAuth) Host() string { return "oauth.example" }

// Client returns a client that reaches the endpoint, and nothing else.
func (s *OAuth) Client() *http.Client {
	t := NewTransport()
	t.servers[s.Host()] = s
	return &http.Client{Transport: t}
}

// Listen makes the endpoint listen on a port of the loopback interface too, and
// returns its address, such as "127.0.0.1:40123".
func (s *OAuth) Listen() (address string, err error) { return s.net.listen(s.Host()) }

// Close stops the endpoint at once, with the connections that are still open.
// Requests that come later fail.
func (s *OAuth) Close() { s.net.close() }

func (s *OAuth) dial(ctx context.Context) (net.Conn, error) { return s.net.dial(ctx) }

func (s *OAuth) finished(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals.finish(id, s.moment())
}

// FailOnEarlyReturn closes the endpoint when the test ends, and then fails the
// test if a client came back early: if it sent a request after it had read that
// the endpoint is throttled, and before the time that was named.
func (s *OAuth) FailOnEarlyReturn(tb TB) {
	tb.Helper()
	s.refusals.failOnEarlyReturn(tb, s.Host(), &s.mu, s.Close)
}

// Inject makes the next requests fail with these faults, one fault for each request, in order.
func (s *OAuth) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripted.inject("", faults)
}

// Outage makes every request fail with f, until Outage("") ends it.
func (s *OAuth) Outage(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scripted.outage = f
}

// Grant returns the tokens of a new grant of an account, such as an earlier run of a worker
// would have saved.
func (s *OAuth) Grant(account string) Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &grant{account: account, number: len(s.grants) + 1}
	s.grants = append(s.grants, g)
	return s.issueLocked(g, "")
}

// issueLocked makes new tokens of a grant. refresh is the refresh token to keep; "" = a new one.
func (s *OAuth) issueLocked(g *grant, refresh string) Grant {
	g.issued++
	id := func(kind string) string {
		return kind + "-" + hexID(s.o.Seed, g.account, kind, strconv.Itoa(g.number), strconv.Itoa(g.issued))
	}
	t := Grant{Access: id("access"), Refresh: refresh, Expires: time.Now().Add(s.o.AccessLife)}
	if t.Refresh == "" {
		t.Refresh = id("refresh")
		s.refresh[t.Refresh] = &refreshToken{grant: g}
	}
	s.access[t.Access] = &accessToken{grant: g, expires: t.Expires}
	return t
}

// Revoke ends every grant of an account, as its user would.
func (s *OAuth) Revoke(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		if g.account == account {
			g.revoked = true
		}
	}
}

// Presented returns how often a refresh token was presented to the endpoint.
func (s *OAuth) Presented(refresh string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.presented[refresh]
}

// Counts returns what the endpoint saw since it was made.
func (s *OAuth) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Refused = maps.Clone(c.Refused)
	c.EarlyReturns = s.refusals.early
	return c
}

// good reports whether an access token is an account's, and has not expired.
func (s *OAuth) good(account, access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.access[access]
	return t != nil && t.grant.account == account && !t.grant.revoked && time.Now().Before(t.expires)
}

// RefreshRequest asks the endpoint for new tokens.
func (s *OAuth) RefreshRequest(refresh string) *http.Request {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {"worker"}, "client_secret": {"none"}}
	r := request(http.MethodPost, s.Host(), "/token", nil, nil)
	body := form.Encode()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	return r
}

// ParseGrant reads the answer to RefreshRequest. An answer without tokens is an error.
func (s *OAuth) ParseGrant(body []byte) (Grant, error) {
	t, err := unmarshal[tokens](body)
	if err == nil && (t.Access == "" || t.Refresh == "") {
		err = fmt.Errorf("no tokens in it: %q", t.Error)
	}
	if err != nil {
		return Grant{}, fmt.Errorf("enginetest: grant: %w", err)
	}
	return Grant{Access: t.Access, Refresh: t.Refresh, Expires: time.Now().Add(time.Duration(t.Life) * time.Second)}, nil
}

// tokens is the answer to a refresh (RFC 6749, sections 5.1 and 5.2).
type tokens struct {
	Access      string `json:"access_token,omitempty"`
	Refresh     string `json:"refresh_token,omitempty"`
	Type        string `json:"token_type,omitempty"`
	Life        int64  `json:"expires_in,omitempty"` // seconds
	Error       string `json:"error,omitempty"`
	Description string `json:"error_description,omitempty"`
}

// answer answers a request as a token endpoint would.
func (s *OAuth) answer(w http.ResponseWriter, r *http.Request) {
	if id, read, ok := finishedThere(r); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refusals.finish(id, read)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	form, err2 := url.ParseQuery(string(body))
	if err != nil || err2 != nil || r.Method != http.MethodPost || r.URL.Path != "/token" {
		write(w, answer{status: http.StatusBadRequest, body: tokens{Error: "invalid_request"}})
		return
	}
	s.mu.Lock()
	s.counts.Requests++
	if sent, ok := parseMoment(r.Header.Get(sentHeader)); ok {
		s.refusals.count(&s.named, sent, "refresh")
	}
	v := s.decideLocked(form)
	takes := latency(s.o.Latency, chance(s.o.Seed, "latency", strconv.Itoa(s.counts.Requests)))
	s.mu.Unlock()

	if v.slow {
		takes += slowness
	}
	if !pause(r.Context().Done(), takes) {
		return
	}
	if v.lost {
		hangUp(w)
		return
	}
	if v.refusal != 0 {
		w.Header().Set(refusalHeader, strconv.FormatInt(v.refusal, 10))
	}
	write(w, v.answer)
}

// oauthRefusals are the answers to the faults for which a request is refused and nothing else
// happens.
var oauthRefusals = map[Fault]struct {
	status            int
	code, description string
}{
	Throttled:   {http.StatusTooManyRequests, "temporarily_unavailable", "Too many requests."},
	Overloaded:  {http.StatusTooManyRequests, "temporarily_unavailable", "Too many requests."},
	Unavailable: {http.StatusServiceUnavailable, "temporarily_unavailable", ""},
	ServerError: {http.StatusInternalServerError, "server_error", ""},
	FailedLate:  {http.StatusInternalServerError, "server_error", ""},
	GrantDead:   {http.StatusBadRequest, "invalid_grant", "The grant has been revoked."},
}

// refuseLocked refuses a request because of a fault. A fault that the endpoint does not have is
// a bad request.
func (s *OAuth) refuseLocked(why Fault) verdict {
	a, ok := oauthRefusals[why]
	if !ok {
		a.status, a.code = http.StatusBadRequest, "invalid_request"
	}
	s.counts.Refused[why]++
	return verdict{answer: answer{status: a.status, body: tokens{Error: a.code, Description: a.description}}}
}

// throttleLocked refuses a request, and names the time until which the endpoint is throttled.
func (s *OAuth) throttleLocked(now time.Time) verdict {
	header, named := wait{now: now, until: s.until}.seconds()
	v := s.refuseLocked(Throttled)
	v.header = map[string]string{"Retry-After": header}
	v.refusal = s.refusals.add(&s.named, named)
	s.until = named
	return v
}

// decideLocked says how a request is answered.
func (s *OAuth) decideLocked(form url.Values) verdict {
	now := time.Now()
	if now.Before(s.until) {
		return s.throttleLocked(now)
	}
	fault, _ := s.scripted.next("", func(Fault) bool { return true })
	switch fault {
	case Throttled:
		s.until = now.Add(throttleTime)
		return s.throttleLocked(now)
	case ConnectionLost:
		return verdict{lost: true}
	case "", Slow, ReplyLost, FailedLate: // the refresh token is used up
	default:
		return s.refuseLocked(fault)
	}

	v := s.spendLocked(form.Get("grant_type"), form.Get("refresh_token"))
	switch {
	case fault == Slow:
		v.slow = true
	case v.status != http.StatusOK:
	case fault == ReplyLost:
		s.counts.RepliesLost++
		v.lost = true
	case fault == FailedLate:
		v = s.refuseLocked(fault)
	}
	return v
}

// maxStrange bounds the tokens that the endpoint never issued and yet counts.
const maxStrange = 1000

// spendLocked gives new tokens for a refresh token.
func (s *OAuth) spendLocked(grantType, refresh string) verdict {
	refuse := func(code, description string) verdict {
		s.counts.Refused[GrantDead]++
		return verdict{answer: answer{status: http.StatusBadRequest, body: tokens{Error: code, Description: description}}}
	}
	if grantType != "refresh_token" {
		return verdict{answer: answer{status: http.StatusBadRequest, body: tokens{Error: "unsupported_grant_type"}}}
	}
	t := s.refresh[refresh]
	if t == nil {
		if _, ok := s.presented[refresh]; ok || s.strange < maxStrange {
			if !ok {
				s.strange++
			}
			s.presented[refresh]++
		}
		return refuse("invalid_grant", "The refresh token is unknown.")
	}
	s.presented[refresh]++
	switch {
	case t.grant.revoked:
		return refuse("invalid_grant", "The grant has been revoked.")
	case t.used:
		s.counts.TokenReuses++
		if s.o.RevokeOnReuse {
			t.grant.revoked = true
			s.counts.GrantsRevoked++
		}
		return refuse("invalid_grant", "The refresh token has been used.")
	}
	next := refresh
	if !s.o.Reusable {
		t.used, next = true, ""
	}
	g := s.issueLocked(t.grant, next)
	s.counts.Refreshes++
	return verdict{answer: answer{status: http.StatusOK, body: tokens{
		Access: g.Access, Refresh: g.Refresh, Type: "Bearer", Life: int64((s.o.AccessLife + time.Second - 1) / time.Second),
	}}}
}
