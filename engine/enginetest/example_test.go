package enginetest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"

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
