package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// session is a connection of one account. It is for one goroutine.
type session struct {
	provider *engine.Provider                          // as eng.Provider("gmail_imap")
	account  string                                    // whose limits and credentials count
	dial     func(context.Context) (net.Conn, error)   // TLS, in production
	password func(ctx context.Context) (string, error) // the current one
	client   *imapclient.Client                        // nil = connect first
}

// do runs one command. Where there is no connection, or the last attempt broke it, it
// connects and signs in first, as a call of its own inside this one.
func (s *session) do(ctx context.Context, command string, run func(*imapclient.Client) error) error {
	return s.provider.Do(ctx, s.call(command), func(ctx context.Context) error {
		if s.client == nil {
			if err := s.connect(ctx); err != nil {
				return err
			}
		}
		return s.attempt(ctx, run)
	})
}

// connect connects and signs in.
func (s *session) connect(ctx context.Context) error {
	return s.provider.Do(ctx, s.call("AUTHENTICATE"), func(ctx context.Context) error {
		password, err := s.password(ctx)
		if err != nil {
			return err
		}
		conn, err := s.dial(ctx)
		if err != nil {
			return err
		}
		s.client = imapclient.New(conn, nil)
		err = s.attempt(ctx, func(c *imapclient.Client) error {
			return c.Authenticate(sasl.NewPlainClient("", s.account, password))
		})
		if err != nil {
			s.close()
		}
		return err
	})
}

// attempt runs a command on the connection, and closes that if it cannot be used any more:
// unless the server has answered by OK, NO or BAD.
func (s *session) attempt(ctx context.Context, run func(*imapclient.Client) error) error {
	client := s.client
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	err := run(client)
	reply, replied := errors.AsType[*imap.Error](err)
	if err == nil || replied && reply.Type != imap.StatusResponseTypeBye {
		return err
	}
	s.close()
	if !replied {
		// The client says in words of its own how the connection ended.
		err = fmt.Errorf("%w (%w)", err, io.ErrUnexpectedEOF)
	}
	return err
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

func (s *session) call(command string) engine.Call {
	return engine.Call{Keys: limiter.Keys{Account: s.account, Operation: command}, Method: command}
}

// subjects are those of a mailbox's messages.
func (s *session) subjects(ctx context.Context, mailbox string) (subjects []string, err error) {
	err = s.do(ctx, "FETCH", func(c *imapclient.Client) error {
		subjects = nil // an attempt before may have begun
		selected, err := c.Select(mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil || selected.NumMessages == 0 {
			return err
		}
		all := imap.SeqSet{{Start: 1, Stop: selected.NumMessages}}
		messages, err := c.Fetch(all, &imap.FetchOptions{Envelope: true}).Collect()
		for _, m := range messages {
			if m.Envelope != nil {
				subjects = append(subjects, m.Envelope.Subject)
			}
		}
		return err
	})
	return subjects, err
}

// save appends a draft. Where its reply was lost it ends as ambiguous, and has to be
// looked for by its Message-ID.
func (s *session) save(ctx context.Context, mailbox string, mail []byte) error {
	return s.do(ctx, "APPEND", func(c *imapclient.Client) error {
		cmd := c.Append(mailbox, int64(len(mail)), nil)
		_, err := cmd.Write(mail)
		if err == nil {
			err = cmd.Close()
		}
		if err != nil {
			return err
		}
		_, err = cmd.Wait()
		return err
	})
}

// Whatever becomes of a connection, a command is repeated where that does no harm, over a
// new connection, and nothing is appended twice.
func TestIMAPSetUp(t *testing.T) {
	const draft = "Message-ID: <draft-1@example.com>\r\nSubject: hello\r\n\r\nhello\r\n"
	for _, tt := range []struct {
		name      string
		on        string
		faults    []enginetest.Fault
		append    bool
		as        string
		appended  int
		refreshes int
		least     time.Duration // that it takes
	}{
		{name: "nothing goes wrong"},
		{name: "FETCH, connection lost", on: "FETCH", faults: []enginetest.Fault{enginetest.ConnectionLost}, least: 2 * time.Second},
		{name: "SELECT, connection lost", on: "EXAMINE", faults: []enginetest.Fault{enginetest.ConnectionLost}, least: 2 * time.Second},
		{name: "sign-in, connection lost", on: "AUTHENTICATE", faults: []enginetest.Fault{enginetest.ConnectionLost}, least: 2 * time.Second},
		{name: "sign-in, refused once", on: "AUTHENTICATE", faults: []enginetest.Fault{enginetest.TokenExpired}, refreshes: 1},
		{name: "FETCH, the server shuts down", on: "FETCH", faults: []enginetest.Fault{enginetest.ShuttingDown}, least: 2 * time.Second},
		{name: "FETCH, unavailable", on: "FETCH", faults: []enginetest.Fault{enginetest.Unavailable}, least: 2 * time.Second},
		{name: "append", append: true, appended: 1},
		{name: "APPEND, connection lost", on: "APPEND", faults: []enginetest.Fault{enginetest.ConnectionLost}, append: true, as: engine.AsAmbiguous},
		{name: "APPEND, reply lost", on: "APPEND", faults: []enginetest.Fault{enginetest.ReplyLost}, append: true, as: engine.AsAmbiguous, appended: 1},
		{name: "APPEND, unavailable", on: "APPEND", faults: []enginetest.Fault{enginetest.Unavailable}, append: true, appended: 1, least: 2 * time.Second},
		{name: "append, sign-in lost", on: "AUTHENTICATE", faults: []enginetest.Fault{enginetest.ConnectionLost}, append: true, appended: 1, least: 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := enginetest.NewGmailIMAP(enginetest.Options{Faultless: true, Messages: 3})
				server.FailOnEarlyReturn(t)
				refreshes := 0
				eng, err := engine.New(engine.Options{Reauth: engine.Reauth{Refresh: func(context.Context, engine.ReauthRequest) error {
					refreshes++
					return nil
				}}})
				if err != nil {
					t.Fatal(err)
				}
				provider, err := eng.Provider(server.Name())
				if err != nil {
					t.Fatal(err)
				}
				account := server.Mailboxes()[0]
				s := &session{
					provider: provider, account: account, dial: server.Dial,
					password: func(context.Context) (string, error) { return "any", nil },
				}
				defer s.close()
				if tt.on != "" {
					server.InjectOn(tt.on, tt.faults...)
				}
				began := time.Now()
				if tt.append {
					err = s.save(t.Context(), "Drafts", []byte(draft))
				} else {
					var subjects []string
					if subjects, err = s.subjects(t.Context(), "INBOX"); err == nil && len(subjects) != 3 {
						t.Errorf("subjects %q, want three", subjects)
					}
				}
				as := ""
				if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
					as = gave.Decision.As
				}
				if as != tt.as || (err != nil) != (tt.as != "") {
					t.Errorf("error %v, label %q, want %q", err, as, tt.as)
				}
				if took := time.Since(began); took < tt.least {
					t.Errorf("took %v, want %v at least", took, tt.least)
				}
				if refreshes != tt.refreshes {
					t.Errorf("%d refreshes, want %d", refreshes, tt.refreshes)
				}
				if n := server.Appended(account, "draft-1@example.com"); n != tt.appended {
					t.Errorf("appended %d times, want %d", n, tt.appended)
				}
			})
		})
	}
}

// An OK that says that the account is throttled is a success, and keeps the next command back.
func TestIMAPThrottledOK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		eng, err := engine.New(engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		call := engine.Call{Provider: "gmail_imap", Keys: limiter.Keys{Account: "ann", Operation: "FETCH"}, Method: "FETCH"}
		began := time.Now()
		for n, answer := range []error{&imap.Error{Type: imap.StatusResponseTypeOK, Code: "THROTTLED"}, nil} {
			attempts := 0
			err := eng.Do(t.Context(), call, func(context.Context) error { attempts++; return answer })
			if took := time.Since(began); err != nil || attempts != 1 || (n == 1) != (took >= time.Second) {
				t.Errorf("command %d: error %v after %d attempts and %v; want none after one, and the second later", n, err, attempts, took)
			}
		}
	})
}

// Whatever goes wrong by chance, ten workers an account get everything, nothing is appended
// twice, and no call ends for a reason that the server does not give.
func TestIMAPSetUpUnderFaults(t *testing.T) {
	for _, host := range []func(enginetest.Options) *enginetest.IMAP{
		enginetest.NewIMAP, enginetest.NewGmailIMAP, enginetest.NewYahooIMAP, enginetest.NewOutlookIMAP,
	} {
		t.Run(host(enginetest.Options{}).Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := host(enginetest.Options{Seed: 1, Mailboxes: 2, Messages: 5})
				server.FailOnEarlyReturn(t)
				eng, err := engine.New(engine.Options{Reauth: engine.Reauth{
					Refresh: func(context.Context, engine.ReauthRequest) error { return nil },
				}})
				if err != nil {
					t.Fatal(err)
				}
				provider, err := eng.Provider(server.Name())
				if err != nil {
					t.Fatal(err)
				}
				var workers sync.WaitGroup
				for _, account := range server.Mailboxes() {
					for worker := range 10 {
						workers.Go(func() {
							s := &session{
								provider: provider, account: account, dial: server.Dial,
								password: func(context.Context) (string, error) { return "any", nil },
							}
							defer s.close()
							for n := range 10 {
								var err error
								id, as := fmt.Sprintf("draft-%d-%d@example.com", worker, n), ""
								for {
									if n%2 == 0 {
										_, err = s.subjects(t.Context(), "INBOX")
									} else {
										err = s.save(t.Context(), "Drafts", []byte("Message-ID: <"+id+">\r\n\r\nhello\r\n"))
									}
									later, ok := errors.AsType[*engine.DeferError](err)
									if !ok {
										break
									}
									time.Sleep(time.Until(later.Until))
								}
								if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
									as = gave.Decision.As
								}
								times := server.Appended(account, id)
								if n%2 == 0 && as != "" || as != "" && as != engine.AsAmbiguous || times > 1 || n%2 == 1 && as == "" && times != 1 {
									t.Errorf("call %d of worker %d: error %v, label %q, appended %d times", n, worker, err, as, times)
								}
							}
						})
					}
				}
				workers.Wait()
				if c := server.Counts(); c.RefusedTotal() == 0 || c.RepliesLost == 0 {
					t.Errorf("nothing went wrong: %+v", c)
				}
			})
		})
	}
}
