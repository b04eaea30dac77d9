package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// Calls that wait when their account is paused are handed back at once, with the reason;
// those of another account go on.
func TestPauseHandsWaitingCallsBack(t *testing.T) {
	refreshLater := Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
		return RetryAfter(50*time.Second, io.EOF)
	}}}
	hold := func(limit string) func(t *testing.T, e *Engine) {
		return func(t *testing.T, e *Engine) {
			p, _ := e.Provider("test")
			if err := p.Hold(limit, limiter.Keys{Account: "a"}, time.Now().Add(30*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		o       Options
		replies []reply
		before  func(t *testing.T, e *Engine)
		sent    int
		until   time.Duration // the end of the pause
		want    time.Duration // 0 = until
	}{
		{name: "between two attempts", replies: []reply{{status: 503}, {status: 503}, {status: 503}, {status: 429, header: "Retry-After: 40"}}, sent: 4, until: time.Hour},
		{name: "between two attempts, longer than the pause", replies: []reply{{status: 429, header: "Retry-After: 55"}}, sent: 1, until: 20 * time.Second, want: 55 * time.Second},
		{name: "for ever", replies: []reply{{status: 429, header: "Retry-After: 40"}}, sent: 1, want: 10*time.Minute + 10*time.Second},
		{name: "for a limit", before: hold("requests"), until: time.Hour},
		{name: "for a slot", until: time.Hour, before: func(t *testing.T, e *Engine) {
			p, _ := e.Provider("test")
			for range 2 {
				permit, _ := p.Limiter().TryAcquire(&limiter.Request{Keys: limiter.Keys{Account: "a"}, Uses: []limiter.Use{{Limit: "inflight"}}})
				time.AfterFunc(time.Minute, permit.Release)
			}
		}},
		{name: "for credentials", o: refreshLater, replies: []reply{{status: 401}}, sent: 1, until: time.Hour},
		{name: "for a refresh of credentials", o: Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
			time.Sleep(40 * time.Second)
			return nil
		}}}, replies: []reply{{status: 401}}, sent: 1, until: time.Hour},
	} {
		for _, by := range []string{"Transport", "Do"} {
			t.Run(tt.name+"/"+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tt.o.Rand = func() float64 { return 0 }
					e, s := testEngine(t, tt.o), newServer(tt.replies...)
					if tt.before != nil {
						tt.before(t, e)
					}
					start := time.Now()
					until := time.Time{}
					if tt.until > 0 {
						until = start.Add(tt.until)
					}
					time.AfterFunc(10*time.Second, func() {
						if err := e.PauseAccount("a", until, "a loop of its own"); err != nil {
							t.Error(err)
						}
					})
					var others sync.WaitGroup
					others.Go(func() { // another account waits for its slot over the pause
						e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "b"}}, func(context.Context) error {
							time.Sleep(20 * time.Second)
							return nil
						})
					})
					var out Result
					var err error
					if by == "Transport" {
						var resp *http.Response
						if resp, err = e.Transport(s).RoundTrip(request(t, WithCall(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, Outcome: &out}), "GET", "/items/1", "")); err == nil {
							resp.Body.Close()
						}
					} else {
						err = e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error {
							resp, err := s.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
							if err != nil {
								return err
							}
							defer resp.Body.Close()
							return e.CheckResponse(ctx, resp)
						})
						out = resultOf(nil, err)
					}
					took := time.Since(start)
					if p, ok := errors.AsType[*PausedError](err); err != nil && (!ok || p.Reason != "a loop of its own" || p.Account != "a") {
						t.Errorf("got %v, want it to be because of the pause", err)
					}
					if took != 10*time.Second || len(s.sent) != tt.sent {
						t.Errorf("ended after %v and %d requests, want 10s and %d", took, len(s.sent), tt.sent)
					}
					want := tt.want
					if want == 0 {
						want = tt.until
					}
					if got := out.Until.Sub(start); !out.Decision.Defer || out.Decision.As != "" || out.Decision.Reason != decision.ReasonPaused || got.Round(time.Second) != want {
						t.Errorf("got %+v until %v, want it handed back until %v", out.Decision, got, want)
					}
					if deferred, ok := errors.AsType[*DeferError](err); ok && deferred.State.Attempts > tt.sent {
						t.Errorf("%d attempts in the state, want at most %d", deferred.State.Attempts, tt.sent)
					}
					others.Wait()
					time.Sleep(time.Minute) // a refresh or a permit is over
				})
			})
		}
	}
}

// Nothing more is sent for a paused account, by any provider, and what is under way is not cut.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []Notice
		e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, *n)
		})}, loopYAML, "version: 1\nprovider: other\nmatch: [{host: other.test}]\ndefault: fail\n")
		send := func(provider, account string) (sent bool, err error) {
			err = e.Do(t.Context(), Call{Provider: provider, Keys: limiter.Keys{Account: account}}, func(context.Context) error { sent = true; return nil })
			return sent, err
		}
		ended := make(chan error)
		go func() {
			ended <- e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}}, func(ctx context.Context) error {
				time.Sleep(10 * time.Second)
				return ctx.Err()
			})
		}()
		synctest.Wait()
		if err := e.PauseAccount("a", time.Now().Add(time.Minute), "spam"); err != nil {
			t.Fatal(err)
		}
		for _, provider := range []string{"test", "other"} {
			sent, err := send(provider, "a")
			if d, ok := errors.AsType[*DeferError](err); sent || !ok || !d.Until.Equal(time.Now().Add(time.Minute)) || d.Decision.Rule.Name != "paused" || !strings.Contains(err.Error(), "spam") {
				t.Errorf("%s: sent %v, %v, want it handed back for a minute", provider, sent, err)
			}
			if sent, err := send(provider, "b"); !sent || err != nil {
				t.Errorf("%s: another account: sent %v, %v", provider, sent, err)
			}
		}
		if err := <-ended; err != nil {
			t.Errorf("what was under way: %v", err)
		}
		if p := e.Paused(); len(p) != 1 || p[0].Account != "a" || p[0].Reason != "spam" {
			t.Errorf("paused: %+v", p)
		}
		mu.Lock()
		var deferred Notice
		for _, n := range told {
			if n.Kind == NoticeDefer {
				deferred = n
			}
		}
		if deferred.Cause.Rule != "paused" || deferred.Until.IsZero() || deferred.Account != "a" {
			t.Errorf("told of the handing back: %+v", deferred)
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		if sent, err := send("test", "a"); !sent || err != nil {
			t.Errorf("after its end: sent %v, %v", sent, err)
		}
		if e.pauses.Any() || len(e.Paused()) > 0 {
			t.Error("a pause that is over is still asked for")
		}

		// Without an end, and resumed.
		e.PauseAccount("a", time.Time{}, "")
		e.PauseAccount("z", time.Now().Add(time.Second), "")
		if sent, err := send("test", "a"); sent || err == nil {
			t.Errorf("sent %v, %v", sent, err)
		}
		if err := e.ResumeAccount("a"); err != nil {
			t.Fatal(err)
		}
		if sent, err := send("test", "a"); !sent || err != nil {
			t.Errorf("after ResumeAccount: sent %v, %v", sent, err)
		}
		time.Sleep(2 * time.Second)
		send("test", "a") // of which nothing is known any more
		if e.pauses.Any() {
			t.Error("the pause of another account that is over is still asked for")
		}
		if err := e.PauseAccount("", time.Time{}, ""); err == nil {
			t.Error("paused an account without a name")
		}
		e.PauseAccount("a", time.Now().Add(-time.Second), "")
		if len(e.Paused()) > 0 {
			t.Errorf("a pause until a time that is past: %+v", e.Paused())
		}
		kinds := map[NoticeKind]int{}
		for _, n := range told {
			kinds[n.Kind]++
		}
		if kinds[NoticePaused] != 3 || kinds[NoticeResumed] != 1 {
			t.Errorf("told of %d pauses and %d resumptions, want 3 and 1", kinds[NoticePaused], kinds[NoticeResumed])
		}
	})
}

// Of a paused account a refused call does not refresh the credentials either.
func TestPauseForbidsRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refreshes := 0
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { refreshes++; return nil }}})
		tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
			e.PauseAccount("a", time.Time{}, "")
			return &http.Response{StatusCode: 401, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
		}))
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err == nil {
			resp.Body.Close()
		}
		if out := resultOf(resp, err); refreshes != 0 || !out.Decision.Defer {
			t.Errorf("%d refreshes, %+v, want none and the call handed back", refreshes, out.Decision)
		}
	})
}

// However pauses, calls and resumptions meet, no call is sent for an account that was
// paused before it began.
func TestPauseRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{})
		var wg sync.WaitGroup
		for i := range 8 {
			account := fmt.Sprint(i % 4)
			wg.Go(func() {
				for range 200 {
					e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: account}, MaxInline: time.Minute}, func(context.Context) error {
						time.Sleep(time.Millisecond)
						return nil
					})
				}
			})
			wg.Go(func() {
				for range 50 {
					e.PauseAccount(account, time.Now().Add(time.Hour), "")
					began := time.Now()
					err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: account}}, func(context.Context) error { return nil })
					_ = err // the other one of this account may have resumed it
					if time.Since(began) > time.Second {
						t.Errorf("waited for %v", time.Since(began))
					}
					e.ResumeAccount(account)
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}

// A call inside another is handed back, and with it the one around it, also where that
// decides about the parts of a batch.
func TestPauseInside(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(ctx context.Context, e *Engine, pause func()) error
	}{
		{"Transport inside Do", func(ctx context.Context, e *Engine, pause func()) error {
			tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
			}))
			return e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}, func(ctx context.Context) error {
				pause()
				req, err := http.NewRequestWithContext(WithAccount(ctx, "a"), "GET", "http://api.test/items/1", nil)
				if err != nil {
					return err
				}
				resp, err := tr.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}
				return err
			})
		}},
		{"Do inside Do", func(ctx context.Context, e *Engine, pause func()) error {
			c := Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET"}
			return e.Do(ctx, c, func(ctx context.Context) error {
				pause()
				return e.Do(ctx, c, func(context.Context) error { return errors.New("it was sent") })
			})
		}},
		{"a batch that waits", func(ctx context.Context, e *Engine, pause func()) error {
			time.AfterFunc(time.Second, pause)
			sent := 0
			return e.Do(ctx, Call{Provider: "test", Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET", N: 3}, func(context.Context) error {
				if sent++; sent > 1 {
					return errors.New("it was sent")
				}
				return &ResponseError{Status: 429, Header: http.Header{"Retry-After": {"30"}}}
			})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{})
				until := time.Now().Add(time.Hour)
				err := tt.run(t.Context(), e, func() { e.PauseAccount("a", until, "stop") })
				later, ok := errors.AsType[*DeferError](err)
				if p, is := errors.AsType[*PausedError](err); !ok || !is || p.Reason != "stop" || later.Until.Before(until) || later.Until.Sub(until) > time.Minute { // jitter adds to it
					t.Errorf("got %v, want it handed back until %v", err, until)
				}
			})
		})
	}
}
