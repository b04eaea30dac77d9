package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidwall/gjson"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/record"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/suite"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// given is a failure of the packs' own suites as an error.
type given struct{ c corpus.Case }

func (given) Error() string { return "given" }

// suites are the failures that the built-in suites know, by provider.
func suites(t *testing.T) map[string][]corpus.Case {
	t.Helper()
	byProvider := map[string][]corpus.Case{}
	for _, f := range suite.Builtin() {
		s, found := suite.Parse(f)
		if s == nil {
			t.Fatal(found)
		}
		for _, c := range s.Cases {
			byProvider[s.Provider] = append(byProvider[s.Provider], c.Given)
		}
	}
	return byProvider
}

// classify reads a given failure as Options.Classify does one of a library of its own.
func classify(err error, e *rules.Event) bool {
	g, ok := errors.AsType[given](err)
	if !ok {
		return false
	}
	p, _ := policy.Builtin().Policy(e.Provider)
	s, err := g.c.Subject(p)
	if err != nil {
		return false
	}
	*e = s.Event
	return true
}

// decided is what an engine decided, as an observer hears it.
type decided struct{ provider, rule, action, as string }

func (d *decided) String() string { return fmt.Sprintf("%+v", *d) }

// collect notes the decisions about failures.
func collect(to *[]decided) engine.Observer {
	return engine.ObserverFunc(func(_ context.Context, n *engine.Notice) {
		if n.Kind == engine.NoticeDecision && (n.Decision.Rule.Policy != "" || n.Decision.Action != policy.Accept) {
			*to = append(*to, decided{n.Policy.Name, n.Decision.Rule.Name, n.Decision.Action.String(), n.Decision.As})
		}
	})
}

// lines are the lines of all files of a recorder, the oldest first.
func lines(t *testing.T, path string) []string {
	t.Helper()
	var all []string
	ext := filepath.Ext(path)
	for n := 99; n >= 0; n-- {
		name := path
		if n > 0 {
			name = fmt.Sprintf("%s.%d%s", strings.TrimSuffix(path, ext), n, ext)
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	return all
}

// compare holds that `decide` says of each line what the engine decided.
func compare(t *testing.T, set *policy.Set, recorded []string, want []decided) {
	t.Helper()
	if len(recorded) != len(want) {
		t.Fatalf("%d lines, want %d", len(recorded), len(want))
	}
	d, err := corpus.NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if tally, err := d.Run(t.Context(), strings.NewReader(strings.Join(recorded, "\n")), &out); err != nil || tally.Failed > 0 {
		t.Fatalf("decide: %+v, %v", tally, err)
	}
	wrong := 0
	for i, answer := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		a := gjson.Parse(answer)
		got := decided{a.Get("policy").String(), a.Get("rule").String(), a.Get("action").String(), a.Get("as").String()}
		if replay := gjson.Get(recorded[i], "decided.replay").Bool(); got != want[i] || !replay {
			if wrong++; wrong <= 10 {
				t.Errorf("given %s\ngot  %v (replay %t)\nwant %v", recorded[i], &got, replay, &want[i])
			}
		}
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
}

// What is recorded of random failures, as they come in a call's attempts, leads `decide` to
// the rule, the action and the label of the engine.
func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "errors.jsonl")
	var want []decided
	synctest.Test(t, func(t *testing.T) {
		rec, err := record.New(record.Options{File: path, PerMinute: 1 << 30, Queue: 1 << 15, MaxFiles: 20})
		if err != nil {
			t.Fatal(err)
		}
		eng, err := engine.New(engine.Options{
			Observer: engine.Observers{collect(&want), rec}, Classify: classify,
			Reauth: engine.Reauth{Refresh: func(context.Context, engine.ReauthRequest) error { return nil }},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close()
		random := rand.New(rand.NewPCG(1, 2))
		for provider, cases := range suites(t) {
			for n := range 20 {
				first := cases[random.IntN(len(cases))]
				c := engine.Call{
					Provider: provider, Method: first.Method, MaxInline: 30 * 24 * time.Hour,
					Keys: limiter.Keys{Account: fmt.Sprintf("anna.%d@example.com", n), Operation: first.Operation}, Idempotent: random.IntN(3) == 0,
				}
				eng.Do(t.Context(), c, func(context.Context) error {
					one := cases[random.IntN(len(cases))]
					switch {
					case random.IntN(6) == 0:
						return nil
					case one.Protocol == "" && one.Status > 0 && one.IMAPStatus == "" && one.NetworkError == "" && one.Facts.Codes == nil && one.Facts.Message == nil && random.IntN(2) == 0:
						return &engine.ResponseError{Provider: provider, Method: c.Method, Status: one.Status, Header: one.Headers, Body: one.Body}
					}
					return given{one}
				})
				time.Sleep(time.Hour) // let holds end
			}
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
		if s := rec.Stats(); s.Dropped > 0 || s.Failed > 0 || s.Written != uint64(len(want)) {
			t.Errorf("%+v, want %d written", s, len(want))
		}
	})
	if len(want) < 1000 {
		t.Errorf("%d failures: too few to mean something", len(want))
	}
	compare(t, policy.Builtin(), lines(t, path), want)
}

// respond answers with the given failures, in order, then with 200.
type respond struct{ list []corpus.Case }

func (r *respond) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: http.NoBody, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if len(r.list) > 0 {
		c := r.list[0]
		r.list = r.list[1:]
		resp.StatusCode, resp.Header = c.Status, http.Header(c.Headers).Clone()
		if resp.Header == nil {
			resp.Header = http.Header{}
		}
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(c.Body)), int64(len(c.Body))
	}
	return resp, nil
}

// The same by Transport.
func TestRoundTripHTTP(t *testing.T) {
	path := filepath.Join(t.TempDir(), "errors.jsonl")
	var want []decided
	synctest.Test(t, func(t *testing.T) {
		rec, err := record.New(record.Options{File: path, PerMinute: 1 << 30, Queue: 1 << 15})
		if err != nil {
			t.Fatal(err)
		}
		eng, err := engine.New(engine.Options{Observer: engine.Observers{collect(&want), rec}, MaxInline: 30 * 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close()
		random := rand.New(rand.NewPCG(3, 4))
		for provider, cases := range suites(t) {
			for _, one := range cases {
				if one.URL == "" || one.Status < 200 || one.Status == 204 || one.Status == 304 || one.Facts.Codes != nil || one.Facts.Message != nil {
					continue
				}
				script := &respond{list: []corpus.Case{one, cases[random.IntN(len(cases))]}}
				if next := &script.list[1]; next.Status < 200 || next.Status == 204 || next.Status == 304 {
					script.list = script.list[:1]
				}
				method := one.Method
				if method == "" {
					method = "GET"
				}
				ctx := engine.WithCall(t.Context(), engine.Call{Provider: provider, Keys: limiter.Keys{Account: "anna@example.com"}})
				req, err := http.NewRequestWithContext(ctx, method, one.URL, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := eng.Transport(script).RoundTrip(req)
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				time.Sleep(48 * time.Hour)
			}
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
	})
	if len(want) < 50 {
		t.Errorf("%d failures: too few to mean something", len(want))
	}
	compare(t, policy.Builtin(), lines(t, path), want)
}
