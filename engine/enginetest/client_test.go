package enginetest_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dialer is an IMAP or SMTP server.
type dialer interface {
	Dial(context.Context) (net.Conn, error)
}

// imapClient is as much of an IMAP client as the tests need. A worker uses a library's.
type imapClient struct {
	conn net.Conn
	r    *bufio.Reader
	n    int
}

// imapError is a refusal, with the fields of go-imap's, by which the engine reads it.
type imapError struct{ Type, Code, Text string }

func (e *imapError) Error() string { return "imap: " + e.Type + " [" + e.Code + "] " + e.Text }

func dialIMAP(ctx context.Context, s dialer) (*imapClient, error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &imapClient{conn: conn, r: bufio.NewReader(conn)}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	_, err = c.line()
	return c, err
}

// line reads a line with its literals, and without its end.
func (c *imapClient) line() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if i := strings.LastIndexByte(line, '{'); i >= 0 && strings.HasSuffix(line, "}") {
		if n, err := strconv.Atoi(line[i+1 : len(line)-1]); err == nil {
			data := make([]byte, n)
			if _, err := io.ReadFull(c.r, data); err != nil {
				return "", err
			}
			rest, err := c.line()
			return line + "\r\n" + string(data) + rest, err
		}
	}
	return line, nil
}

// send writes a command and returns its tag.
func (c *imapClient) send(format string, args ...any) (tag string, err error) {
	c.n++
	tag = "a" + strconv.Itoa(c.n)
	_, err = fmt.Fprintf(c.conn, tag+" "+format+"\r\n", args...)
	return tag, err
}

// do makes a command and returns the data that came.
func (c *imapClient) do(format string, args ...any) (data []string, err error) {
	tag, err := c.send(format, args...)
	if err != nil {
		return nil, err
	}
	return c.answer(tag)
}

func (c *imapClient) answer(tag string) (data []string, err error) {
	for {
		line, err := c.line()
		if err != nil {
			return data, err
		}
		if rest, ok := strings.CutPrefix(line, "* BYE "); ok {
			return data, &imapError{Type: "BYE", Text: rest}
		}
		status, ok := strings.CutPrefix(line, tag+" ")
		if !ok {
			data = append(data, line)
			continue
		}
		kind, text, _ := strings.Cut(status, " ")
		data = append(data, status)
		if kind == "OK" {
			return data, nil
		}
		e := &imapError{Type: kind, Text: text}
		if code, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(code, "[") {
			e.Code, e.Text = code[1:], rest
		}
		return data, e
	}
}

// appendMail appends a message of that Message-ID.
func (c *imapClient) appendMail(mailbox, id string) error {
	m := "Message-ID: <" + id + ">\r\nSubject: draft\r\n\r\nhello\r\n"
	_, err := c.do("APPEND %s (\\Seen) {%d+}\r\n%s", mailbox, len(m), m)
	return err
}

func xoauth2(user, token string) string {
	return "user=" + user + "\x01auth=Bearer " + token + "\x01\x01"
}

// authenticate logs in by an access token.
func (c *imapClient) authenticate(user, token string) error {
	tag, err := c.send("AUTHENTICATE XOAUTH2 %s", base64.StdEncoding.EncodeToString([]byte(xoauth2(user, token))))
	if err != nil {
		return err
	}
	if b, err := c.r.Peek(1); err == nil && b[0] == '+' { // it says why, and waits
		if _, err := c.line(); err != nil {
			return err
		}
		if _, err := io.WriteString(c.conn, "\r\n"); err != nil {
			return err
		}
	}
	_, err = c.answer(tag)
	return err
}

// tokenAuth is XOAUTH2 for net/smtp.
type tokenAuth struct{ user, token string }

func (a tokenAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	return "XOAUTH2", []byte(xoauth2(a.user, a.token)), nil
}

func (tokenAuth) Next([]byte, bool) ([]byte, error) { return nil, nil }

// dialSMTP connects and logs in.
func dialSMTP(ctx context.Context, s dialer, user, token string) (*smtp.Client, error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c, err := smtp.NewClient(conn, "localhost")
	if err == nil {
		err = c.Auth(tokenAuth{user, token})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// sendMail sends a message of that Message-ID to one recipient.
func sendMail(c *smtp.Client, from, to, id string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "Message-ID: <%s>\r\nSubject: hello\r\n\r\n.hello\r\n", id); err != nil {
		return err
	}
	return w.Close()
}

// plain is the response of SASL's PLAIN.
func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// replies reads what an SMTP server says.
type replies struct{ r *bufio.Reader }

func newReplies(conn net.Conn) *replies { return &replies{bufio.NewReader(conn)} }

// next is the last line of the next reply.
func (r *replies) next(t *testing.T) string {
	t.Helper()
	for {
		line, err := r.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(line, "\r\n")
		}
	}
}
