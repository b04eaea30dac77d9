//go:build !race

// These play hundreds of thousands of requests, which takes minutes under the race detector. What
// they play is raced by the tests of package engine.

package simulate

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/policy"
)

// The simulation's server is held to the fake Gmail of engine/enginetest, too, which counts
// by itself: the same scenarios, with real workers and real HTTP in memory.

// fakeScenarios are what both can play. The fault is that of the whole server.
var fakeScenarios = []struct {
	name  string
	fault string // of a scenario file
	api   enginetest.Fault
	oauth enginetest.Fault // of the token endpoint
}{
	{"outage", "{name: outage, from: 4m, to: 8m, answer: 503}", enginetest.Unavailable, ""},
	{"lost replies", "{name: lost, from: 4m, to: 5m, fails: reply_lost}", enginetest.ReplyLost, ""},
	{"dead token endpoint", "{name: dead, from: 4m, to: 10m, token_endpoint: true, answer: 503}", "", enginetest.Unavailable},
}

const fakeScenario = `
version: 1
scenario: fake
shows: what the fake Gmail shows
provider: gmail
mailboxes: 20
workers: 60
duration: 12m
come_back: 1m
calls:
  - {operation: messages.get, rate: 6/m}
  - {operation: messages.send, method: POST, rate: 1/m, once: true}
server:
  latency: {median: 200ms, p99: 300ms}
  tokens: {life: 20m, endpoint: oauth2}
faults: [%s]
`

func TestHeldToFakeGmail(t *testing.T) {
	for _, tt := range fakeScenarios {
		t.Run(tt.name, func(t *testing.T) {
			s, ds := Parse(policy.File{Name: "fake.yaml", Data: fmt.Appendf(nil, fakeScenario, tt.fault)})
			if s == nil {
				t.Fatal(ds.Err())
			}
			if tt.oauth == "" {
				s.Server.Tokens.Life = 0
			}
			simulated, real := map[string]float64{}, map[string]float64{}
			for seed := range uint64(seeds) {
				add(t, simulated, play(t, s, policy.Builtin(), seed))
				playFake(t, s, seed, tt.api, tt.oauth, real)
			}
			for _, name := range slices.Sorted(maps.Keys(real)) {
				x, y, limit := simulated[name]/seeds, real[name]/seeds, fakeBounds[name]
				t.Logf("%-16s simulated %9.2f  fake Gmail %9.2f", name, x, y)
				if math.Abs(x-y) > max(limit.part*max(x, y), limit.most) {
					t.Errorf("%s: %v in the simulation, %v at the fake Gmail: want at most %v %% or %v between them", name, x, y, 100*limit.part, limit.most)
				}
			}
		})
	}
}

// fakeBounds are wider: latencies and tokens' ages are by another chance.
var fakeBounds = map[string]bound{
	"calls": {0, 0}, "done": {0.02, 5}, "requests": {0.04, 20}, "refusals": {0.10, 20}, "unanswered": {0.10, 10}, "early_returns": {0, 0},
	"given_up": {0.15, 5}, "ambiguous_sends": {0.15, 5}, "duplicate_sends": {0, 0}, "drain": {0.15, 10}, "refreshes": {0.15, 5},
}

// playFake adds what the engine's workers and the fake Gmail count.
func playFake(t *testing.T, s *Scenario, seed uint64, api, oauth enginetest.Fault, sums map[string]float64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := enginetest.Options{Seed: seed, Mailboxes: s.Mailboxes, Messages: 50, Latency: 200 * time.Millisecond, Faultless: true}
		if oauth != "" {
			o.OAuth = enginetest.NewOAuth(enginetest.OAuthOptions{Seed: seed, Latency: 200 * time.Millisecond, AccessLife: s.Server.Tokens.Life})
			defer o.OAuth.Close()
		}
		server := enginetest.NewGmail(o)
		defer server.Close()
		tokens := enginetest.NewTokens(server)
		if oauth != "" {
			spread(t, s, seed, o.OAuth, tokens, server.Mailboxes())
		}
		transport := enginetest.NewTransport(server)
		defer transport.CloseIdleConnections()

		r := newRealRun(s, seed)
		r.account = func(i int) string { return server.Mailboxes()[i] }
		r.request = func(j *job) *http.Request {
			mailbox := r.account(j.mailbox)
			if s.Calls[j.arrival].Once {
				return server.SendRequest(mailbox, fmt.Sprintf("message-%d.%s", j.id, mailbox))
			}
			list := server.Messages(mailbox)
			return server.GetRequest(mailbox, list[j.id%uint64(len(list))].ID)
		}
		for i := range s.Faults {
			time.AfterFunc(s.Faults[i].From, func() { outage(server, o.OAuth, api, oauth) })
			time.AfterFunc(s.Faults[i].To, func() { outage(server, o.OAuth, "", "") })
		}
		r.play(t, transport, engine.Options{
			Policies:  policy.Builtin(),
			Reauth:    engine.Reauth{Refresh: func(ctx context.Context, q engine.ReauthRequest) error { return tokens.Renew(ctx, q.Account) }},
			Authorize: tokens.Authorize,
		})
		result, c := r.count.result(r.lastEnd, nil), server.Counts()
		for name, n := range map[string]int{
			"calls": result.Totals.Calls, "done": result.Totals.Done, "given_up": total(result.Totals.Failed), "ambiguous_sends": result.Totals.AmbiguousSends,
			"requests": c.Requests, "refusals": c.RefusedTotal() - c.Refused[enginetest.TokenExpired], "unanswered": c.RepliesLost,
			"early_returns": c.EarlyReturns, "duplicate_sends": c.DuplicateSends,
		} {
			sums[name] += float64(n)
		}
		sums["drain"] += result.Totals.Drain
		if o.OAuth != nil {
			sums["refreshes"] += float64(o.OAuth.Counts().Requests - s.Mailboxes) // without those of spread
		}
	})
}

func outage(server *enginetest.Server, endpoint *enginetest.OAuth, api, oauth enginetest.Fault) {
	server.Outage(api)
	if endpoint != nil {
		endpoint.Outage(oauth)
	}
}

// spread refreshes the tokens of the mailboxes one after another before the run, since they
// would all expire at once else.
func spread(t *testing.T, s *Scenario, seed uint64, endpoint *enginetest.OAuth, tokens *enginetest.Tokens, mailboxes []string) {
	t.Helper()
	began := time.Now()
	life := s.Server.Tokens.Life
	// In the order of how long each has still to live, as the simulation has it.
	order := make([]int, len(mailboxes))
	left := newServer(s, seed).tokens
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return int(left[a].expires - left[b].expires) })
	for _, i := range order {
		time.Sleep(time.Until(began.Add(left[i].expires)))
		if err := tokens.Renew(t.Context(), mailboxes[i]); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Until(began.Add(life)))
}
