package recourseotel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	recourseotel "github.com/recourse-go/recourse/engine/otel"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

func TestSpans(t *testing.T) {
	for _, c := range []struct {
		name    string
		options recourseotel.Options
		method  string
		path    string
		replies []enginetest.Reply
		spans   []string
		events  []string
	}{
		{
			name: "success", method: "GET", path: "/items/1?key=s3cret",
			replies: []enginetest.Reply{{Status: 200, Header: "Content-Type: text/plain"}},
			spans: []string{
				"GET items.get [client Unset] http.request.method=GET http.response.status_code=200 recourse.operation=items.get recourse.provider=test server.address=api.test",
			},
		},
		{
			name: "retried", method: "GET", path: "/items/1",
			replies: []enginetest.Reply{{Status: 503, Body: `{"error":{"code":"busy","message":"s3cret"}}`}, {Err: syscall.ECONNRESET}, {Status: 200, Header: "Content-Type: text/plain"}},
			spans: []string{
				"GET items.get [client Error] error.type=503 http.request.method=GET http.response.status_code=503 recourse.action=retry recourse.code=busy recourse.delay=1 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=server server.address=api.test",
				"GET items.get [client Error] error.type=reset http.request.method=GET http.request.resend_count=1 recourse.action=retry recourse.delay=2 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=network server.address=api.test",
				"GET items.get [client Unset] http.request.method=GET http.request.resend_count=2 http.response.status_code=200 recourse.operation=items.get recourse.provider=test server.address=api.test",
			},
			events: []string{
				"recourse.wait recourse.action=retry recourse.code=busy recourse.delay=1 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=server",
				"recourse.wait recourse.action=retry recourse.delay=2 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=network",
			},
		},
		{
			name: "accepted", method: "GET", path: "/items/1",
			replies: []enginetest.Reply{{Status: 410}},
			spans: []string{
				"GET items.get [client Unset] http.request.method=GET http.response.status_code=410 recourse.action=accept recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=gone server.address=api.test",
			},
		},
		{
			name: "an error inside a 200", method: "GET", path: "/items/1",
			replies: []enginetest.Reply{{Status: 200, Body: `{"error":{"code":"later"}}`}, {Status: 200, Body: `{}`}},
			spans: []string{
				"GET items.get [client Error] error.type=hidden http.request.method=GET http.response.status_code=200 recourse.action=retry recourse.code=later recourse.delay=1 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=hidden server.address=api.test",
				"GET items.get [client Unset] http.request.method=GET http.request.resend_count=1 http.response.status_code=200 recourse.action=accept recourse.operation=items.get recourse.provider=test recourse.reason=a successful reply that no rule matches recourse.rule=success server.address=api.test",
			},
			events: []string{
				"recourse.wait recourse.action=retry recourse.code=later recourse.delay=1 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=hidden",
			},
		},
		{
			name: "deferred, with the account", method: "GET", path: "/items/1", options: recourseotel.Options{Account: true},
			replies: []enginetest.Reply{{Status: 429, Header: "Retry-After: 600"}},
			spans: []string{
				"GET items.get [client Error] error.type=429 http.request.method=GET http.response.status_code=429 recourse.account=ann@test.example recourse.action=wait recourse.delay=600 recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=throttled server.address=api.test",
			},
			events: []string{
				"recourse.hold recourse.account=ann@test.example recourse.action=wait recourse.delay=600 recourse.limit=user recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=throttled",
				"recourse.defer recourse.account=ann@test.example recourse.action=wait recourse.delay=600 recourse.operation=items.get recourse.provider=test recourse.reason=the wait is longer than a worker may be held recourse.rule=throttled",
			},
		},
		{
			name: "not re-authenticated", method: "GET", path: "/items/1",
			replies: []enginetest.Reply{{Status: 401}},
			spans: []string{
				"GET items.get [client Error] error.type=401 http.request.method=GET http.response.status_code=401 recourse.action=reauth recourse.operation=items.get recourse.provider=test recourse.reason=the rule says so recourse.rule=token server.address=api.test",
			},
			events: []string{
				"recourse.give_up recourse.action=fail recourse.as=needs_user recourse.operation=items.get recourse.provider=test recourse.reason=nothing is configured that could re-authenticate recourse.rule=token",
			},
		},
		{
			name: "WebDAV", method: "PROPFIND", path: "/dav/ann/",
			replies: []enginetest.Reply{{Status: 207}},
			spans: []string{
				"PROPFIND dav.list [client Unset] http.request.method=PROPFIND http.response.status_code=207 recourse.operation=dav.list recourse.provider=test server.address=api.test",
			},
		},
		{
			name: "an unknown method", method: "FROB", path: "/other",
			replies: []enginetest.Reply{{Status: 400}},
			spans: []string{
				"HTTP [client Error] error.type=400 http.request.method=_OTHER http.request.method_original=FROB http.response.status_code=400 recourse.action=fail recourse.as=permanent recourse.provider=test recourse.reason=the rule says so recourse.rule=default server.address=api.test",
			},
			events: []string{
				"recourse.give_up recourse.action=fail recourse.as=permanent recourse.provider=test recourse.reason=the rule says so recourse.rule=default",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, c.options, engine.Options{})
				w.send(c.method, c.path, c.replies...)
				equal(t, "spans", w.attempts(), c.spans)
				equal(t, "events", w.events(), c.events)
				if all := fmt.Sprintf("%+v %q", w.spans.GetSpans(), w.metrics()); strings.Contains(all, "s3cret") {
					t.Errorf("a secret is in what was told: %s", all)
				}
			})
		})
	}
}

// A call that its limits keep back says for how long, on the caller's span.
func TestQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseotel.Options{}, engine.Options{})
		w.hold("ann", 3*time.Second)
		w.do("ben")
		w.do("ann")
		equal(t, "events", w.events(), []string{
			"recourse.queued recourse.delay=3 recourse.limit=user recourse.operation=items.get recourse.provider=test",
		})
	})
}

// An attempt's span has the time of the attempt, and the caller's span as its parent.
func TestSpanTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseotel.Options{}, engine.Options{})
		p, err := w.Engine.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, caller := w.traces.Tracer("test").Start(t.Context(), "caller")
		n := 0
		err = p.Do(ctx, engine.Call{Keys: limiter.Keys{Operation: "items.get"}, Method: "GET"}, func(context.Context) error {
			time.Sleep(300 * time.Millisecond)
			if n++; n == 1 {
				return syscall.ECONNRESET
			}
			return nil
		})
		caller.End()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range w.spans.GetSpans() {
			got = append(got, fmt.Sprintf("%s %v-%v child=%v version=%v", s.Name, s.StartTime.Sub(start), s.EndTime.Sub(start),
				s.Parent.SpanID() == caller.SpanContext().SpanID(), hasKey(s.Attributes, "recourse.policy.version")))
		}
		equal(t, "spans", got, []string{
			"GET items.get 0s-300ms child=true version=true",
			"GET items.get 1.3s-1.6s child=true version=true",
			"caller 0s-1.6s child=false version=false",
		})
	})
}

// Calls that are not HTTP have spans without its attributes.
func TestSpansOfDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseotel.Options{}, engine.Options{
			Classify: func(_ error, e *rules.Event) bool {
				e.Protocol, e.IMAPStatus = "imap", "NO"
				return true
			},
		})
		err := w.Engine.Do(t.Context(), engine.Call{Provider: "test", Keys: limiter.Keys{Operation: "SELECT", Host: "imap.test"}, Method: "SELECT"},
			func(context.Context) error { return errors.New("s3cret") })
		if err == nil {
			t.Fatal("no error")
		}
		_ = w.Engine.Do(t.Context(), engine.Call{Provider: "test", Method: "FETCH"}, func(context.Context) error { return nil })
		equal(t, "spans", w.attempts(), []string{
			"SELECT [client Error] error.type=NO recourse.action=fail recourse.as=needs_user recourse.operation=SELECT recourse.provider=test recourse.reason=the rule says so recourse.rule=mailbox server.address=imap.test",
			"test [client Unset] recourse.provider=test",
		})
		if all := fmt.Sprintf("%+v", w.spans.GetSpans()); strings.Contains(all, "s3cret") {
			t.Errorf("the error's text is in what was told: %s", all)
		}
	})
}

// An export fails on what is not UTF-8, so nothing else is told.
func TestAttributesAreValidUTF8(t *testing.T) {
	for _, c := range []struct {
		name  string
		event rules.Event
		as    string // of a call inside this one that was given up; "" = there is none
	}{
		{"network", rules.Event{Network: "n\xff"}, ""},
		{"IMAP", rules.Event{Protocol: "imap", IMAPStatus: "NO\xff"}, ""},
		{"code", rules.Event{Status: 400, Codes: []string{"c\xff" + strings.Repeat("é", 40)}}, ""},
		{"as", rules.Event{Status: 400}, "as\xff"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, recourseotel.Options{Account: true}, engine.Options{Classify: func(_ error, e *rules.Event) bool {
				*e = c.event
				return true
			}})
			ctx, caller := w.traces.Tracer("test").Start(t.Context(), "caller")
			call := engine.Call{Provider: "test", Keys: limiter.Keys{Account: "ann\xff", Operation: "read\xff", Host: "api\xff"}, Method: "GE\xff"}
			err := errors.New("x\xff")
			if c.as != "" {
				err = &engine.GiveUpError{Decision: engine.Decision{As: c.as}, Err: err}
			}
			_ = w.Engine.Do(ctx, call, func(context.Context) error { return err })
			caller.End()
			told := append(w.attempts(), append(w.events(), w.metrics()...)...)
			if len(told) < 5 {
				t.Fatalf("told only %q", told)
			}
			for _, line := range told {
				if !utf8.ValidString(line) {
					t.Errorf("not UTF-8: %q", line)
				}
				if len(line) > 500 {
					t.Errorf("%d bytes: %q", len(line), line)
				}
			}
		})
	}
}

func hasKey(kvs []attribute.KeyValue, key attribute.Key) bool {
	for _, kv := range kvs {
		if kv.Key == key {
			return kv.Value.String() != ""
		}
	}
	return false
}
