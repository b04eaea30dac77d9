package telemetry_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/telemetry"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// failed is a notice of a failed attempt.
func failed(as string, e rules.Event) *engine.Notice {
	rule := &engine.Rule{Policy: "test", Name: "default", As: "quota_full"}
	return &engine.Notice{Provider: "test", Event: &e, Decision: &engine.Decision{Action: policy.Fail, As: as, Rule: rule}}
}

// What is known is told apart whatever has come before, the rest up to a bound.
func TestLabels(t *testing.T) {
	var (
		operation = func(l *telemetry.Labels, v string) string {
			return l.Operation(&engine.Notice{Provider: "test", Operation: v})
		}
		as      = func(l *telemetry.Labels, v string) string { return l.As(failed(v, rules.Event{})) }
		network = func(l *telemetry.Labels, v string) string { return l.ErrorType(failed("", rules.Event{Network: v})) }
		imap    = func(l *telemetry.Labels, v string) string { return l.ErrorType(failed("", rules.Event{IMAPStatus: v})) }
	)
	for _, c := range []struct {
		name  string
		of    func(*telemetry.Labels, string) string
		most  int
		known string // names, separated by spaces
	}{
		{"operation", operation, 3, ""},
		{"as", as, 10, "permanent needs_user resync ambiguous exhausted budget deadline canceled quota_full"},
		{"network", network, 10, "timeout dns connect reset eof tls canceled other"},
		{"imap", imap, 10, "NO BAD BYE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &telemetry.Labels{Operations: 3, Other: "_other"}
			for range 2 { // what was told apart stays so
				if got := c.of(l, strings.Repeat("x", 200)); got != "_other" {
					t.Errorf("a name of 200 bytes: got %q, want %q", got, "_other")
				}
				for i := range 100 {
					name := fmt.Sprintf("name%d", i)
					want := name
					if i >= c.most {
						want = "_other"
					}
					if got := c.of(l, name); got != want {
						t.Errorf("%s: got %q, want %q", name, got, want)
					}
				}
				for _, name := range strings.Fields(c.known) {
					if got := c.of(l, name); got != name {
						t.Errorf("%s: got %q, want it as it is", name, got)
					}
				}
			}
		})
	}
	l := &telemetry.Labels{Operations: 3, Other: "_other"}
	for i := range 20 {
		n := failed("mine", rules.Event{Network: "mine"})
		n.Provider = fmt.Sprint(i) // each has a bound of its own
		if as, class := l.As(n), l.ErrorType(n); as != "mine" || class != "mine" {
			t.Errorf("provider %d: got %q and %q, want %q", i, as, class, "mine")
		}
	}
	if got := l.As(&engine.Notice{Provider: "test"}); got != "" {
		t.Errorf("without a decision: got %q, want none", got)
	}
	if got := l.As(failed("", rules.Event{})); got != "" {
		t.Errorf("without a label: got %q, want none", got)
	}
}

func TestErrorType(t *testing.T) {
	accepted := failed("", rules.Event{Status: 410})
	accepted.Decision.Action = policy.Accept
	for _, c := range []struct {
		name string
		n    *engine.Notice
		want string
	}{
		{"a success", &engine.Notice{Provider: "test"}, ""},
		{"accepted", accepted, ""},
		{"a status", failed("", rules.Event{Status: 503}), "503"},
		{"a status that is none", failed("", rules.Event{Status: 1000}), "default"},
		{"an error in a success", failed("", rules.Event{Status: 200}), "default"},
		{"the network", failed("", rules.Event{Network: "reset"}), "reset"},
		{"IMAP", failed("", rules.Event{IMAPStatus: "BYE"}), "BYE"},
		{"an error in an IMAP success", failed("", rules.Event{IMAPStatus: "OK"}), "default"},
		{"nothing known", &engine.Notice{Provider: "test", Event: &rules.Event{}}, "_other"},
	} {
		l := &telemetry.Labels{Other: "_other"}
		if got := l.ErrorType(c.n); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// However many goroutines bring new names, no more than the bound are told apart.
func TestLabelsAtOnce(t *testing.T) {
	l := &telemetry.Labels{Operations: 5, Other: "_other"}
	var (
		wg   sync.WaitGroup
		seen sync.Map
	)
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				seen.Store(l.Operation(&engine.Notice{Provider: "test", Operation: fmt.Sprintf("op%d", (i+j)%50)}), true)
			}
		})
	}
	wg.Wait()
	n := 0
	seen.Range(func(any, any) bool { n++; return true })
	if n != 6 {
		t.Errorf("got %d names, want 5 and the one for the rest", n)
	}
}

// Every name becomes valid, in a copy: the notice is valid only until Observe returns.
func TestValid(t *testing.T) {
	notice := func(bad string) *engine.Notice {
		n := failed("as"+bad, rules.Event{Network: "network" + bad, IMAPStatus: "imap" + bad, Status: 400, Codes: []string{"c"}})
		n.Account, n.Operation, n.Method, n.Host = "account"+bad, "operation"+bad, "method"+bad, "host"+bad
		n.Err = errors.New("e")
		return n
	}
	good := notice("é")
	if got := telemetry.Valid(good); got != good {
		t.Errorf("a valid notice is copied: %+v", got)
	}
	if n := testing.AllocsPerRun(100, func() { telemetry.Valid(good) }); n != 0 {
		t.Errorf("a valid notice costs %v allocations, want 0", n)
	}
	given, want := notice("\xff\xfe"), notice("\uFFFD")
	got := telemetry.Valid(given)
	want.Err = given.Err
	want.Decision.Rule = given.Decision.Rule
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %+v, %+v\nwant %+v, %+v, %+v", got, got.Decision, got.Event, want, want.Decision, want.Event)
	}
	if given.Account != "account\xff\xfe" || given.Decision.As != "as\xff\xfe" || given.Event.Network != "network\xff\xfe" {
		t.Errorf("the notice itself has changed: %+v, %+v, %+v", given, given.Decision, given.Event)
	}
	for _, n := range []*engine.Notice{{}, {Operation: "\xff"}} {
		if got := telemetry.Valid(n); got.Decision != nil || got.Event != nil {
			t.Errorf("given %+v, got %+v", n, got)
		}
	}
}
