package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// What an observer is told of a call, one line a notice.
func TestNotices(t *testing.T) {
	for _, c := range []struct {
		name    string
		replies []reply
		want    []string
	}{
		{"success", []reply{{status: 200}}, []string{
			"attempt 1 status=200 decided=-",
		}},
		{"a retry that succeeds", []reply{{status: 503}, {status: 200}}, []string{
			"attempt 1 status=503 decided=retry by server",
			"decision 1 status=503 decided=retry by server",
			"wait 1 status=503 decided=retry by server",
			"attempt 2 status=200 decided=-",
		}},
		{"a failure for good", []reply{{status: 400}}, []string{
			"attempt 1 status=400 decided=fail by default",
			"decision 1 status=400 decided=fail by default",
			"give-up 1 status=400 decided=fail by default",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
					status, decided := fmt.Sprint(n.Status), "-"
					if n.Event != nil && n.Event.Status != n.Status {
						t.Errorf("%v: status %d beside an event of %d", n.Kind, n.Status, n.Event.Status)
					}
					if success := n.Kind == NoticeAttempt && n.Status == 200; success != (n.Event == nil) {
						t.Errorf("%v %d: status %d, event %v", n.Kind, n.Attempt, n.Status, n.Event)
					}
					if d := n.Decision; d != nil {
						decided = fmt.Sprintf("%v by %s", d.Action, d.Rule.Name)
					}
					got = append(got, fmt.Sprintf("%v %d status=%s decided=%s", n.Kind, n.Attempt, status, decided))
					if n.Provider != "test" || n.Account != "a" || n.Operation != "items.get" || n.Method != "GET" || n.Host != "api.test" {
						t.Errorf("%v: provider %q, account %q, operation %q, method %q, host %q",
							n.Kind, n.Provider, n.Account, n.Operation, n.Method, n.Host)
					}
				})})
				resp, err := e.Transport(newServer(c.replies...)).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if !slices.Equal(got, c.want) {
					t.Errorf("told\n%q\nwant\n%q", got, c.want)
				}
			})
		})
	}
}

// A call that is kept back before an attempt says so, and one that is not does not.
func TestNoticeQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		e := testEngine(t, Options{
			Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return RetryAfter(7*time.Second, errors.New("busy")) }},
			Observer: ObserverFunc(func(_ context.Context, n *Notice) {
				if n.Kind == NoticeQueued {
					got = append(got, fmt.Sprintf("%s %s %d %v", n.Account, n.Operation, n.Attempt, n.Duration))
				}
			}),
		})
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		do := func(account string, fn func(n int) error) {
			t.Helper()
			err := p.Do(t.Context(), Call{Keys: limiter.Keys{Account: account, Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error { return fn(Attempt(ctx)) })
			if err != nil {
				t.Error(err)
			}
		}
		p.Hold("requests", limiter.Keys{Account: "ann"}, time.Now().Add(3*time.Second))
		do("ben", func(int) error { return nil })
		do("ann", func(int) error { return nil })
		refused := make(chan struct{})
		var first sync.WaitGroup
		first.Go(func() {
			do("cat", func(n int) error {
				if n == 1 {
					close(refused)
					return &ResponseError{Status: 401}
				}
				return nil
			})
		})
		<-refused
		synctest.Wait() // the refresh has failed; the next may begin 30 s after it
		do("cat", func(int) error { return nil })
		first.Wait()
		if want := []string{"ann items.get 0 3.01s", "cat items.get 0 30s"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestObserversTellsAll(t *testing.T) {
	var told []int
	count := func(i int) Observer {
		return ObserverFunc(func(context.Context, *Notice) { told = append(told, i) })
	}
	Observers{count(1), nil, count(2)}.Observe(t.Context(), &Notice{Decision: &Decision{Action: policy.Retry}})
	if !slices.Equal(told, []int{1, 2}) {
		t.Errorf("told %v, want [1 2]", told)
	}
}
