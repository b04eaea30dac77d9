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
	"time"

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

const providerFile = "provider.yaml"

var mailboxes = []string{"ann", "bob", "files-of-cat", "files-of-dan"}

// line is what a worker tells its parent, one a line.
type line struct {
	Sent    string    `json:"sent,omitempty"`    // a message that was sent
	Refused string    `json:"refused,omitempty"` // a mailbox, of whose refusal the store knows
	At      time.Time `json:"at,omitzero"`       // since when
	Outage  bool      `json:"outage,omitempty"`  // the store did not answer in time, so the worker goes by its share for a while
	Asked   int64     `json:"asked,omitempty"`   // in the end: how often the store was asked for a permit
	Grants  int64     `json:"grants,omitempty"`  // and how many it gave
}

// openStore opens the store that the flags name. Tests replace it.
var openStore = func(ctx context.Context, redisAddr, postgresURL string) (limiter.Store, error) {
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

// work is a worker's process: two goroutines for each of four mailboxes, until ctx ends.
func work(ctx context.Context, url, policies string, store limiter.Store, timeout time.Duration, workers int) error {
	set, problems := policy.Load([]policy.File{{Name: providerFile, Data: providerYAML}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := problems.Err(); err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(l line) { mu.Lock(); defer mu.Unlock(); out.Encode(l) }
	counting := &asked{Store: store, say: say}
	outages := engine.ObserverFunc(func(_ context.Context, n *engine.Notice) {
		if n.Kind == engine.NoticeStore && n.Store.Kind == limiter.StoreOutageBegan {
			say(line{Outage: true})
		}
	})

	// These two lines are all that a worker needs.
	eng, err := engine.New(engine.Options{Policies: set, Observer: outages, Store: counting, StoreTimeout: timeout, StoreLease: lease, Workers: workers})
	if err != nil {
		return err
	}
	defer eng.Close()
	if policies != "" { // files there overlay the policy
		go eng.Watch(ctx, engine.WatchOptions{Dir: policies, Over: set, Interval: 200 * time.Millisecond})
	}

	client := &http.Client{Transport: eng.Transport(stamping{&http.Transport{MaxIdleConnsPerHost: 64}})}
	var wg sync.WaitGroup
	for i := range 8 {
		name := mailboxes[i%len(mailboxes)]
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := once(ctx, client, url, name, say); err != nil && ctx.Err() == nil {
					var later *engine.DeferError
					if !errors.As(err, &later) {
						fmt.Fprintln(os.Stderr, "worker:", err)
					}
					pause(ctx, 100*time.Millisecond)
				}
			}
		})
	}
	<-ctx.Done()
	eng.Close() // calls that wait are handed back
	wg.Wait()
	eng.Close() // no call is left, so this process leaves the fleet
	say(line{Asked: counting.takes.Load(), Grants: counting.grants.Load()})
	return nil
}

// once makes one request for a mailbox.
func once(ctx context.Context, client *http.Client, url, name string, say func(line)) error {
	// A request that has begun is made to its end, so that the worker knows what became of it.
	call := context.WithValue(context.WithoutCancel(ctx), stampsKey{}, new(stamps))
	call = engine.WithCall(call, engine.Call{Provider: "fleet", Keys: limiter.Keys{Account: name}})
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
