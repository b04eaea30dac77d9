package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Tokens holds a worker's access tokens, one for each mailbox. Its methods fit the hooks of
// engine.Options, and are safe for concurrent use.
type Tokens struct {
	client   *http.Client
	accounts map[string]*accountToken
}

type accountToken struct {
	lock  chan struct{} // a lock; waiting for a mutex is not durably blocking for testing/synctest
	grant Grant
	// ask and parse make a request for new tokens, and read its answer.
	ask   func(Grant) *http.Request
	parse func(body []byte) (Grant, error)
}

// NewTokens issues a token for every mailbox of the servers, as an earlier run
// of the worker would have left behind. For a server with Options.OAuth they are
// that endpoint's, where they are refreshed, too.
func NewTokens(servers ...*Server) *Tokens {
	t := &Tokens{client: &http.Client{Transport: NewTransport(servers...)}, accounts: map[string]*accountToken{}}
	for _, s := range servers {
		for _, m := range s.names {
			if s.o.OAuth != nil {
				t.accounts[m] = s.o.OAuth.token(m)
				continue
			}
			t.accounts[m] = &accountToken{
				lock:  make(chan struct{}, 1),
				grant: Grant{Access: s.issue(m)},
				ask:   func(Grant) *http.Request { return s.tokenRequest(m) },
				parse: func(body []byte) (Grant, error) {
					access, err := s.parseToken(body)
					return Grant{Access: access}, err
				},
			}
		}
	}
	return t
}

// Tokens begins a grant for each of the accounts, as those of an IMAP or SMTP
// server, and refreshes their tokens at the endpoint.
func (s *OAuth) Tokens(accounts ...string) *Tokens {
	t := &Tokens{client: s.Client(), accounts: map[string]*accountToken{}}
	for _, a := range accounts {
		t.accounts[a] = s.token(a)
	}
	return t
}

func (s *OAuth) token(account string) *accountToken {
	return &accountToken{
		lock:  make(chan struct{}, 1),
		grant: s.Grant(account),
		ask:   func(g Grant) *http.Request { return s.RefreshRequest(g.Refresh) },
		parse: s.ParseGrant,
	}
}

func (t *Tokens) account(mailbox string) (*accountToken, error) {
	a := t.accounts[mailbox]
	if a == nil {
		return nil, fmt.Errorf("enginetest: no mailbox %q", mailbox)
	}
	return a, nil
}

// Access returns the mailbox's access token, as IMAP and SMTP need it. It waits while the
// token is being renewed. The error is that there is no such mailbox.
func (t *Tokens) Access(mailbox string) (string, error) {
	a, err := t.account(mailbox)
	if err != nil {
		return "", err
	}
	a.lock <- struct{}{}
	defer func() { <-a.lock }()
	return a.grant.Access, nil
}

// Authorize puts the mailbox's token on a request. It waits while the token is
// being renewed.
func (t *Tokens) Authorize(r *http.Request, mailbox string) error {
	access, err := t.Access(mailbox)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+access)
	return nil
}

// Renew gets a new token for the mailbox from the provider's token endpoint. What
// the endpoint refuses is an error whose fields tell how.
func (t *Tokens) Renew(ctx context.Context, mailbox string) error {
	a, err := t.account(mailbox)
	if err != nil {
		return err
	}
	a.lock <- struct{}{}
	defer func() { <-a.lock }()
	resp, err := t.client.Do(a.ask(a.grant).WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return &RefusedError{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}
	}
	g, err := a.parse(body)
	if err != nil {
		return err
	}
	a.grant = g
	return nil
}

// RefusedError is the error for an answer of a token endpoint that has no token. The engine
// reads its fields, as it reads those of the errors of OAuth libraries.
type RefusedError struct {
	StatusCode int
	Header     http.Header
	Body       []byte
}

func (e *RefusedError) Error() string {
	t, _ := unmarshal[tokens](e.Body) // what is not JSON has no code to show
	return fmt.Sprintf("enginetest: token endpoint: HTTP %d %s", e.StatusCode, t.Error)
}

// tokenRequest asks for a new access token. The mailbox's name serves as its refresh token.
func (s *Server) tokenRequest(mailbox string) *http.Request {
	return request(http.MethodPost, s.Host(), s.tokenPath(), nil, map[string]string{
		"grant_type": "refresh_token", "refresh_token": mailbox, "client_id": "worker", "client_secret": "none",
	})
}

// parseToken reads the answer to tokenRequest.
func (s *Server) parseToken(body []byte) (string, error) {
	t, err := unmarshal[struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}](body)
	if err == nil && t.Token == "" {
		err = fmt.Errorf("no token in it: %q", t.Error)
	}
	if err != nil {
		return "", fmt.Errorf("enginetest: token of %q: %w", s.Name(), err)
	}
	return t.Token, nil
}

// serveToken answers a refresh at the provider's token endpoint (RFC 6749, section 6).
func (s *Server) serveToken(w http.ResponseWriter, body []byte) {
	var ask map[string]string
	_ = json.Unmarshal(body, &ask) // what cannot be read names no mailbox, and is refused for that
	token := s.issue(ask["refresh_token"])
	if token == "" {
		write(w, answer{status: http.StatusBadRequest, body: map[string]string{
			"error": "invalid_grant", "error_description": "no such grant",
		}})
		return
	}
	write(w, answer{status: http.StatusOK, body: map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": 3600,
	}})
}

// issue makes a new access token for a mailbox and expires the one before. It
// is "" for an unknown mailbox.
func (s *Server) issue(mailbox string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[mailbox]
	if m == nil {
		return ""
	}
	if m.generation > 0 {
		s.refreshed++
	}
	m.generation++
	m.uses, m.issued = 0, time.Now()
	return s.token(m)
}

// token is the newest token of a mailbox.
func (s *Server) token(m *mailbox) string {
	return "fake-" + hexID(s.o.Seed, s.Name(), m.name, "token", strconv.Itoa(m.generation))
}

func (s *Server) tokenLife() int {
	switch {
	case s.o.TokenLife > 0:
		return s.o.TokenLife
	case s.o.TokenLife < 0:
		return 0
	}
	return s.limits().tokenLife
}

// authorizedLocked reports whether the request bears a token that is good. Where
// tokens never expire, any will do.
func (s *Server) authorizedLocked(m *mailbox, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.o.OAuth != nil {
		return ok && s.o.OAuth.good(m.name, token)
	}
	life := s.tokenLife()
	if life == 0 {
		return ok && token != ""
	}
	old := s.o.TokenLife > 0 || m.generation == 1 || time.Since(m.issued) >= s.limits().tokenAge
	if !ok || m.generation == 0 || token != s.token(m) || m.uses >= life && old {
		return false
	}
	m.uses++
	return true
}
