package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// client is a worker's client above an engine, for one of the servers.
func client(s *enginetest.Server) (*http.Client, error) {
	tokens := enginetest.NewTokens(s)
	eng, err := engine.New(engine.Options{
		Authorize: tokens.Authorize,
		Reauth: engine.Reauth{Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
			return tokens.Renew(ctx, r.Account)
		}},
	})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: eng.Transport(enginetest.NewTransport(s))}, nil
}

// call makes a request on behalf of a mailbox, and says how it ended.
func call(s *enginetest.Server, mailbox string, r *http.Request) string {
	c, err := client(s)
	if err != nil {
		return err.Error()
	}
	var out engine.Result
	ctx := engine.WithCall(context.Background(), engine.Call{Provider: s.Name(), Keys: limiter.Keys{Account: mailbox}, Outcome: &out})
	resp, err := c.Do(r.WithContext(ctx))
	if err != nil {
		return "failed as " + out.Decision.As
	}
	defer resp.Body.Close()
	if out.Decision.As != "" {
		return resp.Status + " as " + out.Decision.As
	}
	return resp.Status
}

// The reply to a send is lost: the engine does not send again.
func ExampleNewGmail() {
	s := enginetest.NewGmail(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	s.Inject(enginetest.ReplyLost)
	mailbox := s.Mailboxes()[0]
	fmt.Println(call(s, mailbox, s.SendRequest(mailbox, "message-1")))
	fmt.Println("sent", s.Sent(mailbox, "message-1"), "times, replies lost:", s.Counts().RepliesLost)
	// Output:
	// failed as ambiguous
	// sent 1 times, replies lost: 1
}

// A message was deleted since it was listed.
func ExampleNewGraph() {
	s := enginetest.NewGraph(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	mailbox := s.Mailboxes()[0]
	fmt.Println(call(s, mailbox, s.GetRequest(mailbox, s.Messages(mailbox)[0].ID)))
	fmt.Println(call(s, mailbox, s.GetRequest(mailbox, "deleted")))
	// Output:
	// 200 OK
	// 404 Not Found as gone
}

// A token expires: the engine gets a new one, once.
func ExampleNewNylas() {
	s := enginetest.NewNylas(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	s.Inject(enginetest.TokenExpired)
	mailbox := s.Mailboxes()[0]
	fmt.Println(call(s, mailbox, s.ListRequest(mailbox, "")))
	fmt.Println("refreshes:", s.Counts().Refreshes)
	// Output:
	// 200 OK
	// refreshes: 1
}

func ExampleNewWarpflow() {
	s := enginetest.NewWarpflow(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	tenant := s.Mailboxes()[0]
	fmt.Println(call(s, tenant, s.SendRequest(tenant, "event-1")))
	// Output:
	// 202 Accepted
}

// One client for several providers.
func ExampleNewTransport() {
	gmail, graph := enginetest.NewGmail(enginetest.Options{}), enginetest.NewGraph(enginetest.Options{})
	defer gmail.Close()
	defer graph.Close()
	eng, err := engine.New(engine.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &http.Client{Transport: eng.Transport(enginetest.NewTransport(gmail, graph))}
	_ = c
}

// The hooks of an engine whose tokens the servers issue.
func ExampleNewTokens() {
	s := enginetest.NewNylas(enginetest.Options{})
	defer s.Close()
	tokens := enginetest.NewTokens(s)
	_ = engine.Options{
		Authorize: tokens.Authorize,
		Reauth: engine.Reauth{Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
			return tokens.Renew(ctx, r.Account)
		}},
	}
}

// The reply to an APPEND is lost: the engine does not repeat it, since the draft
// is there.
func ExampleNewIMAP() {
	s := enginetest.NewIMAP(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	s.Inject(enginetest.ReplyLost)
	eng, err := engine.New(engine.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	user := s.Mailboxes()[0]
	err = eng.Do(context.Background(), engine.Call{
		Provider: s.Name(), Keys: limiter.Keys{Account: user, Operation: "APPEND"},
	}, func(ctx context.Context) error {
		c, err := dialIMAP(ctx, s) // a client of the test's own; a worker has a library
		if err != nil {
			return err
		}
		defer c.conn.Close()
		if _, err := c.do("LOGIN %s secret", user); err != nil {
			return err
		}
		return c.appendMail("Drafts", "draft-1")
	})
	gave, _ := errors.AsType[*engine.GiveUpError](err)
	fmt.Println(gave.Decision.As, s.Appended(user, "draft-1"))
	// Output:
	// ambiguous 1
}

// Exchange says in words when to come back, and the call is handed back until then.
func ExampleNewOutlookIMAP() {
	s := enginetest.NewOutlookIMAP(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	s.InjectOn("SELECT", enginetest.Throttled)
	eng, err := engine.New(engine.Options{MaxInline: time.Nanosecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	user := s.Mailboxes()[0]
	err = eng.Do(context.Background(), engine.Call{
		Provider: s.Name(), Keys: limiter.Keys{Account: user, Operation: "SELECT"},
	}, func(ctx context.Context) error {
		c, err := dialIMAP(ctx, s)
		if err != nil {
			return err
		}
		defer c.conn.Close()
		if _, err := c.do("LOGIN %s secret", user); err != nil {
			return err
		}
		_, err = c.do("SELECT INBOX")
		return err
	})
	later, deferred := errors.AsType[*engine.DeferError](err)
	fmt.Println(deferred, later.Decision.Rule.Name)
	// Output:
	// true throttled-by-text
}

// A recipient does not exist: nothing is repeated.
func ExampleNewSMTP() {
	s := enginetest.NewSMTP(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	s.Inject(enginetest.Rejected)
	eng, err := engine.New(engine.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	user := s.Mailboxes()[0]
	err = eng.Do(context.Background(), engine.Call{
		Provider: s.Name(), Keys: limiter.Keys{Account: user, Operation: "RCPT"},
	}, func(ctx context.Context) error {
		c, err := dialSMTP(ctx, s, user, "any")
		if err != nil {
			return err
		}
		defer c.Close()
		return sendMail(c, user, "nobody@x.example", "mail-1")
	})
	gave, _ := errors.AsType[*engine.GiveUpError](err)
	fmt.Println(gave.Decision.As, gave.Event.Status, s.Delivered("mail-1"))
	// Output:
	// permanent 550 0
}

// The reply to a refresh is lost: the old refresh token has been used, and
// nobody has the new one.
func ExampleNewOAuth() {
	s := enginetest.NewOAuth(enginetest.OAuthOptions{RevokeOnReuse: true, Latency: 1})
	defer s.Close()
	g := s.Grant("ann")
	s.Inject(enginetest.ReplyLost)
	for range 2 {
		resp, err := s.Client().Do(s.RefreshRequest(g.Refresh))
		if err != nil {
			fmt.Println("no answer")
			continue
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	c := s.Counts()
	fmt.Println("presented", s.Presented(g.Refresh), "times, grants revoked:", c.GrantsRevoked)
	// Output:
	// no answer
	// 400 Bad Request
	// presented 2 times, grants revoked: 1
}

// A Gmail whose tokens an endpoint issues that rotates refresh tokens.
func ExampleOAuth_Tokens() {
	oauth := enginetest.NewOAuth(enginetest.OAuthOptions{Latency: 1})
	defer oauth.Close()
	mail := enginetest.NewGmailIMAP(enginetest.Options{OAuth: oauth})
	defer mail.Close()
	tokens := oauth.Tokens(mail.Mailboxes()...)
	_ = engine.Options{Reauth: engine.Reauth{Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
		return tokens.Renew(ctx, r.Account)
	}}}
	access, err := tokens.Access(mail.Mailboxes()[0])
	fmt.Println(access != "", err)
	// Output:
	// true <nil>
}

// Answers from a list, where no provider is needed.
func ExampleScript() {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	script := &enginetest.Script{}
	script.Add(enginetest.Reply{Status: 400, Body: `{"error":{"code":400}}`})
	c := &http.Client{Transport: eng.Transport(script)}
	resp, err := c.Post("http://gmail.googleapis.com/gmail/v1/users/me/messages/send", "application/json", strings.NewReader("{}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// 400 Bad Request
}
