package sdktest

import (
	"context"
	"errors"
	"net"
	"net/smtp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// sender sends mails of one account, each over a connection of its own.
type sender struct {
	provider *engine.Provider // as eng.Provider("gmail_smtp")
	account  string
	host     string                                  // that the certificate is of
	dial     func(context.Context) (net.Conn, error) // TLS, in production
	password string
}

// send sends a mail. Only what comes after DATA can have sent it; so what comes before is
// a call of its own, which is repeated when its connection breaks.
func (s *sender) send(ctx context.Context, from, to string, mail []byte) error {
	return s.provider.Do(ctx, s.call("DATA"), func(ctx context.Context) error {
		client, err := s.address(ctx, from, to)
		if err != nil {
			return err
		}
		defer client.Close()
		defer context.AfterFunc(ctx, func() { client.Close() })()
		w, err := client.Data()
		if err != nil {
			return err
		}
		if _, err := w.Write(mail); err != nil {
			return err
		}
		if err := w.Close(); err != nil { // the reply to the final dot
			return err
		}
		_ = client.Quit() // it is sent, whatever the server says now
		return nil
	})
}

// address connects, signs in, and says from whom and to whom a mail goes.
func (s *sender) address(ctx context.Context, from, to string) (client *smtp.Client, err error) {
	return engine.Value(ctx, s.provider, s.call("RCPT"), func(ctx context.Context) (*smtp.Client, error) {
		client, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		if err = client.Mail(from); err == nil {
			err = client.Rcpt(to)
		}
		if err != nil {
			client.Close()
			return nil, err
		}
		return client, nil
	})
}

// connect connects and signs in.
func (s *sender) connect(ctx context.Context) (*smtp.Client, error) {
	return engine.Value(ctx, s.provider, s.call("AUTH"), func(ctx context.Context) (*smtp.Client, error) {
		conn, err := s.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		client, err := smtp.NewClient(conn, s.host) // which reads the greeting
		if err != nil {
			conn.Close()
			return nil, err
		}
		if err := client.Auth(smtp.PlainAuth("", s.account, s.password, s.host)); err != nil {
			client.Close()
			return nil, err
		}
		return client, nil
	})
}

func (s *sender) call(verb string) engine.Call {
	return engine.Call{Keys: limiter.Keys{Account: s.account, Operation: verb}, Method: verb}
}

// Whatever breaks, a mail goes out once at most, and what was certainly not sent is repeated.
func TestSMTPSetUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		on     string
		faults []enginetest.Fault
		as     string
		sent   int
	}{
		{name: "nothing goes wrong", sent: 1},
		{name: "sign-in, connection lost", on: "AUTH", faults: []enginetest.Fault{enginetest.ConnectionLost}, sent: 1},
		{name: "MAIL, connection lost", on: "MAIL", faults: []enginetest.Fault{enginetest.ConnectionLost}, sent: 1},
		{name: "RCPT, connection lost", on: "RCPT", faults: []enginetest.Fault{enginetest.ConnectionLost}, sent: 1},
		{name: "RCPT, unavailable", on: "RCPT", faults: []enginetest.Fault{enginetest.Unavailable}, sent: 1},
		{name: "DATA, unavailable", on: "DATA", faults: []enginetest.Fault{enginetest.Unavailable}, sent: 1},
		{name: "DATA, connection lost", on: "DATA", faults: []enginetest.Fault{enginetest.ConnectionLost}, as: engine.AsAmbiguous},
		{name: "DATA, reply lost", on: "DATA", faults: []enginetest.Fault{enginetest.ReplyLost}, as: engine.AsAmbiguous, sent: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := enginetest.NewSMTP(enginetest.Options{Faultless: true})
				server.FailOnEarlyReturn(t)
				eng, err := engine.New(engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				provider, err := eng.Provider(server.Name())
				if err != nil {
					t.Fatal(err)
				}
				account := server.Mailboxes()[0]
				s := &sender{provider: provider, account: account, host: "localhost", dial: server.Dial, password: "any"}
				if tt.on != "" {
					server.InjectOn(tt.on, tt.faults...)
				}
				for {
					err = s.send(t.Context(), account, "ann@example.com", []byte("Message-ID: <mail-1@example.com>\r\nSubject: hello\r\n\r\nhello\r\n"))
					later, ok := errors.AsType[*engine.DeferError](err)
					if !ok {
						break
					}
					time.Sleep(time.Until(later.Until)) // as a job that is parked
				}
				as := ""
				if gave, ok := errors.AsType[*engine.GiveUpError](err); ok {
					as = gave.Decision.As
				}
				if as != tt.as || (err != nil) != (tt.as != "") {
					t.Errorf("error %v, label %q, want %q", err, as, tt.as)
				}
				if n := server.Delivered("mail-1@example.com"); n != tt.sent {
					t.Errorf("delivered %d times, want %d", n, tt.sent)
				}
			})
		})
	}
}
