package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Tokens are a worker's access tokens, one a mailbox. Its methods fit the hooks
// of engine.Options, and are safe for concurrent use.
type Tokens struct {
	client   *http.Client
	accounts map[string]*accountToken
}

type accountToken struct {
	server *Server
	mu     sync.Mutex
	value  string
}

// NewTokens issues a token for every mailbox of the servers, as an earlier run
// of the worker would have left behind.
func NewTokens(servers ...*Server) *Tokens {
	t := &Tokens{client: &http.Client{Transport: NewTransport(servers...)}, accounts: map[string]*accountToken{}}
	for _, s := range servers {
		for _, m := range s.names {
			t.accounts[m] = &accountToken{server: s, value: s.issue(m)}
		}
	}
	return t
}

func (t *Tokens) account(mailbox string) (*accountToken, error) {
	a := t.accounts[mailbox]
	if a == nil {
		return nil, fmt.Errorf("enginetest: no mailbox %q", mailbox)
	}
	return a, nil
}

// Authorize puts the mailbox's token on a request. It waits while the token is
// being renewed.
func (t *Tokens) Authorize(r *http.Request, mailbox string) error {
	a, err := t.account(mailbox)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Header.Set("Authorization", "Bearer "+a.value)
	return nil
}

// Renew gets a new token for the mailbox from the provider's token endpoint.
func (t *Tokens) Renew(ctx context.Context, mailbox string) error {
	a, err := t.account(mailbox)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	resp, err := t.client.Do(a.server.tokenRequest(mailbox).WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return err
	}
	value, err := a.server.parseToken(body)
	if err != nil {
		return err
	}
	a.value = value
	return nil
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

// authorized reports whether the request bears a token that is good. Where
// tokens never expire, any will do. The caller holds the lock.
func (s *Server) authorized(m *mailbox, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
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
