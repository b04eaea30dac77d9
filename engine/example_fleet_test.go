package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// credential is what the processes save of an account: a row of a table that they share.
type credential struct {
	Access, Refresh string
	Fence           uint64 // of the refresh that got it: engine.ReauthRequest.Fence
}

// credentials is that table.
type credentials struct {
	mu   sync.Mutex
	rows map[string]credential
}

func (c *credentials) load(account string) credential {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rows[account]
}

// replace saves fresh where old is still what is saved, and no later refresh has saved one:
//
//	update credentials set access = $1, refresh = $2, fence = $3 where account = $4 and refresh = $5 and fence < $3
func (c *credentials) replace(account string, old, fresh credential) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if row := c.rows[account]; row.Refresh == old.Refresh && row.Fence < fresh.Fence {
		c.rows[account] = fresh
	}
}

// worker is one process of a fleet.
type worker struct {
	credentials *credentials
	client      *http.Client // over the engine's Transport
}

// authorize puts the credential on a request that is saved now.
func (w *worker) authorize(req *http.Request, account string) error {
	req.Header.Set("Authorization", "Bearer "+w.credentials.load(account).Access)
	return nil
}

// refresh is the hook for a fleet whose refresh tokens can be used once.
func (w *worker) refresh(ctx context.Context, r engine.ReauthRequest) error {
	saved := w.credentials.load(r.Account)
	r.Found(saved.Fence) // tells whether a process that died in a refresh had saved what it got
	if r.Load || !r.Refused(saved.Access) {
		return nil // another process has refreshed it: authorize finds what it saved
	}

	// The request goes through the engine, which tells the store right before it sends it that the
	// refresh token is about to be spent (Reauth.Spends). A client of its own would need
	// r.Spend(ctx, false) here.
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {saved.Refresh}}
	ctx = engine.WithCall(ctx, engine.Call{Provider: "oauth2", Keys: limiter.Keys{Account: r.Account}})
	req, err := http.NewRequestWithContext(ctx, "POST", "https://login.example.com/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.client.Do(req)
	if err != nil {
		return err // as it came
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || answer.Access == "" {
		return &engine.ResponseError{Status: resp.StatusCode, Header: resp.Header, Body: body}
	}
	if answer.Refresh == "" {
		answer.Refresh = saved.Refresh // the server does not rotate them
	}
	w.credentials.replace(r.Account, saved, credential{answer.Access, answer.Refresh, r.Fence})
	return nil
}

// start starts a process.
func start(store limiter.Store, c *credentials, base http.RoundTripper) (*worker, *engine.Engine, error) {
	w := &worker{credentials: c}
	eng, err := engine.New(engine.Options{
		Store:     store, // of limiter/redislimit or limiter/pglimit
		Authorize: w.authorize,
		Reauth:    engine.Reauth{Refresh: w.refresh, Spends: true},
	})
	if err != nil {
		return nil, nil, err
	}
	w.client = &http.Client{Transport: eng.Transport(base)}
	return w, eng, nil
}

// Two processes have one account, whose access token has expired. Each refresh token can be used
// once: one process spends it, and the other loads what that has saved.
func Example_fleet() {
	table := &credentials{rows: map[string]credential{"mailbox-17": {Access: "access-0", Refresh: "refresh-0"}}}
	provider := &rotating{good: 1}
	store := runningStore()

	var workers []*worker
	for range 2 {
		w, eng, err := start(store, table, provider)
		if err != nil {
			panic(err)
		}
		defer eng.Close()
		workers = append(workers, w)
	}
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			ctx := engine.WithAccount(context.Background(), "mailbox-17")
			req, _ := http.NewRequestWithContext(ctx, "GET", "https://graph.microsoft.com/v1.0/me/messages", nil)
			resp, err := w.client.Do(req)
			if err != nil {
				panic(err)
			}
			resp.Body.Close()
		})
	}
	all.Wait()
	fmt.Println("saved:", table.load("mailbox-17").Refresh, "- spent:", provider.spent)
	// Output: saved: refresh-2 - spent: [refresh-0]
}

// rotating is an API and its token endpoint, which takes each refresh token once.
type rotating struct {
	mu    sync.Mutex
	good  int // number of the access token that is valid
	spent []string
}

func (p *rotating) RoundTrip(req *http.Request) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	status, body := http.StatusOK, "{}"
	switch {
	case req.URL.Host == "login.example.com":
		form, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, errors.Join(err, req.Body.Close())
		}
		values, _ := url.ParseQuery(string(form))
		p.spent = append(p.spent, values.Get("refresh_token"))
		p.good++
		body = fmt.Sprintf(`{"access_token": "access-%d", "refresh_token": "refresh-%[1]d"}`, p.good)
	case req.Header.Get("Authorization") != fmt.Sprint("Bearer access-", p.good):
		status, body = http.StatusUnauthorized, `{"error": {"code": "InvalidAuthenticationToken"}}`
	}
	if req.Body != nil {
		req.Body.Close()
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// runningStore is a store that has been running for an hour: a new one gives no slots and no
// turns for some seconds, since it may have forgotten them.
func runningStore() limiter.Store {
	ago := time.Hour
	store := storetest.NewMemory(func() time.Time { return time.Now().Add(-ago) })
	ago = 0
	return store
}
