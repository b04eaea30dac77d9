package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// hosts are the IMAP servers.
var hosts = []func(enginetest.Options) *enginetest.IMAP{
	enginetest.NewIMAP, enginetest.NewGmailIMAP, enginetest.NewYahooIMAP, enginetest.NewOutlookIMAP,
}

// loggedIn is a client of the server's first account.
func loggedIn(t *testing.T, s *enginetest.IMAP) *imapClient {
	t.Helper()
	c, err := dialIMAP(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.do("LOGIN %s secret", s.Mailboxes()[0]); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIMAPCommands(t *testing.T) {
	for _, make := range hosts {
		t.Run(make(enginetest.Options{}).Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := make(enginetest.Options{Faultless: true, Messages: 5})
				s.FailOnEarlyReturn(t)
				user := s.Mailboxes()[0]
				c := loggedIn(t, s)
				first := s.Messages(user)[0]
				draft := "Message-ID: <d-1>\r\nTo: Ann <ann@x.example>\r\nSubject: a \"draft\"\r\n\r\nhi\r\n"
				for _, tt := range []struct {
					command string
					want    []string // parts of the answer
					err     string   // part of the error
				}{
					{command: "CAPABILITY", want: []string{"IMAP4rev1", "AUTH=XOAUTH2"}},
					{command: "NOOP", want: []string{"OK"}},
					{command: "FETCH 1 UID", err: "BAD"},
					{command: `LIST "" "*"`, want: []string{`* LIST () "/" INBOX`}},
					{command: "STATUS inbox (MESSAGES UIDNEXT)", want: []string{`* STATUS "inbox" (MESSAGES 5 UIDNEXT 6)`}},
					{command: "SELECT nowhere", err: "NONEXISTENT"},
					{command: `SELECT "INBOX"`, want: []string{"* 5 EXISTS", "[UIDVALIDITY 1]", "OK [READ-WRITE]"}},
					{command: "SELECT {5+}\r\nINBOX", want: []string{"* 5 EXISTS"}},
					{command: "FETCH 1 (UID FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])", want: []string{"* 1 FETCH (UID 1 FLAGS () BODY[HEADER.FIELDS (SUBJECT)] {", "Subject: " + first.Subject}},
					{command: "FETCH 1 BODY[]", want: []string{"Message-ID: <" + first.ID + ">", "This is"}},
					{command: "FETCH 1 (BODY[HEADER] BODY[TEXT] RFC822)", want: []string{"BODY[HEADER] {", "BODY[TEXT] {", "RFC822 {"}},
					{command: "UID FETCH 4:* FLAGS", want: []string{"* 4 FETCH (UID 4 FLAGS ())", "* 5 FETCH (UID 5"}},
					{command: "FETCH 7:99999999 ALL", want: []string{"OK FETCH"}},
					{command: "FETCH 2 FULL", want: []string{"INTERNALDATE", "RFC822.SIZE", `ENVELOPE ("Sun, 01 Mar 2026 09:00:00 +0000"`, `((NIL NIL "sender" "enginetest.example"))`}},
					{command: "FETCH 1 BODY[3.MIME]", err: "BAD"},
					{command: "FETCH 0 UID", err: "BAD"},
					{command: "SEARCH ALL", want: []string{"* SEARCH 1 2 3 4 5"}},
					{command: "UID SEARCH UID 2:3 HEADER Subject message", want: []string{"* SEARCH 2 3"}},
					{command: `UID SEARCH CHARSET UTF-8 (SUBJECT "Message 4")`, want: []string{"* SEARCH 4"}},
					{command: `FETCH 1 BODY.PEEK[HEADER.FIELDS ("SUBJECT")]`, want: []string{"Subject: " + first.Subject}},
					{command: "SEARCH SUBJECT", err: "BAD"},
					{command: "SEARCH UNDELETED", err: "BAD"},
					{command: fmt.Sprintf("APPEND Sent (\\Seen) \"01-Mar-2026 09:00:00 +0000\" {%d+}\r\n%s", len(draft), draft), want: []string{"OK [APPENDUID 1 1]"}},
					{command: "APPEND nowhere {1+}\r\nx", err: "TRYCREATE"},
					{command: "EXAMINE Sent", want: []string{"* 1 EXISTS", "[READ-ONLY]"}},
					{command: "FETCH 1 (FLAGS ENVELOPE)", want: []string{`(\Seen)`, `"a \"draft\""`, `(("Ann" NIL "ann" "x.example"))`}},
					{command: "SEARCH HEADER Message-ID <d-1>", want: []string{"* SEARCH 1"}},
					{command: "CLOSE", want: []string{"OK"}},
					{command: "SEARCH ALL", err: "BAD"},
					{command: "STARTTLS", err: "BAD"},
					{command: "FETCH (((((((((((1 UID", err: "BAD"},
					{command: `SELECT "x`, err: "BAD"},
					{command: "LOGOUT", err: "BYE"},
				} {
					data, err := c.do("%s", tt.command)
					got := strings.Join(data, "\n")
					if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
						t.Errorf("%q: error %v, want %q", tt.command, err, tt.err)
					}
					for _, part := range tt.want {
						if !strings.Contains(got, part) {
							t.Errorf("%q: got %q, want %q in it", tt.command, got, part)
						}
					}
				}
				if n := s.Appended(user, "d-1"); n != 1 {
					t.Errorf("appended %d times, want once", n)
				}
				if _, err := c.line(); err == nil {
					_, err = c.line()
					if err != io.EOF {
						t.Errorf("after LOGOUT: %v, want %v", err, io.EOF)
					}
				}
			})
		})
	}
}

// A client that pauses before a literal is told when to go on.
func TestIMAPSynchronizingLiteral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewIMAP(enginetest.Options{Faultless: true})
		defer s.Close()
		c := loggedIn(t, s)
		tag, err := c.send("APPEND Sent {5}")
		if err != nil {
			t.Fatal(err)
		}
		if line, err := c.line(); err != nil || !strings.HasPrefix(line, "+ ") {
			t.Fatalf("got %q, %v, want leave to go on", line, err)
		}
		fmt.Fprint(c.conn, "hello\r\n")
		if _, err := c.answer(tag); err != nil {
			t.Error(err)
		}
		if _, err := c.do("APPEND Sent {99999999}"); err == nil || !strings.Contains(err.Error(), "TOOBIG") {
			t.Errorf("got %v, want it to be too big", err)
		}
		if _, err := c.do("NOOP"); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}

// Who waits in IDLE hears of what comes.
func TestIMAPIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewIMAP(enginetest.Options{Faultless: true, Messages: 2})
		defer s.Close()
		c := loggedIn(t, s)
		if _, err := c.do("SELECT INBOX"); err != nil {
			t.Fatal(err)
		}
		tag, err := c.send("IDLE")
		if err != nil {
			t.Fatal(err)
		}
		if line, err := c.line(); err != nil || !strings.HasPrefix(line, "+ ") {
			t.Fatalf("got %q, %v, want leave to go on", line, err)
		}
		synctest.Wait()
		if err := s.Deliver(s.Mailboxes()[0], "news\r\nX: y"); err != nil {
			t.Fatal(err)
		}
		if line, err := c.line(); err != nil || line != "* 3 EXISTS" {
			t.Errorf("got %q, %v, want that there are 3", line, err)
		}
		fmt.Fprint(c.conn, "DONE\r\n")
		if _, err := c.answer(tag); err != nil {
			t.Error(err)
		}
		if data, err := c.do("FETCH 3 BODY[HEADER]"); err != nil || !strings.Contains(data[0], "Subject: news  X: y\r\n") {
			t.Errorf("got %q, %v", data, err)
		}
		if err := s.Deliver("nobody", "x"); err == nil {
			t.Error("delivered to nobody")
		}
		// Half an hour of silence is too long.
		if line, err := c.line(); err != nil || !strings.HasPrefix(line, "* BYE") {
			t.Errorf("got %q, %v, want a BYE", line, err)
		}
	})
}

// A worker of a mail engine opens a connection a command, as is simplest, and logs in by
// a token that is refreshed where it is refused.
type imapWorker struct {
	server dialer
	engine *engine.Engine
	call   engine.Call
	tokens *enginetest.Tokens
	user   string
}

func (w *imapWorker) do(ctx context.Context, operation string, f func(c *imapClient) error) error {
	call := w.call
	call.Operation = operation
	return w.engine.Do(ctx, call, func(ctx context.Context) error {
		c, err := dialIMAP(ctx, w.server)
		if err != nil {
			return err
		}
		defer c.conn.Close()
		token, err := w.tokens.Access(w.user)
		if err == nil {
			err = c.authenticate(w.user, token)
		}
		if err != nil {
			return err
		}
		return f(c)
	})
}

func newIMAPWorker(t *testing.T, s *enginetest.IMAP, o *enginetest.OAuth) *imapWorker {
	t.Helper()
	tokens := o.Tokens(s.Mailboxes()...)
	eng, err := engine.New(engine.Options{Reauth: engine.Reauth{Refresh: func(ctx context.Context, r engine.ReauthRequest) error {
		return tokens.Renew(ctx, r.Account)
	}}})
	if err != nil {
		t.Fatal(err)
	}
	user := s.Mailboxes()[0]
	return &imapWorker{
		server: s, engine: eng, tokens: tokens, user: user,
		call: engine.Call{Provider: s.Name(), Keys: limiter.Keys{Account: user}},
	}
}

// What the engine makes of each host's refusals.
func TestIMAPFaults(t *testing.T) {
	type ending struct {
		as       string        // given up as
		deferred bool          // handed back
		took     time.Duration // at least
	}
	ok, ambiguous, later, user := ending{}, ending{as: engine.AsAmbiguous}, ending{deferred: true}, ending{as: engine.AsNeedsUser}
	inSeconds := ending{took: 2 * time.Second}
	for _, tt := range []struct {
		fault  enginetest.Fault
		append bool              // else a FETCH
		login  bool              // that and no more
		want   map[string]ending // by policy; "" = of all others
		effect int               // of the append: how often the message is there
	}{
		{fault: enginetest.Unavailable, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.ServerError, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.ConnectionLost, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.ShuttingDown, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.Throttled, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.Overloaded, want: map[string]ending{"": inSeconds, "gmail_imap": ok}},
		{fault: enginetest.OverQuota, want: map[string]ending{"": inSeconds, "gmail_imap": later}},
		{fault: enginetest.Slow, want: map[string]ending{"": {took: time.Minute}}},
		{fault: enginetest.TokenExpired, login: true, want: map[string]ending{"": ok}},
		{fault: enginetest.TooManyLogins, login: true, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.OverConcurrency, login: true, want: map[string]ending{"": inSeconds}},
		{fault: enginetest.NotReady, want: map[string]ending{"": {as: engine.AsPermanent}}},
		{fault: enginetest.MailboxFull, append: true, want: map[string]ending{"": user}},
		{fault: enginetest.ReplyLost, append: true, want: map[string]ending{"": ambiguous}, effect: 1},
		{fault: enginetest.ConnectionLost, append: true, want: map[string]ending{"": ambiguous}},
		{fault: enginetest.Unavailable, append: true, want: map[string]ending{"": inSeconds}, effect: 1},
	} {
		for _, make := range hosts {
			name := make(enginetest.Options{}).Name()
			t.Run(fmt.Sprintf("%s/%s/append=%v", name, tt.fault, tt.append), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					oauth := enginetest.NewOAuth(enginetest.OAuthOptions{})
					defer oauth.Close()
					s := make(enginetest.Options{Faultless: true, Messages: 3, OAuth: oauth})
					s.FailOnEarlyReturn(t)
					w := newIMAPWorker(t, s, oauth)
					want, special := tt.want[name]
					if !special {
						want = tt.want[""]
					}
					s.Inject(tt.fault)
					w.call.MaxInline = 5 * time.Minute
					began := time.Now()
					var err error
					switch {
					case tt.login:
						err = w.do(t.Context(), "AUTHENTICATE", func(*imapClient) error { return nil })
					case tt.append:
						err = w.do(t.Context(), "APPEND", func(c *imapClient) error { return c.appendMail("Drafts", "m-1") })
					default:
						err = w.do(t.Context(), "FETCH", func(c *imapClient) error {
							if _, err := c.do("SELECT INBOX"); err != nil {
								return err
							}
							_, err := c.do("FETCH 1:* FLAGS")
							return err
						})
					}
					var got ending
					if gave, is := errors.AsType[*engine.GiveUpError](err); is {
						got.as = gave.Decision.As
					} else if _, is := errors.AsType[*engine.DeferError](err); is {
						got.deferred = true
					} else if err != nil {
						t.Fatal(err)
					}
					got.took = time.Since(began)
					if got.as != want.as || got.deferred != want.deferred || got.took < want.took {
						t.Errorf("got %+v (%v), want %+v", got, err, want)
					}
					if n := s.Appended(w.user, "m-1"); n != tt.effect {
						t.Errorf("appended %d times, want %d", n, tt.effect)
					}
					if c := s.Counts(); tt.fault == enginetest.ReplyLost && c.RepliesLost != 1 ||
						c.DuplicateSends != 0 || c.Requests == 0 {
						t.Errorf("counts: %+v", c)
					}
				})
			})
		}
	}
}

// Gmail refuses the sixteenth connection of an account, and takes it when another has ended.
func TestIMAPConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewGmailIMAP(enginetest.Options{Faultless: true})
		defer s.Close()
		var open []*imapClient
		for range 15 {
			open = append(open, loggedIn(t, s))
		}
		c, err := dialIMAP(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		login := func() error { _, err := c.do("LOGIN %s secret", s.Mailboxes()[0]); return err }
		if err := login(); err == nil || !strings.Contains(err.Error(), "Too many simultaneous connections") {
			t.Errorf("the sixteenth: %v", err)
		}
		open[0].conn.Close()
		synctest.Wait()
		if err := login(); err != nil {
			t.Errorf("after one ended: %v", err)
		}
		if c := s.Counts(); c.PeakConcurrency != 16 || c.ConcurrencyLimit != 15 || c.Refused[enginetest.OverConcurrency] != 1 {
			t.Errorf("counts: %+v", c)
		}
	})
}

// A client that comes back before the time that was named fails its test, one that
// waits does not; also over the loopback interface.
func TestIMAPEarlyReturn(t *testing.T) {
	for _, loopback := range []bool{false, true} {
		run := func(t *testing.T) {
			s := enginetest.NewOutlookIMAP(enginetest.Options{Faultless: true, Latency: 1})
			defer s.Close()
			if loopback {
				if _, err := s.Listen(); err != nil {
					t.Fatal(err)
				}
			}
			c := loggedIn(t, s)
			s.Inject(enginetest.Throttled)
			if _, err := c.do("SELECT INBOX"); err == nil || !strings.Contains(err.Error(), "Suggested Backoff Time: ") {
				t.Fatalf("got %v, want it throttled", err)
			}
			if n := s.Counts().EarlyReturns; n != 0 {
				t.Errorf("%d early returns, want none yet", n)
			}
			c.do("SELECT INBOX")
			if n := s.Counts().EarlyReturns; n != 1 {
				t.Errorf("%d early returns, want 1", n)
			}
			if loopback {
				return
			}
			time.Sleep(3 * time.Second)
			if _, err := c.do("SELECT INBOX"); err != nil {
				t.Error(err)
			}
			if n := s.Counts().EarlyReturns; n != 1 {
				t.Errorf("%d early returns, want 1 still", n)
			}
		}
		if loopback {
			t.Run("loopback", run)
		} else {
			t.Run("memory", func(t *testing.T) { synctest.Test(t, run) })
		}
	}
}

// Another connection of the account is held to a refusal too, but not in the middle of an attempt.
func TestIMAPEarlyReturnElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause time.Duration // of the other connection, before its next command
		want  int
	}{
		{"in the middle of an attempt", 0, 0},
		{"after a pause", time.Second, 1},
		{"in time", 3 * time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := enginetest.NewOutlookIMAP(enginetest.Options{Faultless: true, Latency: 100 * time.Millisecond})
				defer s.Close()
				one, other := loggedIn(t, s), loggedIn(t, s)
				time.Sleep(time.Second)
				s.InjectOn("STATUS", enginetest.Throttled)
				s.InjectOn("EXAMINE", enginetest.Slow) // so the other one's command is under way meanwhile
				var done sync.WaitGroup
				done.Go(func() {
					other.do("EXAMINE INBOX")
					time.Sleep(tt.pause)
					other.do("FETCH 1 UID")
				})
				time.Sleep(59950 * time.Millisecond)
				if _, err := one.do("STATUS INBOX (MESSAGES)"); err == nil {
					t.Error("it was not throttled")
				}
				done.Wait()
				if n := s.Counts().EarlyReturns; n != tt.want {
					t.Errorf("%d early returns, want %d", n, tt.want)
				}
			})
		})
	}
}

// A closed server refuses connections and ends those that are open.
func TestIMAPClose(t *testing.T) {
	s := enginetest.NewIMAP(enginetest.Options{Faultless: true, Latency: 1})
	c := loggedIn(t, s)
	s.Close()
	s.Close()
	if _, err := c.do("NOOP"); err == nil {
		t.Error("a closed server answered")
	}
	if _, err := s.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("dialled a closed server: %v", err)
	}
	if _, err := s.Listen(); err == nil {
		t.Error("a closed server listens")
	}
}

// An outage lasts until it is over.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := enginetest.NewIMAP(enginetest.Options{Faultless: true})
		defer s.Close()
		c := loggedIn(t, s)
		s.Outage(enginetest.Unavailable)
		for range 3 {
			if _, err := c.do("SELECT INBOX"); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
				t.Errorf("got %v, want it unavailable", err)
			}
		}
		s.Outage("")
		if _, err := c.do("SELECT INBOX"); err != nil {
			t.Error(err)
		}
	})
}

// The seed alone decides what goes wrong.
func TestIMAPSeed(t *testing.T) {
	run := func(seed uint64) (said string) {
		synctest.Test(t, func(t *testing.T) {
			s := enginetest.NewIMAP(enginetest.Options{Seed: seed, Mailboxes: 1})
			defer s.Close()
			var c *imapClient
			for i := range 200 {
				if c == nil {
					var err error
					if c, err = dialIMAP(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					if _, err = c.do("LOGIN %s x", s.Mailboxes()[0]); err != nil {
						said += fmt.Sprint(i, err)
						c.conn.Close()
						c = nil
						time.Sleep(3 * time.Second)
						continue
					}
				}
				if err := c.appendMail("Sent", fmt.Sprint(i)); err != nil {
					said += fmt.Sprint(i, err)
					c.conn.Close()
					c = nil
					time.Sleep(3 * time.Second)
				}
			}
		})
		return said
	}
	first, again, other := run(1), run(1), run(2)
	if first != again {
		t.Errorf("one seed, two runs:\n%s\n%s", first, again)
	}
	if first == other || first == "" {
		t.Errorf("two seeds, one run: %q", first)
	}
}

// Whatever a client writes, the server neither panics nor hangs.
func FuzzIMAP(f *testing.F) {
	for _, s := range []string{
		"a1 LOGIN user1@imap.example x\r\n", "a1 LOGIN {3}\r\nabc {1+}\r\nx\r\na2 SELECT INBOX\r\na3 FETCH 1:* (BODY.PEEK[HEADER.FIELDS (Subject)])\r\n",
		"a1 AUTHENTICATE XOAUTH2\r\n*\r\n", "a1 AUTHENTICATE PLAIN AHVzZXIxQGltYXAuZXhhbXBsZQB4\r\n", "a1 {99999999999999999999}\r\n", "a {0}\r\n\r\n",
		"a1 LOGIN user1@imap.example x\r\na2 SELECT INBOX\r\na3 IDLE\r\nDONE\r\na4 SEARCH 1:2,* HEADER\r\na5 UID\r\na6 LOGOUT\r\n",
		"a1 LOGIN user1@imap.example x\r\na2 APPEND Sent (((((((((({1+}\r\nx\r\n", "* OK\r\n", "\x00\xff\r\n", "a1 LOGIN \"\\", strings.Repeat("a", 9000) + "\r\na NOOP\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		s := enginetest.NewIMAP(enginetest.Options{Latency: 1, Mailboxes: 1, Messages: 2, Faultless: true})
		attack(t, s, s.Close, input)
	})
}

// attack writes the input to a server, and hears its answers to the end.
func attack(t *testing.T, s dialer, stop func(), input []byte) {
	defer stop()
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		_, _ = conn.Write(input) // fails where the server has had enough
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	_, _ = io.Copy(io.Discard, conn)
}
