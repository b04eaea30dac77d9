package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/pglimit"
	"github.com/recourse-go/recourse/limiter/redislimit"
	"github.com/recourse-go/recourse/policy"
)

//go:embed provider.yaml
var providerYAML []byte

var mailboxes = []string{"ann", "bob", "files-of-cat", "files-of-dan"}

// line is what a worker tells its parent, one a line.
type line struct {
	Sent   string `json:"sent,omitempty"`   // a message that was sent
	Asked  int64  `json:"asked,omitempty"`  // in the end: how often the store was asked for a permit
	Grants int64  `json:"grants,omitempty"` // and how many it gave
}

// asked counts what the store is asked.
type asked struct {
	limiter.Store
	takes, grants atomic.Int64
}

func (a *asked) Take(ctx context.Context, t *limiter.StoreTake) (limiter.StoreAnswer, error) {
	a.takes.Add(1)
	answer, err := a.Store.Take(ctx, t)
	if answer.Granted {
		a.grants.Add(1)
	}
	return answer, err
}

// openStore opens the store that the flags name.
func openStore(ctx context.Context, redisAddr, postgresURL string) (limiter.Store, error) {
	if redisAddr != "" {
		o, err := redislimit.ClientOptions(redisAddr)
		if err != nil {
			return nil, err
		}
		return redislimit.New(redis.NewClient(o), redislimit.Options{})
	}
	pool, err := pgxpool.New(ctx, postgresURL)
	if err != nil {
		return nil, err
	}
	if err := pglimit.EnsureSchema(ctx, pool); err != nil {
		return nil, err
	}
	return pglimit.New(pool, pglimit.Options{})
}

// reach tells whether that store answers, so that the command says at once if it does not.
func reach(ctx context.Context, redisAddr, postgresURL string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if redisAddr != "" {
		o, err := redislimit.ClientOptions(redisAddr)
		if err != nil {
			return err
		}
		client := redis.NewClient(o)
		defer client.Close()
		return client.Ping(ctx).Err()
	}
	conn, err := pgx.Connect(ctx, postgresURL)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// work is a worker's process: eight goroutines that sync four mailboxes, until ctx ends.
func work(ctx context.Context, url, redisAddr, postgresURL string, workers int) error {
	set, problems := policy.Load([]policy.File{{Name: "provider.yaml", Data: providerYAML}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := problems.Err(); err != nil {
		return err
	}
	store, err := openStore(context.WithoutCancel(ctx), redisAddr, postgresURL)
	if err != nil {
		return err
	}
	counting := &asked{Store: store}

	// These two lines are all that a worker needs.
	eng, err := engine.New(engine.Options{Policies: set, Store: counting, StoreLease: lease, Workers: workers})
	if err != nil {
		return err
	}
	defer eng.Close()

	client := &http.Client{Transport: eng.Transport(stamping{&http.Transport{MaxIdleConnsPerHost: 64}})}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(l line) { mu.Lock(); defer mu.Unlock(); out.Encode(l) }
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := once(ctx, client, url, say); err != nil && ctx.Err() == nil {
					var later *engine.DeferError
					if !errors.As(err, &later) {
						fmt.Fprintln(os.Stderr, "worker:", err)
					}
					pause(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	eng.Close()
	say(line{Asked: counting.takes.Load(), Grants: counting.grants.Load()})
	return nil
}

// once makes one request.
func once(ctx context.Context, client *http.Client, url string, say func(line)) error {
	name := mailboxes[mathrand.IntN(len(mailboxes))]
	// A request that has begun is made to its end, so that the worker knows what became of it.
	call := engine.WithCall(context.WithoutCancel(ctx), engine.Call{Provider: "fleet", Keys: limiter.Keys{Account: name}})
	call, cancel := context.WithTimeout(call, 10*time.Second)
	defer cancel()
	method, path, id := "GET", "messages", ""
	switch n := mathrand.IntN(10); {
	case strings.HasPrefix(name, "files"):
		path = "attachments/1"
	case n == 0:
		method, path, id = "POST", "send", rand.Text()
	case n < 6:
		path = "messages/1"
	}
	req, err := http.NewRequestWithContext(call, method, url+"/mailboxes/"+name+"/"+path, nil)
	if err != nil {
		return err
	}
	if id != "" {
		req.Header.Set("Message-Id", id)
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if id != "" && resp.StatusCode == http.StatusOK {
		say(line{Sent: id})
	}
	return nil
}

// stamping says in each request when it got its permit, so that the provider can tell one
// that came early from one that was under way.
type stamping struct{ base http.RoundTripper }

func (s stamping) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Granted", time.Now().Format(time.RFC3339Nano))
	return s.base.RoundTrip(r)
}
