package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// This file writes a failure as a line of JSON.

// Bounds of one line.
const (
	maxMessage = 4 << 10 // bytes of the message
	maxFact    = 1 << 10 // bytes of any other text
	maxHeader  = 2 << 10 // bytes of a header's value
	maxValues  = 8       // values of a header
)

// line returns a failure as a line of JSON, with its line end.
func (r *Recorder) line(f *failure) ([]byte, error) {
	l := &recordLine{redact: r.redact, failure: f}
	l.ID = fmt.Sprintf("%s-%d", r.prefix, f.seq)
	if err := l.request(); err != nil {
		return nil, err
	}
	l.extracted()
	l.response()
	slices.Sort(l.NotRecorded)
	l.NotRecorded = slices.Compact(l.NotRecorded)
	return l.withReplay()
}

// recordLine is a Record that is made of a failure.
type recordLine struct {
	corpus.Record
	redact  redactor
	failure *failure
}

// request fills in what is known without the response, and the decision.
func (l *recordLine) request() error {
	f, e := l.failure, &l.failure.event
	l.Provider, l.Protocol, l.Operation, l.Method = e.Provider, e.Protocol, e.Operation, e.Method
	l.Status, l.IMAPStatus, l.Sent = e.Status, e.IMAPStatus, e.Sent
	l.Now, l.Attempt, l.Elapsed = e.Now.Format(time.RFC3339Nano), e.Attempt, e.Elapsed.Seconds()
	l.ReadBy, l.OneIn = f.reading.readers, f.oneIn
	l.Decided = corpus.Decided{Version: f.policy.Version, Rule: f.decided.Rule.Name, Action: f.decided.Action.String(), As: f.decided.As}
	if f.account != "" {
		l.Account = l.redact.pseudonym(f.account)
	}
	if byPolicy := classify.Idempotent(f.policy, e.Protocol, e.Method, e.Operation, nil); byPolicy != e.Idempotent {
		l.Idempotent = &e.Idempotent
	}
	if f.before != (engine.State{}) {
		state, err := json.Marshal(f.before)
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		l.State = state
	}
	return nil
}

// keep returns the text to write. If that is not the whole text, the fact is listed as
// not recorded, since a rule may depend on what was removed.
func (l *recordLine) keep(fact, s string, most int) string {
	kept := l.redact.text(s, l.failure.account, l.failure.reading.known)
	if len(kept) > most {
		kept = cut(kept, most)
	}
	if kept != s || !utf8.ValidString(s) {
		l.NotRecorded = append(l.NotRecorded, fact)
	}
	return kept
}

// extracted fills in the facts that were read from the response.
func (l *recordLine) extracted() {
	e, x := &l.failure.event, &l.Extracted
	x.Type, x.Network = l.keep("type", e.Type, maxFact), e.Network
	for _, code := range e.Codes {
		x.Codes = append(x.Codes, l.keep("codes", code, maxFact))
	}
	x.Message = l.keep("message", e.Message, maxMessage)
	if e.RetryAfter > 0 {
		x.RetryAfter = e.RetryAfter.String()
	}
	for _, name := range slices.Sorted(maps.Keys(e.Facts)) {
		if l.Facts == nil {
			l.Facts = map[string]string{}
		}
		l.Facts[name] = l.keep("facts."+name, e.Facts[name], maxFact)
	}
}

// response fills in the headers and the body, as far as the policy's conditions read them.
func (l *recordLine) response() {
	f, e := l.failure, &l.failure.event
	l.Headers = map[string][]string{}
	for _, name := range f.reading.asked {
		l.Headers[name] = []string{}
	}
	for name, values := range e.Header {
		if secretheader.Is(name) {
			continue
		}
		for _, v := range values {
			l.Headers[name] = append(l.Headers[name], l.keep(fmt.Sprintf("header(%q)", name), v, maxHeader))
		}
	}
	if e.Body != "" && bodyMatters(f.policy, e) {
		body := l.keep("body", e.Body, classify.MaxBody)
		l.Body = &body
	} else if e.Body == "" && f.reading.body {
		l.Body = &e.Body
	}
}

// withReplay returns the line, after it has found out whether deciding from it gives the
// decision that was made.
func (l *recordLine) withReplay() ([]byte, error) {
	line, err := encode(&l.Record)
	if err != nil {
		return nil, err
	}
	f := l.failure
	l.Decided.Replay = f.replays(line)
	if !l.Decided.Replay && f.decided.Action == policy.Reauth && l.State != nil {
		// After a second refusal the engine may have decided to re-authenticate by the state
		// of the credentials, which a policy alone does not know.
		l.State = withoutReauths(l.State)
		if line, err = encode(&l.Record); err != nil {
			return nil, err
		}
		l.Decided.Replay = f.replays(line)
	}
	return encode(&l.Record)
}

// bodyMatters reports whether it may depend on the body which rule decides.
func bodyMatters(p *policy.Policy, e *rules.Event) bool {
	return slices.ContainsFunc(p.Matcher.Possible(e, func(fact string) bool { return fact == "body" }), func(x rules.Possibility) bool {
		return len(x.Reads) > 0
	})
}

// replays reports whether deciding from the line gives the decision that was made.
func (f *failure) replays(line []byte) bool {
	k, err := corpus.ParseCase(line)
	if err != nil {
		return false
	}
	s, err := k.Subject(f.policy)
	if err != nil {
		return false
	}
	d := engine.Decision{State: s.State}
	f.reading.decide.Decide(&d, &s.Event, corpus.Chance)
	return d.Rule.Name == f.decided.Rule.Name && d.Action == f.decided.Action && d.As == f.decided.As
}

// withoutReauths returns a State in JSON without its count of re-authentications.
func withoutReauths(state json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(state, &fields) != nil {
		return state
	}
	delete(fields, "r")
	out, err := json.Marshal(fields)
	if err != nil {
		return state
	}
	return out
}

// encode returns a record as a line.
func encode(rec *corpus.Record) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(rec); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return out.Bytes(), nil
}

// cut returns at most the first `most` bytes of s, which must be longer, cut between two runes.
func cut(s string, most int) string {
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
