package engine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// No fault of the fake providers makes a message go out twice, by Transport or
// by Do, without the caller looking for anything; and what may have gone out is
// never called a success or a plain failure.
func TestNoFaultSendsTwice(t *testing.T) {
	for _, provider := range []struct {
		name string
		make func(enginetest.Options) *enginetest.Server
	}{
		{"gmail", enginetest.NewGmail}, {"microsoft_graph", enginetest.NewGraph}, {"nylas_v3", enginetest.NewNylas}, {"warpflow", enginetest.NewWarpflow},
	} {
		for _, way := range []string{"Transport", "Do"} {
			t.Run(provider.name+"/"+way, func(t *testing.T) {
				unread, ambiguous := 0, 0
				for seed := range uint64(5) {
					synctest.Test(t, func(t *testing.T) {
						s := provider.make(enginetest.Options{Seed: seed, Mailboxes: 2, Messages: 1})
						u, a := sendAll(t, s, provider.name, way == "Do")
						unread, ambiguous = unread+u, ambiguous+a
					})
				}
				if unread == 0 {
					t.Error("no answer was lost after the message had gone out: the test proves nothing")
				}
				if ambiguous < unread {
					t.Errorf("%d answers were lost, %d sends called ambiguous", unread, ambiguous)
				}
			})
		}
	}
}

func sendAll(t *testing.T, s *enginetest.Server, provider string, do bool) (unread, ambiguous int) {
	defer s.Close()
	base := enginetest.NewTransport(s)
	tokens := enginetest.NewTokens(s)
	eng, err := engine.New(engine.Options{
		Reauth: engine.Reauth{Interval: time.Second, Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
			return tokens.Renew(ctx, r.Account)
		}}, MaxInline: time.Hour, Authorize: tokens.Authorize,
	})
	if err != nil {
		t.Fatal(err)
	}
	send := func(mailbox, id string) (as string, err error) {
		call := engine.Call{Provider: provider, Keys: limiter.Keys{Account: mailbox}}
		req := s.SendRequest(mailbox, id).WithContext(engine.WithCall(t.Context(), call))
		if !do {
			resp, err := eng.Transport(base).RoundTrip(req)
			if err == nil {
				defer resp.Body.Close()
				out, decided := engine.Outcome(resp)
				if _, err = io.Copy(io.Discard, resp.Body); decided && out.Decision.Action != policy.Accept {
					return out.Decision.As, fmt.Errorf("HTTP %d", resp.StatusCode)
				}
				if err != nil {
					return engine.AsAmbiguous, err // a success that was cut short is one: nothing repeats it
				}
				return "", nil
			}
			if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
				return gave.Decision.As, err
			}
			return "other", err
		}
		call.Method = req.Method
		err = eng.Do(req.Context(), call, func(ctx context.Context) error {
			one := req.Clone(ctx)
			one.Body, _ = req.GetBody()
			if err := tokens.Authorize(one, mailbox); err != nil {
				return err
			}
			resp, err := base.RoundTrip(one)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if err := eng.CheckResponse(ctx, resp); err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			return err
		})
		if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
			return gave.Decision.As, err
		} else if err != nil {
			return "other", err
		}
		return "", nil
	}

	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, m := range s.Mailboxes() {
		for i := range 40 {
			wg.Go(func() {
				id := fmt.Sprintf("gate-%d.%s", i, m)
				as, err := send(m, id)
				n := s.Sent(m, id)
				mu.Lock()
				defer mu.Unlock()
				if as == engine.AsAmbiguous {
					ambiguous++
				}
				switch {
				case n > 1:
					t.Errorf("%s was sent %d times", id, n)
				case err == nil && n != 1:
					t.Errorf("%s was called a success, and sent %d times", id, n)
				case err != nil && n == 1 && as != engine.AsAmbiguous:
					t.Errorf("%s was sent, and called %q: %v", id, as, err)
				}
			})
		}
	}
	wg.Wait()
	if n := s.Counts().DuplicateSends; n != 0 {
		t.Errorf("%d messages were sent twice", n)
	}
	return s.Counts().RepliesLost, ambiguous
}

// What counts as sent, found on real connections that break at every stage.
func TestGateOnBreakingConnections(t *testing.T) {
	const yaml = `
version: 1
provider: test
backoff: {default: {initial: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 3}}
rules:
  - {name: server, when: status >= 500, action: retry}
  - {name: network, when: 'network != ""', action: retry}
default: fail
`
	set, diags := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(yaml)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(diags.Err())
	}
	// Each stage breaks the first connection; the second one answers.
	type stage struct {
		name  string
		dial  error
		serve func(net.Conn, *bufio.Reader) (processed bool)
		again bool // for a POST; a GET is always repeated
		mayBe bool // depends on whether the headers were written before the connection broke
	}
	read := func(r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err == nil {
			io.Copy(io.Discard, req.Body)
		}
	}
	stages := []stage{
		{name: "the name does not resolve", dial: &net.DNSError{Err: "no such host", Name: "api.test", IsNotFound: true}, again: true},
		{name: "the connection is refused", dial: &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, again: true},
		{name: "closed before a byte is read", mayBe: true, serve: func(net.Conn, *bufio.Reader) bool { return false }},
		{name: "closed within the headers", serve: func(_ net.Conn, r *bufio.Reader) bool { r.ReadString('\n'); return false }},
		{name: "closed before the answer", serve: func(_ net.Conn, r *bufio.Reader) bool { read(r); return true }},
		{name: "closed within the status line", serve: func(c net.Conn, r *bufio.Reader) bool {
			read(r)
			io.WriteString(c, "HTTP/1.1 20")
			return true
		}},
		{name: "an answer that is none", serve: func(c net.Conn, r *bufio.Reader) bool { read(r); io.WriteString(c, "SSH-2.0-x\r\n\r\n"); return true }},
		{name: "500 after it was done", serve: func(c net.Conn, r *bufio.Reader) bool {
			read(r)
			io.WriteString(c, "HTTP/1.1 500 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return true
		}},
		{name: "502 cut within its body", serve: func(c net.Conn, r *bufio.Reader) bool {
			read(r)
			io.WriteString(c, "HTTP/1.1 502 X\r\nContent-Length: 99\r\n\r\n<html>")
			return true
		}},
	}
	for _, st := range stages {
		for _, method := range []string{"GET", "POST"} {
			t.Run(st.name+"/"+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					eng, err := engine.New(engine.Options{Policies: set})
					if err != nil {
						t.Fatal(err)
					}
					dials := 0
					var processed atomic.Int32
					var wg sync.WaitGroup
					base := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
						dials++
						first := dials == 1
						if first && st.dial != nil {
							return nil, st.dial
						}
						client, server := net.Pipe()
						wg.Go(func() {
							defer server.Close()
							r := bufio.NewReader(server)
							if first {
								if st.serve(server, r) {
									processed.Add(1)
								}
								return
							}
							read(r)
							processed.Add(1)
							io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
						})
						return client, nil
					}}
					var body io.Reader
					if method == "POST" {
						body = strings.NewReader("mail")
					}
					req, _ := http.NewRequestWithContext(t.Context(), method, "http://api.test/send", body)
					req = req.WithContext(engine.WithCall(req.Context(), engine.Call{Provider: "test"}))
					resp, err := eng.Transport(base).RoundTrip(req)
					as := ""
					if err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						out, _ := engine.Outcome(resp)
						as = out.Decision.As
					} else if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
						as = gave.Decision.As
					}
					base.CloseIdleConnections()
					wg.Wait()
					again := st.again || method == "GET"
					if again && (dials != 2 || err != nil || resp.StatusCode != 200) {
						t.Errorf("%d connections, %v; want a repeat that succeeds", dials, err)
					}
					if !again && !st.mayBe && (dials != 1 || as != engine.AsAmbiguous) {
						t.Errorf("%d connections, as %q (%v); want one, as ambiguous", dials, as, err)
					}
					if n := processed.Load(); method == "POST" && n > 1 {
						t.Errorf("processed %d times", n)
					}
				})
			})
		}
	}
}
