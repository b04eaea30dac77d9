package limiter

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// EndWaits ends the waits of all accounts that it is to, at whatever limit and however many keys there
// are, and of no others. It asks of each account without locks.
func TestEndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New([]Limit{
			{Name: "own", Key: []Dimension{Account}, Concurrency: 1},
			{Name: "app", Key: []Dimension{App}, Concurrency: 1000},
		}, Options{Shards: 2})
		if err != nil {
			t.Fatal(err)
		}
		const accounts = 2000
		keys := func(i int) Keys { return Keys{Account: fmt.Sprint([]string{"stays", "goes"}[i%2], i), App: "one"} }
		request := func(i int) *Request {
			return &Request{Keys: keys(i), Uses: []Use{{Limit: "own"}}, MaxWait: time.Hour}
		}
		var wg sync.WaitGroup
		for i := range accounts {
			first, err := l.Acquire(t.Context(), request(i))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // wait
				wg.Go(func() {
					began := time.Now()
					p, err := l.Acquire(context.Background(), request(i))
					p.Release()
					want := time.Minute
					if i%2 == 1 {
						want = time.Second
					}
					if took := time.Since(began); (err != nil) != (i%2 == 1) || took != want {
						t.Errorf("%s: after %v: %v", keys(i).Account, took, err)
					}
				})
			}
			time.AfterFunc(time.Minute, first.Release)
		}
		time.Sleep(time.Second)
		asked := map[string]int{}
		l.EndWaits(func(account string) bool {
			l.Peek("own", Keys{Account: account}) // takes the locks
			asked[account]++
			return strings.HasPrefix(account, "goes")
		})
		if len(asked) != accounts {
			t.Errorf("asked of %d accounts, want %d", len(asked), accounts)
		}
		wg.Wait()
	})
}
