//go:build !race

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// What the built-in policies let through while the store does not answer: on_outage: share.

const (
	shareMailboxes = 8
	answersAfter   = 50 * time.Millisecond
)

// shareProviders are what is asked, and how many of such requests a mailbox allows in a second,
// and at once.
var shareProviders = []struct {
	name, url      string
	allowed, burst float64
}{
	{"gmail", "https://gmail.googleapis.com/gmail/v1/users/me/messages/1", 250.0 / 5, 200 / 5},
	{"microsoft_graph", "https://graph.microsoft.com/v1.0/me/messages/1", 10000.0 / 600, 1000},
}

// answering answers all requests, and counts them by the second.
type answering struct {
	mu   sync.Mutex
	seen map[int64]int
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.seen[time.Now().Unix()]++
	a.mu.Unlock()
	time.Sleep(answersAfter)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
}

// shareWorker asks for all mailboxes until it is interrupted, and then tells what it has asked.
func shareWorker(redisAddr, url string, workers int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	store, err := openStore(context.Background(), redisAddr, "")
	if err != nil {
		return err
	}
	eng, err := engine.New(engine.Options{Policies: policy.Builtin(), Store: store, Workers: workers})
	if err != nil {
		return err
	}
	defer eng.Close()
	base := &answering{seen: map[int64]int{}}
	client := &http.Client{Transport: eng.Transport(base)}
	var wg sync.WaitGroup
	for i := range 4 * shareMailboxes {
		account := fmt.Sprint("mailbox-", i%shareMailboxes)
		wg.Go(func() {
			for ctx.Err() == nil {
				call, cancel := context.WithTimeout(engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: account, App: "app"}}), 5*time.Second)
				req, err := http.NewRequestWithContext(call, http.MethodGet, url, nil)
				if err == nil {
					var resp *http.Response
					if resp, err = client.Do(req); err == nil {
						resp.Body.Close()
					}
				}
				cancel()
				if err != nil {
					pause(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	return json.NewEncoder(os.Stdout).Encode(base.seen)
}

// What passes in an outage is a measurement, which docs/fleet.md tells.
func TestOutageShares(t *testing.T) {
	if !*long {
		t.Skip("it takes minutes: run it with -long")
	}
	const before, outage = 15 * time.Second, 40 * time.Second
	for _, provider := range shareProviders {
		for _, n := range []int{2, 8} {
			t.Run(fmt.Sprintf("%s/workers=%d", provider.name, n), func(t *testing.T) {
				server := redistest.Start(t, "redis-server")
				var all []*exec.Cmd
				outs := make([]bytes.Buffer, n)
				for i := range n {
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), as+"="+asShare, "FLEET_REDIS="+server.Addr, "FLEET_URL="+provider.url, "FLEET_PROCESSES="+strconv.Itoa(n))
					cmd.Stdout, cmd.Stderr = &outs[i], io.Discard
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = cmd.Process.Kill() })
					all = append(all, cmd)
				}
				time.Sleep(before)
				server.Kill()
				began := time.Now()
				time.Sleep(outage)
				for _, cmd := range all {
					_ = cmd.Process.Signal(os.Interrupt)
				}
				seen := map[int64]int{}
				for i, cmd := range all {
					var one map[int64]int
					if err := cmd.Wait(); err != nil {
						t.Fatal(err)
					}
					if err := json.Unmarshal(outs[i].Bytes(), &one); err != nil {
						t.Fatal(err)
					}
					for second, n := range one {
						seen[second] += n
					}
				}
				for _, w := range [][2]int64{{-5, 0}, {1, 15}, {16, 30}, {31, 40}} {
					sum := 0
					for second := w[0]; second < w[1]; second++ {
						sum += seen[began.Unix()+second]
					}
					allowed := provider.allowed * shareMailboxes * float64(w[1]-w[0])
					t.Logf("from %3d s to %2d s: %5d of %5.0f requests, %.2f", w[0], w[1], sum, allowed, float64(sum)/allowed)
					if most := allowed + shareMailboxes*provider.burst; float64(sum) > most {
						t.Errorf("got %d requests, want %.0f at most", sum, most)
					}
				}
			})
		}
	}
}
