// What matters here happens in other processes, which the race detector does not see.

//go:build !race

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// One refresh of a credential in the fleet: two processes use one mailbox whose refresh
// token can be used once, and one of them is killed.

// grantPolicies are an API and its token endpoint.
const grantPolicies = `
version: 1
provider: api
extends: [http]
rules:
  - {name: expired, override: true, when: status == 401, action: reauth}
---
version: 1
provider: tokens
extends: [oauth2]
operations:
  - {method: POST, path: /token, operation: token.refresh, token: true}
`

// refreshUnknown is how long calls wait after a process died that may have spent the token.
const refreshUnknown = 3 * time.Second

// saved is a credential as the processes save it.
type saved struct {
	Access, Refresh string
	Fence           uint64
}

// grant is a mailbox's: the API, the token endpoint, and the place where the processes
// save the credential.
type grant struct {
	mu     sync.Mutex
	good   saved // what the provider takes
	saved  saved
	used   map[string]int // refresh tokens that the endpoint has seen
	next   int
	notify chan string
}

func newGrant() *grant {
	g := &grant{used: map[string]int{}, notify: make(chan string, 100)}
	g.good = saved{Access: "access-0", Refresh: "refresh-0"}
	g.saved = g.good
	return g
}

func (g *grant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	tell := func(phase string) {
		select {
		case g.notify <- phase:
		default:
		}
		time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
	}
	switch r.URL.Path {
	case "/token":
		tell("asked")
		g.mu.Lock()
		token := r.FormValue("refresh_token")
		if token == "" {
			token = strings.TrimPrefix(string(body), "refresh_token=")
		}
		g.used[token]++
		if token != g.good.Refresh {
			g.mu.Unlock()
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":"invalid_grant"}`)
			return
		}
		g.next++
		g.good = saved{Access: fmt.Sprint("access-", g.next), Refresh: fmt.Sprint("refresh-", g.next)}
		answer := g.good
		g.mu.Unlock()
		tell("spent")
		json.NewEncoder(w).Encode(map[string]string{"access_token": answer.Access, "refresh_token": answer.Refresh})
	case "/saved":
		g.mu.Lock()
		if r.Method == "PUT" {
			var s saved
			if json.Unmarshal(body, &s) == nil && s.Fence >= g.saved.Fence {
				g.saved = s
			}
		}
		answer := g.saved
		g.mu.Unlock()
		tell("saved")
		json.NewEncoder(w).Encode(answer)
	case "/api":
		g.mu.Lock()
		ok := r.Header.Get("Authorization") == "Bearer "+g.good.Access
		g.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

// expire makes the access token invalid that is in use.
func (g *grant) expire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	g.good.Access = fmt.Sprint("access-", g.next)
}

// refreshWorker is one of the processes: it calls the API until it is killed, and says how
// each call ended.
func refreshWorker(url, account, redisAddr, postgresURL string) error {
	ctx := context.Background()
	var files []policy.File
	for i, text := range strings.Split(grantPolicies, "---") {
		files = append(files, policy.File{Name: strconv.Itoa(i) + ".yaml", Data: []byte(text)})
	}
	set, problems := policy.Load(files, policy.LoadOptions{Over: policy.Builtin()})
	if err := problems.Err(); err != nil {
		return err
	}
	store, err := openStore(ctx, redisAddr, postgresURL)
	if err != nil {
		return err
	}
	store = telling{store, store.(limiter.CredentialStore)}
	plain := new(http.Client)
	do := func(client *http.Client, ctx context.Context, method, path, body, access string) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		if access != "" {
			req.Header.Set("Authorization", "Bearer "+access)
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			answer, _ := io.ReadAll(resp.Body)
			return nil, &engine.ResponseError{Status: resp.StatusCode, Body: answer}
		}
		return io.ReadAll(resp.Body)
	}
	load := func() (s saved, err error) {
		body, err := do(plain, ctx, "GET", "/saved", "", "")
		if err == nil {
			err = json.Unmarshal(body, &s)
		}
		return s, err
	}
	var eng *engine.Engine
	var tokens *http.Client
	refresh := func(ctx context.Context, r engine.ReauthRequest) error {
		s, err := load()
		if err != nil {
			return err
		}
		r.Found(s.Fence)
		if r.Load || !r.Refused(s.Access) {
			return nil
		}
		ctx = engine.WithCall(ctx, engine.Call{Provider: "tokens", Keys: limiter.Keys{Account: account}})
		body, err := do(tokens, ctx, "POST", "/token", "refresh_token="+s.Refresh, "")
		if err != nil {
			return err
		}
		var answer struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return err
		}
		out, _ := json.Marshal(saved{answer.Access, answer.Refresh, r.Fence})
		_, err = do(plain, ctx, "PUT", "/saved", string(out), "")
		return err
	}
	eng, err = engine.New(engine.Options{
		Policies: set, Store: store, StoreLease: lease,
		Reauth: engine.Reauth{Refresh: refresh, Spends: true, Unknown: refreshUnknown, Interval: time.Second},
		Authorize: func(req *http.Request, _ string) error {
			s, err := load()
			req.Header.Set("Authorization", "Bearer "+s.Access)
			return err
		},
	})
	if err != nil {
		return err
	}
	tokens = &http.Client{Transport: eng.Transport(nil)}
	api := &http.Client{Transport: eng.Transport(nil)}
	for {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		call = engine.WithCall(call, engine.Call{Provider: "api", Keys: limiter.Keys{Account: account}, State: engine.State{}})
		_, err := do(api, call, "GET", "/api", "", "")
		cancel()
		var gave *engine.GiveUpError
		var later *engine.DeferError
		switch {
		case err == nil:
			fmt.Println("ok")
		case errors.As(err, &gave):
			fmt.Println(gave.Decision.As)
		case errors.As(err, &later):
			fmt.Println("deferred")
		default:
			fmt.Println("failed:", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// telling says when a process tells the store that it is about to spend the token.
type telling struct {
	limiter.Store
	credentials limiter.CredentialStore
}

func (s telling) Credential(ctx context.Context, r *limiter.CredentialRequest) (limiter.CredentialState, error) {
	if r.Step == limiter.CredentialSpend {
		fmt.Println("spending")
	}
	return s.credentials.Credential(ctx, r)
}

// refreshProcess is a worker's process.
type refreshProcess struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out bytes.Buffer
}

func (p *refreshProcess) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *refreshProcess) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Reset()
}

// said reports whether the process has said this.
func (p *refreshProcess) said(what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Contains(p.out.String(), what)
}

// last is how the newest call ended.
func (p *refreshProcess) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := strings.Split(strings.TrimRight(p.out.String(), "\n"), "\n")
	return lines[len(lines)-1]
}

// await waits for the newest call to have ended so.
func (p *refreshProcess) await(within time.Duration, ends ...string) (string, bool) {
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		for _, end := range ends {
			if p.last() == end {
				return end, true
			}
		}
	}
	return p.last(), false
}

func startRefresh(t *testing.T, url, account, redisAddr, postgresURL string) *refreshProcess {
	p := &refreshProcess{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), as+"="+asRefresh, "FLEET_URL="+url, "FLEET_ACCOUNT="+account, "FLEET_REDIS="+redisAddr, "FLEET_POSTGRES="+postgresURL)
	p.cmd.Stdout, p.cmd.Stderr = p, os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// stop kills the process, if it still runs, and waits until it has ended.
func (p *refreshProcess) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// No refresh token is spent twice, whenever a process is killed. A mailbox whose process died
// before it was about to ask the token endpoint works again by itself; the others end within
// the bound.
func testRefreshKilled(t *testing.T, runs int, redisAddr, postgresURL string) {
	var mu sync.Mutex
	ends := map[string]int{}
	slots := make(chan struct{}, 5)
	var wg sync.WaitGroup
	for run := range runs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			g := newGrant()
			server := httptest.NewServer(g)
			defer server.Close()
			account := fmt.Sprintf("%s-%d-%d", t.Name(), run, time.Now().UnixNano())
			one := startRefresh(t, server.URL, account, redisAddr, postgresURL)
			defer one.stop()
			two := startRefresh(t, server.URL, account, redisAddr, postgresURL)
			defer two.stop() // now, since each has connections of PostgreSQL
			for _, p := range []*refreshProcess{one, two} {
				if end, ok := p.await(30*time.Second, "ok"); !ok {
					t.Errorf("run %d: a process has not begun: %q", run, end)
					return
				}
			}
			time.Sleep(1100 * time.Millisecond) // longer than the least time between refreshes
			for len(g.notify) > 0 {
				<-g.notify
			}
			one.reset()
			two.reset()
			g.expire()
			time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
			one.stop()
			spending := one.said("spending") || two.said("spending")
			// The lease runs out, then nobody knows for a while whether the token is spent.
			bound := lease + refreshUnknown + 10*time.Second
			two.reset()
			end, ok := two.await(bound, "ok", engine.AsNeedsUser)
			if !ok {
				t.Errorf("run %d: the other process ended with %q after %v", run, end, bound)
			}
			g.mu.Lock()
			for token, n := range g.used {
				if n > 1 {
					t.Errorf("run %d: the token endpoint has seen %s %d times", run, token, n)
				}
			}
			g.mu.Unlock()
			if end == engine.AsNeedsUser && !spending {
				t.Errorf("run %d: the process died before it was about to ask, and the mailbox does not work", run)
			}
			mu.Lock()
			ends[end]++
			mu.Unlock()
		})
	}
	wg.Wait()
	t.Logf("%d runs: %v", runs, ends)
}
