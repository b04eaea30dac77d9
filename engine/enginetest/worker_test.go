package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// job is a call of a worker that comes back when it is told to. It returns the label that
// the call was given up as, and "" for a success.
func job(t *testing.T, e *engine.Engine, c engine.Call, fn func(context.Context) error) (as string) {
	for range 50 {
		err := e.Do(t.Context(), c, fn)
		if later, ok := errors.AsType[*engine.DeferError](err); ok {
			time.Sleep(time.Until(later.Until))
			c.State = later.State
			continue
		}
		if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
			if gave.Decision.As == engine.AsExhausted {
				time.Sleep(10 * time.Minute)
				c.State = engine.State{}
				continue
			}
			return gave.Decision.As
		}
		return ""
	}
	return "never"
}

// Whatever an IMAP server does, a worker over the engine fetches everything, appends each
// draft once, opens no more connections than are allowed, and comes back when it was told to.
func TestIMAPWorker(t *testing.T) {
	const drafts, workers = 8, 20
	for _, make := range hosts {
		refused, lost := 0, 0
		for seed := range uint64(3) {
			name := fmt.Sprintf("%s/seed=%d", make(enginetest.Options{}).Name(), seed)
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					oauth := enginetest.NewOAuth(enginetest.OAuthOptions{AccessLife: 10 * time.Minute, RevokeOnReuse: true})
					oauth.FailOnEarlyReturn(t)
					s := make(enginetest.Options{Seed: seed, Mailboxes: 2, Messages: 20, OAuth: oauth})
					s.FailOnEarlyReturn(t)
					w := newIMAPWorker(t, s, oauth)
					do := func(user, operation string, f func(c *imapClient) error) string {
						return job(t, w.engine, engine.Call{Provider: s.Name(), Keys: limiter.Keys{Account: user, Operation: operation}}, func(ctx context.Context) error {
							c, err := dialIMAP(ctx, s)
							if err != nil {
								return err
							}
							defer c.conn.Close()
							token, err := w.tokens.Access(user)
							if err == nil {
								err = c.authenticate(user, token)
							}
							if err != nil {
								return err
							}
							return f(c)
						})
					}
					type item struct {
						user string
						n    int // a message to fetch; 0 = a draft
						id   string
					}
					queue, done := channel[item](), sync.WaitGroup{}
					for range workers {
						done.Go(func() {
							for it := range queue {
								if it.n > 0 {
									if as := do(it.user, "FETCH", func(c *imapClient) error {
										if _, err := c.do("EXAMINE INBOX"); err != nil {
											return err
										}
										_, err := c.do("FETCH %d BODY.PEEK[]", it.n)
										return err
									}); as != "" {
										t.Errorf("message %d of %s was not fetched: %s", it.n, it.user, as)
									}
									continue
								}
								for range 10 { // where it is not known whether it is there, the worker looks
									as := do(it.user, "APPEND", func(c *imapClient) error { return c.appendMail("Drafts", it.id) })
									if as == "" {
										break
									}
									if as != engine.AsAmbiguous {
										t.Errorf("%s was not appended: %s", it.id, as)
										break
									}
									found := false
									if as := do(it.user, "SEARCH", func(c *imapClient) error {
										if _, err := c.do("EXAMINE Drafts"); err != nil {
											return err
										}
										data, err := c.do("SEARCH HEADER Message-ID %s", it.id)
										found = err == nil && len(data) > 0 && data[0] != "* SEARCH"
										return err
									}); as != "" {
										t.Errorf("%s was not looked for: %s", it.id, as)
									}
									if found {
										break
									}
								}
							}
						})
					}
					for n := 1; n <= 20; n++ {
						for _, user := range s.Mailboxes() {
							queue <- item{user: user, n: n}
							if n <= drafts {
								queue <- item{user: user, id: fmt.Sprintf("draft-%d.%s", n, user)}
							}
						}
					}
					close(queue)
					done.Wait()
					for _, user := range s.Mailboxes() {
						for n := 1; n <= drafts; n++ {
							if times := s.Appended(user, fmt.Sprintf("draft-%d.%s", n, user)); times != 1 {
								t.Errorf("draft %d of %s was appended %d times, want once", n, user, times)
							}
						}
					}
					c := s.Counts()
					if c.DuplicateSends > 0 || c.ConcurrencyLimit > 0 && c.PeakConcurrency > c.ConcurrencyLimit {
						t.Errorf("counts: %+v", c)
					}
					if n := oauth.Counts().TokenReuses; n > 0 {
						t.Errorf("%d refresh tokens were used twice", n)
					}
					refused, lost = refused+c.RefusedTotal(), lost+c.RepliesLost
				})
			})
		}
		if refused == 0 || lost == 0 {
			t.Errorf("%d refusals and %d lost replies: the test proves nothing", refused, lost)
		}
	}
}

// channel is make, whose name a server's maker has above.
func channel[T any]() chan T { return make(chan T) }

// Whatever an SMTP server does, no mail goes out twice, and one that was reported as sent has gone.
func TestSMTPWorker(t *testing.T) {
	for _, make := range relays {
		refused, lost, ambiguous := 0, 0, 0
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/seed=%d", make(enginetest.Options{}).Name(), seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := make(enginetest.Options{Seed: seed, Mailboxes: 2})
					s.FailOnEarlyReturn(t)
					eng, err := engine.New(engine.Options{})
					if err != nil {
						t.Fatal(err)
					}
					var done sync.WaitGroup
					var mu sync.Mutex
					for _, user := range s.Mailboxes() {
						for n := range 20 {
							done.Go(func() {
								id := fmt.Sprintf("mail-%d.%s", n, user)
								as := job(t, eng, engine.Call{Provider: s.Name(), Keys: limiter.Keys{Account: user, Operation: "DATA"}}, func(ctx context.Context) error {
									c, err := dialSMTP(ctx, s, user, "any")
									if err != nil {
										return err
									}
									defer c.Close()
									return sendMail(c, user, fmt.Sprintf("to%d@x.example", n), id)
								})
								times := s.Delivered(id)
								mu.Lock()
								defer mu.Unlock()
								switch {
								case as == engine.AsAmbiguous && times <= 1:
									ambiguous++
								case as != "" || times != 1:
									t.Errorf("%s was delivered %d times, and ended as %q", id, times, as)
								}
							})
						}
					}
					done.Wait()
					c := s.Counts()
					if c.DuplicateSends > 0 || c.ConcurrencyLimit > 0 && c.PeakConcurrency > c.ConcurrencyLimit {
						t.Errorf("counts: %+v", c)
					}
					refused, lost = refused+c.RefusedTotal(), lost+c.RepliesLost
				})
			})
		}
		if refused == 0 || lost == 0 || ambiguous < lost {
			t.Errorf("%d refusals, %d lost replies, %d ambiguous ends: the test proves nothing", refused, lost, ambiguous)
		}
	}
}

// A refresh whose answer is lost has used its token up. The engine does not present that
// again, whatever is called meanwhile, until the user has signed in anew.
func TestOAuthReplyLost(t *testing.T) {
	for _, fault := range []enginetest.Fault{enginetest.ReplyLost, enginetest.ConnectionLost} {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				oauth := enginetest.NewOAuth(enginetest.OAuthOptions{AccessLife: time.Minute, RevokeOnReuse: true})
				defer oauth.Close()
				s := enginetest.NewIMAP(enginetest.Options{Faultless: true, OAuth: oauth})
				s.FailOnEarlyReturn(t)
				w := newIMAPWorker(t, s, oauth)
				time.Sleep(2 * time.Minute)
				oauth.Inject(fault)
				for range 5 {
					err := w.do(t.Context(), "AUTHENTICATE", func(*imapClient) error { return nil })
					if gave, ok := errors.AsType[*engine.GiveUpError](err); !ok || gave.Decision.As != engine.AsAmbiguous {
						t.Errorf("got %v, want it ambiguous", err)
					}
					time.Sleep(time.Hour)
				}
				if c := oauth.Counts(); c.Requests != 1 || c.TokenReuses != 0 || c.GrantsRevoked != 0 {
					t.Errorf("counts: %+v, want one request", c)
				}
			})
		})
	}
}
