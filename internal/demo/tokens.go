package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/recourse-go/recourse/internal/fake"
)

// tokens are the workers' access tokens, one a mailbox.
type tokens struct {
	client   *http.Client // for the token endpoints
	accounts map[string]*token
}

type token struct {
	server *fake.Server
	mu     sync.Mutex
	value  string
	stale  bool
}

func newTokens(servers []*fake.Server, transport http.RoundTripper) *tokens {
	t := &tokens{client: &http.Client{Transport: transport}, accounts: map[string]*token{}}
	for _, s := range servers {
		for _, m := range s.Mailboxes() {
			t.accounts[m] = &token{server: s}
		}
	}
	return t
}

// first gives every mailbox of a server the token that an earlier sync left behind.
func (t *tokens) first(s *fake.Server) {
	for _, m := range s.Mailboxes() {
		t.accounts[m].value = s.Issue(m)
	}
}

// put sets the mailbox's token on a request.
func (t *tokens) put(r *http.Request, account string) error {
	a := t.accounts[account]
	if a == nil {
		return fmt.Errorf("demo: no account %q", account)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Header.Set("Authorization", "Bearer "+a.value)
	return nil
}

// refused marks the mailbox's token as one to be renewed, if it is still the
// one that r bore.
func (t *tokens) refused(r *http.Request, account string) {
	if a := t.accounts[account]; a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.stale = a.stale || r.Header.Get("Authorization") == "Bearer "+a.value
	}
}

// renewStale renews the mailbox's token if it is marked.
func (t *tokens) renewStale(ctx context.Context, account string) error {
	a := t.accounts[account]
	if a == nil {
		return fmt.Errorf("demo: no account %q", account)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stale {
		return nil
	}
	return t.renewLocked(ctx, a, account)
}

// renew gets a new token for the mailbox.
func (t *tokens) renew(ctx context.Context, account string) error {
	a := t.accounts[account]
	if a == nil {
		return fmt.Errorf("demo: no account %q", account)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.renewLocked(ctx, a, account)
}

func (t *tokens) renewLocked(ctx context.Context, a *token, account string) error {
	resp, err := t.client.Do(a.server.TokenRequest(account).WithContext(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	value, err := a.server.ParseToken(body)
	if err != nil {
		return err
	}
	a.value, a.stale = value, false
	return nil
}
