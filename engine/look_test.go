package engine

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// What a debug page looks at: providers in use, breakers, budgets and credentials.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error { return errors.New("no") }}}, overLoop+`
breaker: {failures: 2, open: 30s}
budget: {key: account, ratio: 0.1, min: 0.5/s}
rules:
  - {name: refused, when: status == 401, action: reauth}
`)
		if got := len(e.InUse()); got != 0 && e.InUse()[0].Name() != "test" {
			t.Errorf("in use: %d providers, the first %q", got, e.InUse()[0].Name())
		}
		call := Call{Provider: "test", Keys: limiter.Keys{Account: "ann", Host: "h.example"}}
		down := &netError{}
		for range 2 {
			_ = e.Do(t.Context(), call, func(context.Context) error { return Permanent(down) })
		}
		p := e.InUse()[0]
		if got := p.Budgets(); len(got) != 1 || got[0].By != "account" || got[0].Key != "ann" || math.Abs(got[0].Retries-1.2) > 1e-9 || got[0].Most != 10 {
			t.Errorf("budgets %v, want 1.2 of 10 for the account ann: one to begin with, and a tenth of two calls", got)
		}
		got, want := p.Breakers(), BreakerState{By: "host", Key: "h.example", State: "open", Until: time.Now().Add(30 * time.Second)}
		if len(got) != 1 || got[0] != want {
			t.Errorf("breakers %v, want one of %v", got, want)
		}
		if got := e.Credentials(); len(got) != 0 {
			t.Errorf("credentials %v, want none", got)
		}
		p.Renewed("ann")
		if got, want := e.Credentials(), (CredentialState{Provider: "test", Name: "ann"}); len(got) != 1 || got[0] != want {
			t.Errorf("credentials %v, want one of %v", got, want)
		}
		select {
		case <-e.Done():
			t.Error("Done is closed before Close")
		default:
		}
		e.Close()
		<-e.Done()
	})
}

// netError is a failure of the network.
type netError struct{}

func (*netError) Error() string   { return "i/o timeout" }
func (*netError) Timeout() bool   { return true }
func (*netError) Temporary() bool { return true }

func TestNoticeText(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    Notice
		want string
	}{
		{"nothing", Notice{Kind: NoticeWait}, ""},
		{"an error that nobody knows", Notice{Kind: NoticeDecision, Err: errors.New("token s3cr3t")}, shownText(errors.New("token s3cr3t"))},
		{"a reload", Notice{Kind: NoticeReload, Err: errors.New("a.yaml:3: no such action")}, "a.yaml:3: no such action"},
		{"a pause", Notice{Kind: NoticePaused, Err: &PausedError{Pause{Account: "a", Reason: "migration"}}}, "engine: the account is paused: migration"},
		{"a reload without an error", Notice{Kind: NoticeReload}, ""},
	} {
		if got := tt.n.Text(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
