package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/smtp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// relays are the SMTP servers.
var relays = []func(enginetest.Options) *enginetest.SMTP{enginetest.NewSMTP, enginetest.NewGmailSMTP, enginetest.NewOutlookSMTP}

func TestSMTPCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewSMTP(enginetest.Options{Faultless: true})
		s.FailOnEarlyReturn(t)
		conn, err := s.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		r := newReplies(conn)
		if got := r.next(t); !strings.HasPrefix(got, "220 ") {
			t.Fatalf("greeting %q", got)
		}
		user := s.Mailboxes()[0]
		for _, tt := range []struct{ write, want string }{
			{"AUTH PLAIN x", "503 5.5.1"},
			{"HELO me", "250 "},
			{"EHLO me", "250 AUTH PLAIN XOAUTH2"},
			{"MAIL FROM:<a@x.example>", "530 5.7.0"},
			{"AUTH CRAM-MD5", "504 5.5.4"},
			{"AUTH PLAIN !", "501 5.5.2"},
			{"AUTH PLAIN\r\n*", "501 5.7.0"},
			{"AUTH PLAIN " + plain("nobody", "x"), "535 5.7.8"},
			{"AUTH PLAIN\r\n" + plain(user, "x"), "235 2.7.0"},
			{"AUTH PLAIN " + plain(user, "x"), "503 5.5.1"},
			{"DATA", "503 5.5.1"},
			{"RCPT TO:<b@x.example>", "503 5.5.1"},
			{"MAIL a@x.example", "501 5.5.4"},
			{"MAIL FROM:<a@x.example> SIZE=10", "250 2.1.0"},
			{"MAIL FROM:<a@x.example>", "503 5.5.1"},
			{"RCPT TO:<>", "501 5.5.4"},
			{"RCPT TO:<b@x.example>", "250 2.1.5"},
			{"RSET", "250 2.0.0"},
			{"DATA", "503 5.5.1"},
			{"NOOP", "250 2.0.0"},
			{"VRFY b", "252 2.1.5"},
			{"TURN", "500 5.5.1"},
			{strings.Repeat("x", 9000), "500 5.5.2"},
			// A pipeline (RFC 2920).
			{"MAIL FROM:<>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\nDATA", "354 "},
			// A bare LF ends nothing (RFC 5321, section 2.3.8).
			{"Message-ID: <m-1>\r\n\r\n..dots\n.\nMAIL FROM:<evil@x.example>\r\n.", "250 2.0.0"},
			{"QUIT", "221 2.0.0"},
		} {
			if _, err := io.WriteString(conn, tt.write+"\r\n"); err != nil {
				t.Fatal(err)
			}
			var got []string
			for want := strings.Count(tt.write, "\r\n") + 1; ; want-- {
				got = append(got, r.next(t))
				if strings.HasPrefix(got[len(got)-1], tt.want) || want == 0 {
					break
				}
			}
			if !strings.HasPrefix(got[len(got)-1], tt.want) {
				t.Errorf("%.40q: got %q, want %q", tt.write, got, tt.want)
			}
		}
		if n := s.Delivered("m-1"); n != 1 {
			t.Errorf("delivered %d times, want once", n)
		}
	})
}

// A message that is too big is refused, and nothing is kept of it.
func TestSMTPTooBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewSMTP(enginetest.Options{Faultless: true})
		defer s.Close()
		user := s.Mailboxes()[0]
		c, err := dialSMTP(t.Context(), s, user, "any")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Mail(user); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("b@x.example"); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "Message-ID: <big>\r\n\r\n%s\r\n", strings.Repeat("x", 4095))
		io.WriteString(w, strings.Repeat("y", 2<<20))
		if err := w.Close(); err == nil || !strings.Contains(err.Error(), "552") {
			t.Errorf("got %v, want a 552", err)
		}
		if err := sendMail(c, user, "b@x.example", "small"); err != nil {
			t.Errorf("the next: %v", err)
		}
		if s.Delivered("big") != 0 || s.Delivered("small") != 1 {
			t.Errorf("delivered %d and %d times", s.Delivered("big"), s.Delivered("small"))
		}
	})
}

// A CRLF that two reads of the server part is a line's end all the same.
func TestSMTPLineAcrossReads(t *testing.T) {
	for size := 4090; size < 4100; size++ {
		synctest.Test(t, func(t *testing.T) {
			s := enginetest.NewSMTP(enginetest.Options{Faultless: true})
			defer s.Close()
			user := s.Mailboxes()[0]
			c, err := dialSMTP(t.Context(), s, user, "any")
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range []string{"MAIL FROM:<a@x.example>", "RCPT TO:<b@x.example>", "DATA"} {
				if err := c.Text.PrintfLine("%s", line); err != nil {
					t.Fatal(err)
				}
				if _, _, err := c.Text.ReadResponse(0); err != nil {
					t.Fatal(err)
				}
			}
			c.Text.PrintfLine("%s\r\n.", strings.Repeat("x", size))
			if _, _, err := c.Text.ReadResponse(250); err != nil {
				t.Errorf("a line of %d bytes: %v", size, err)
			}
		})
	}
}

// What the engine makes of each host's refusals, where a message is sent in one call.
func TestSMTPFaults(t *testing.T) {
	type ending struct {
		as       string        // given up as
		deferred bool          // handed back
		took     time.Duration // at least
	}
	ok, ambiguous, later := ending{}, ending{as: engine.AsAmbiguous}, ending{deferred: true}
	soon := ending{took: 2 * time.Second}
	for _, tt := range []struct {
		fault     enginetest.Fault
		on        string            // a command; "" = that the fault befalls by itself
		operation string            // "" = DATA
		want      map[string]ending // by policy; "" = of all others
		delivered int
	}{
		{fault: enginetest.Throttled, want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.Overloaded, want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.Unavailable, want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.ServerError, want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.ShuttingDown, want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.OverQuota, want: map[string]ending{"": soon, "gmail_smtp": later, "outlook_smtp": later}, delivered: 1},
		{fault: enginetest.Slow, want: map[string]ending{"": {took: time.Minute}}, delivered: 1},
		{fault: enginetest.Greylisted, operation: "RCPT", want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.MailboxFull, operation: "RCPT", want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.Rejected, operation: "RCPT", want: map[string]ending{"": {as: engine.AsPermanent}}},
		{fault: enginetest.TokenExpired, operation: "AUTH", want: map[string]ending{"": ok}, delivered: 1},
		{fault: enginetest.TooManyLogins, operation: "AUTH", want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.OverConcurrency, operation: "AUTH", want: map[string]ending{"": soon}, delivered: 1},
		{fault: enginetest.ReplyLost, want: map[string]ending{"": ambiguous}, delivered: 1},
		{fault: enginetest.ConnectionLost, want: map[string]ending{"": ambiguous}},
		{fault: enginetest.ConnectionLost, on: "MAIL", operation: "MAIL", want: map[string]ending{"": soon}, delivered: 1},
	} {
		for _, make := range relays {
			name := make(enginetest.Options{}).Name()
			t.Run(name+"/"+string(tt.fault)+tt.on, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					oauth := enginetest.NewOAuth(enginetest.OAuthOptions{})
					defer oauth.Close()
					s := make(enginetest.Options{Faultless: true, OAuth: oauth})
					s.FailOnEarlyReturn(t)
					tokens := oauth.Tokens(s.Mailboxes()...)
					eng, err := engine.New(engine.Options{Reauth: engine.Reauth{Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
						return tokens.Renew(ctx, r.Account)
					}}})
					if err != nil {
						t.Fatal(err)
					}
					want, special := tt.want[name]
					if !special {
						want = tt.want[""]
					}
					operation := tt.operation
					if operation == "" {
						operation = "DATA"
					}
					if tt.on != "" {
						s.InjectOn(tt.on, tt.fault)
					} else {
						s.Inject(tt.fault)
					}
					user := s.Mailboxes()[0]
					began := time.Now()
					err = eng.Do(t.Context(), engine.Call{
						Provider: s.Name(), Keys: limiter.Keys{Account: user, Operation: operation}, MaxInline: 45 * time.Minute,
					}, func(ctx context.Context) error {
						token, err := tokens.Access(user)
						if err != nil {
							return err
						}
						c, err := dialSMTP(ctx, s, user, token)
						if err != nil {
							return err
						}
						defer c.Close()
						return sendMail(c, user, "b@x.example", "m-1")
					})
					var got ending
					if gave, is := errors.AsType[*engine.GiveUpError](err); is {
						got.as = gave.Decision.As
					} else if _, is := errors.AsType[*engine.DeferError](err); is {
						got.deferred = true
					} else if err != nil {
						t.Fatal(err)
					}
					if got.took = time.Since(began); got.as != want.as || got.deferred != want.deferred || got.took < want.took {
						t.Errorf("got %+v (%v), want %+v", got, err, want)
					}
					wantDelivered := tt.delivered
					if want.deferred {
						wantDelivered = 0
					}
					if n := s.Delivered("m-1"); n != wantDelivered {
						t.Errorf("delivered %d times, want %d", n, wantDelivered)
					}
					if c := s.Counts(); tt.fault == enginetest.ReplyLost && c.RepliesLost != 1 || c.DuplicateSends != 0 {
						t.Errorf("counts: %+v", c)
					}
				})
			})
		}
	}
}

// A client that repeats a message whose reply was lost delivers it twice, and is found out.
func TestSMTPDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewSMTP(enginetest.Options{Faultless: true})
		defer s.Close()
		user := s.Mailboxes()[0]
		s.Inject(enginetest.ReplyLost)
		var errs []error
		for range 2 {
			c, err := dialSMTP(t.Context(), s, user, "any")
			if err != nil {
				t.Fatal(err)
			}
			errs = append(errs, sendMail(c, user, "b@x.example", "m-1"))
			c.Close()
		}
		if c := s.Counts(); errs[0] != io.EOF || errs[1] != nil || s.Delivered("m-1") != 2 || c.DuplicateSends != 1 {
			t.Errorf("errors %v, delivered %d times, counts %+v", errs, s.Delivered("m-1"), c)
		}
	})
}

// Who sends to a greylisted recipient before the time that was named fails the test.
func TestSMTPEarlyReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewSMTP(enginetest.Options{Faultless: true})
		defer s.Close()
		user := s.Mailboxes()[0]
		c, err := dialSMTP(t.Context(), s, user, "any")
		if err != nil {
			t.Fatal(err)
		}
		s.Inject(enginetest.Greylisted)
		send := func(to, id string) error {
			if err := c.Reset(); err != nil {
				t.Fatal(err)
			}
			return sendMail(c, user, to, id)
		}
		for _, tt := range []struct {
			name, to string
			wait     time.Duration
			refused  bool
			early    int
		}{
			{"first", "b@x.example", 0, true, 0},
			{"another recipient", "c@x.example", 0, false, 0},
			{"too early", "b@x.example", time.Second, true, 1},
			{"in time", "b@x.example", 3 * time.Second, false, 1},
		} {
			time.Sleep(tt.wait)
			err := send(tt.to, tt.name)
			if n := s.Counts().EarlyReturns; (err != nil) != tt.refused || n != tt.early {
				t.Errorf("%s: error %v, %d early returns, want refused %v, %d", tt.name, err, n, tt.refused, tt.early)
			}
		}
	})
}

// Over the loopback interface net/smtp speaks with it, too.
func TestSMTPLoopback(t *testing.T) {
	s := enginetest.NewSMTP(enginetest.Options{Faultless: true, Latency: 1})
	defer s.Close()
	address, err := s.Listen()
	if err != nil {
		t.Fatal(err)
	}
	user := s.Mailboxes()[0]
	err = smtp.SendMail(address, smtp.PlainAuth("", user, "any", "127.0.0.1"), user, []string{"b@x.example"}, []byte("Message-ID: <m-1>\r\n\r\nhi\r\n"))
	if n := s.Delivered("m-1"); err != nil || n != 1 {
		t.Errorf("error %v, delivered %d times, want once", err, n)
	}
}

// Whatever a client writes, the server neither panics nor hangs.
func FuzzSMTP(f *testing.F) {
	login := "EHLO x\r\nAUTH PLAIN " + plain("user1@smtp.example", "x") + "\r\n"
	for _, s := range []string{
		login + "MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n..\r\n.\r\nQUIT\r\n",
		login + "MAIL FROM:<\r\nRCPT TO:\r\nDATA\r\n.\n.\r\n", "AUTH XOAUTH2\r\n\r\n", "EHLO\r\nAUTH XOAUTH2\r\nfoo\r\n", "\x00\xff\n\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		s := enginetest.NewSMTP(enginetest.Options{Latency: 1, Mailboxes: 1, Faultless: true})
		attack(t, s, s.Close, input)
	})
}
