// Package telemetrytest is for the tests of the telemetry adapters. It has an engine
// whose transport plays a script, and a policy with a rule of every kind.
package telemetrytest

import (
	"context"
	"net/http"
	"testing"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/policy"
)

// Policy is the policy of the provider "test". Its delays do not depend on chance, and it
// inspects a success of items.get if that is JSON.
const Policy = `
version: 1
provider: test
match:
  - {host: api.test}
operations:
  - {method: GET, path: "/items/*", operation: items.get}
  - {method: POST, path: /send, operation: send}
  - {method: PROPFIND, path: "/dav/**", operation: dav.list}
extract:
  codes: [{json: error.code}]
  message: [{json: error.message}]
inspect:
  - {status: 200, operations: [items.get], content_type: application/json, max: 64KiB}
backoff:
  default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 3, elapsed: 10m}
limits:
  - {name: user, key: account}
  - {name: inflight, key: account, concurrency: 2}
rules:
  - {name: hidden, when: 'status == 200 and "later" in codes', action: retry, backoff: default, replay: safe}
  - {name: gone, when: 'status == 410', action: accept}
  - {name: token, when: status == 401, action: reauth}
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m, hold: user}
  - {name: server, when: status >= 500, action: retry, backoff: default}
  - {name: network, when: 'network in ["timeout", "connect", "reset", "eof", "dns", "other"]', action: retry, backoff: default}
  - {name: mailbox, when: 'imap_status == "NO"', action: fail, as: needs_user}
default: fail
`

// World is an engine that an adapter observes, and the script that its transport plays.
type World struct {
	T      *testing.T
	Engine *engine.Engine
	Script enginetest.Script
}

// New returns a world whose engine has these options, except Policies and Rand.
func New(t *testing.T, o engine.Options) *World {
	t.Helper()
	o.Policies, o.Rand = Load(t, Policy), func() float64 { return 0 }
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &World{T: t, Engine: e}
}

// Load loads policies.
func Load(t *testing.T, yaml ...string) *policy.Set {
	t.Helper()
	var files []policy.File
	for _, y := range yaml {
		files = append(files, policy.File{Name: "test.yaml", Data: []byte(y)})
	}
	set, diags := policy.Load(files, policy.LoadOptions{})
	if set == nil {
		t.Fatal(diags.Err())
	}
	return set
}

// Send sends one request, with secrets in its URL and header, for the call in ctx. It
// returns the response, whose body is open, or nil if there was an error.
func (w *World) Send(ctx context.Context, method, path string, replies ...enginetest.Reply) *http.Response {
	w.T.Helper()
	w.Script.Add(replies...)
	req, err := http.NewRequestWithContext(ctx, method, "http://api.test"+path+"?key=s3cret", nil)
	if err != nil {
		w.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer s3cret")
	resp, err := w.Engine.Transport(&w.Script).RoundTrip(req)
	if err != nil {
		return nil
	}
	return resp
}
