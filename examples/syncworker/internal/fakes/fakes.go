// Package fakes runs the example's providers: fakes in a process of their own, since a worker
// may be killed and its providers go on. They end by themselves when nobody has asked
// them anything for a while. No real worker needs this package.
package fakes

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/recourse-go/recourse/engine/enginetest"
)

// Sends is how many messages each mailbox has to send.
const Sends = 4

const (
	mailboxes = 3
	idle      = 10 * time.Minute
)

// Providers is what a worker knows of the fakes.
type Providers struct {
	Run       string                      // names this life of theirs
	PID       int                         // Of their process
	Mailbox   int                         // how many messages each has
	Addresses map[string]string           // by host
	Control   string                      // the address that tells what they have counted
	Grants    map[string]enginetest.Grant // what users have consented to, by mailbox

	oauth  *enginetest.OAuth // for the form of requests
	shapes map[string]*enginetest.Server
}

// Seen is what one provider has, and has counted.
type Seen struct {
	Name      string
	Counts    enginetest.Counts
	Refreshes int // Of its mailboxes' tokens
	Messages  map[string][]enginetest.Message
}

func servers(messages int, oauth *enginetest.OAuth) []*enginetest.Server {
	o := enginetest.Options{Seed: 1, Mailboxes: mailboxes, Messages: messages, OAuth: oauth}
	return []*enginetest.Server{enginetest.NewGmail(o), enginetest.NewGraph(o)}
}

// Serve runs the fakes until nobody has used them for a while.
func Serve(dir string, messages int) error {
	signal.Ignore(os.Interrupt) // a Ctrl-C in the terminal is for the worker
	// A refresh token that can be used once would be lost with a worker that is killed before it
	// has stored the next one; then only the user helps.
	oauth := enginetest.NewOAuth(enginetest.OAuthOptions{Seed: 1, AccessLife: 6 * time.Second, Reusable: true})
	all := servers(messages, oauth)
	p := &Providers{
		Run: strconv.FormatInt(time.Now().UnixNano(), 36), PID: os.Getpid(), Mailbox: messages,
		Addresses: map[string]string{}, Grants: map[string]enginetest.Grant{}, oauth: oauth,
	}
	err := p.listen(oauth.Host(), oauth.Listen)
	for _, s := range all {
		err = errors.Join(err, p.listen(s.Host(), s.Listen))
		for _, mailbox := range s.Mailboxes() {
			p.Grants[mailbox] = oauth.Grant(mailbox)
		}
	}
	control, err2 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	p.Control = control.Addr().String()
	if err := p.write(dir); err != nil {
		return err
	}
	asked := make(chan struct{}, 1)
	go func() {
		_ = http.Serve(control, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			select {
			case asked <- struct{}{}:
			default:
			}
			_ = json.NewEncoder(w).Encode(p.seen(all))
		}))
	}()
	fmt.Println("ready")
	waitUntilIdle(asked, all)
	return nil
}

// listen makes a server listen, and notes where.
func (p *Providers) listen(host string, listen func() (string, error)) (err error) {
	p.Addresses[host], err = listen()
	return err
}

// write writes what a worker has to know to the file that it reads.
func (p *Providers) write(dir string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "providers.json")
	return errors.Join(os.WriteFile(file+".new", text, 0o600), os.Rename(file+".new", file))
}

// seen returns what the servers have, and have counted.
func (p *Providers) seen(all []*enginetest.Server) (found []Seen) {
	for _, s := range all {
		one := Seen{Name: s.Name(), Counts: s.Counts(), Messages: map[string][]enginetest.Message{}}
		for _, mailbox := range s.Mailboxes() {
			one.Refreshes += p.oauth.Presented(p.Grants[mailbox].Refresh)
			one.Messages[mailbox] = s.Messages(mailbox)
		}
		found = append(found, one)
	}
	return found
}

// waitUntilIdle returns when nobody has asked for the counts, or sent a request, for a while.
func waitUntilIdle(asked <-chan struct{}, all []*enginetest.Server) {
	for before := -1; ; {
		select {
		case <-asked:
			continue
		case <-time.After(idle):
		}
		requests := 0
		for _, s := range all {
			requests += s.Counts().Requests
		}
		if requests == before {
			return
		}
		before = requests
	}
}

// Find returns the fakes that an earlier start has left running, or else starts them: it runs
// this program with the flags, which must make it call Serve.
func Find(ctx context.Context, dir string, flags ...string) (*Providers, error) {
	if p, err := read(ctx, dir); err == nil {
		return p, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, flags...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		return nil, fmt.Errorf("the providers did not start: %w", err)
	}
	return read(ctx, dir)
}

func read(ctx context.Context, dir string) (*Providers, error) {
	text, err := os.ReadFile(filepath.Join(dir, "providers.json"))
	if err != nil {
		return nil, err
	}
	p := &Providers{oauth: enginetest.NewOAuth(enginetest.OAuthOptions{}), shapes: map[string]*enginetest.Server{}}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, err
	}
	for _, s := range servers(p.Mailbox, nil) {
		for _, mailbox := range s.Mailboxes() {
			p.shapes[mailbox] = s
		}
	}
	_, err = p.Counts(ctx)
	return p, err
}

// Of returns the provider of a mailbox.
func (p *Providers) Of(mailbox string) *enginetest.Server { return p.shapes[mailbox] }

// Transport reaches the providers by their own host names.
func (p *Providers) Transport() http.RoundTripper {
	return enginetest.NewRemoteTransport(p.Addresses)
}

// Refresh asks the token endpoint.
func (p *Providers) Refresh(ctx context.Context, refresh string) (enginetest.Grant, error) {
	client := &http.Client{Transport: p.Transport()}
	defer client.CloseIdleConnections()
	resp, err := client.Do(p.oauth.RefreshRequest(refresh).WithContext(ctx))
	if err != nil {
		return enginetest.Grant{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return enginetest.Grant{}, err
	}
	if resp.StatusCode >= 300 {
		return enginetest.Grant{}, &enginetest.RefusedError{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}
	}
	return p.oauth.ParseGrant(body)
}

// Report compares what the fakes have, and have counted, with what a worker has in its
// database. The columns are those of the demo.
func (p *Providers) Report(ctx context.Context, db *sql.DB, out io.Writer) error {
	seen, err := p.Counts(ctx)
	if err != nil {
		return err
	}
	count := func(query, mailbox string) (n int) {
		err = errors.Join(err, db.QueryRowContext(ctx, "select count(*) from "+query, mailbox).Scan(&n))
		return n
	}
	fmt.Fprintln(out, "\nAs the providers counted it, over all runs of the worker:")
	columns := []string{"", "messages synced", "messages lost", "deleted, given up", "left to a person", "requests", "refused", "early retries", "re-auths", "duplicate sends"}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join(columns, "\t")+"\t")
	for _, s := range seen {
		var synced, lost, gone, person int
		for mailbox, messages := range s.Messages {
			synced += count("messages where mailbox = $1 and not gone", mailbox) + count("outbox where mailbox = $1 and state = 'sent'", mailbox)
			gone += count("messages where mailbox = $1 and gone", mailbox)
			person += count("outbox where mailbox = $1 and state = 'ambiguous'", mailbox)
			lost += len(messages) + Sends
		}
		lost -= synced + gone + person
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", s.Name, synced, lost, gone, person,
			s.Counts.Requests, s.Counts.RefusedTotal(), s.Counts.EarlyReturns, s.Refreshes, s.Counts.DuplicateSends)
	}
	return errors.Join(err, table.Flush())
}

// Counts asks the fakes what they have counted.
func (p *Providers) Counts(ctx context.Context) (found []Seen, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Control, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return found, json.NewDecoder(resp.Body).Decode(&found)
}
