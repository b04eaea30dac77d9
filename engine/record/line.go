package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// failure is a copy of what is needed of a Notice, which is valid only during Observe.
type failure struct {
	seq     uint64
	oneIn   int // how many failures it stands for; 0 = itself only
	bytes   int // its approximate size in memory
	account string
	event   rules.Event
	before  engine.State
	decided engine.Decision
	policy  *policy.Policy
	reading *reading
}

// Bounds of one line.
const (
	maxMessage = 4 << 10 // bytes of the message
	maxFact    = 1 << 10 // bytes of any other text
	maxHeader  = 2 << 10 // bytes of a header's value
	maxValues  = 8       // values of a header
)

// failureOf copies what is needed of a notice. It runs in the goroutine of a call.
func failureOf(n *engine.Notice) *failure {
	f := &failure{account: strings.Clone(n.Account), event: *n.Event, decided: *n.Decision, policy: n.Policy, reading: readingOf(n.Policy)}
	if n.Before != nil {
		f.before = *n.Before
	}
	e := &f.event
	size := 1024
	text := func(s string) string {
		size += len(s)
		return strings.Clone(s) // s may be a part of a response's body, which would all be kept in memory
	}
	e.Operation, e.Method, e.IMAPStatus, e.Network = text(e.Operation), text(e.Method), text(e.IMAPStatus), text(e.Network)
	e.Type, e.Message = text(e.Type), text(e.Message)
	e.Codes = slices.Clone(e.Codes)
	for i, code := range e.Codes {
		e.Codes[i] = text(code)
	}
	if len(e.Facts) > 0 {
		facts := make(map[string]string, len(e.Facts))
		for name, v := range e.Facts {
			facts[text(name)] = text(v)
		}
		e.Facts = facts
	}
	var header map[string][]string
	for _, name := range f.reading.headers {
		values := e.Header[name]
		if len(values) == 0 {
			continue
		}
		if header == nil {
			header = map[string][]string{}
		}
		for _, v := range values[:min(len(values), maxValues)] {
			header[name] = append(header[name], text(v[:min(len(v), maxHeader+1)]))
		}
	}
	e.Header = header
	if f.reading.body {
		e.Body = text(e.Body)
	} else {
		e.Body = ""
	}
	f.decided.As = text(f.decided.As)
	f.bytes = size
	return f
}

// reading says what a policy reads of an event. It is computed once for each policy.
type reading struct {
	headers []string // the headers to copy: the standard ones, and those that conditions read
	asked   []string // those of headers that conditions read
	body    bool     // a condition reads the body
	known   string   // the text of all conditions of the rules
	readers map[string]string
	decide  *decision.Policy
}

// readings caches the reading of each policy.
var readings = struct {
	sync.Mutex
	of map[*policy.Policy]*reading
}{of: map[*policy.Policy]*reading{}}

// maxReadings bounds the cache, since each reload makes new policies.
const maxReadings = 512

func readingOf(p *policy.Policy) *reading {
	readings.Lock()
	defer readings.Unlock()
	if r := readings.of[p]; r != nil {
		return r
	}
	if len(readings.of) >= maxReadings {
		clear(readings.of)
	}
	r := &reading{readers: corpus.Readers(p), decide: decision.Compile(p, decision.DefaultMaxWaits, decision.DefaultMaxTotalWait)}
	for _, set := range conditions(p) {
		// If nothing is known of an event, every rule is possible, so this yields all facts
		// that the rules read.
		for _, possible := range set.Possible(&rules.Event{}, func(string) bool { return true }) {
			for _, fact := range possible.Reads {
				if name, ok := headerName(fact); ok && !secretheader.Is(name) && !slices.Contains(r.asked, name) {
					r.asked = append(r.asked, name)
				}
				r.body = r.body || fact == "body"
			}
		}
	}
	var known strings.Builder
	for i := range p.Rules {
		known.WriteString(p.Rules[i].When + "\n")
	}
	r.known, r.headers = known.String(), slices.Clone(r.asked)
	for _, name := range corpus.StandardHeaders {
		if !slices.Contains(r.headers, name) {
			r.headers = append(r.headers, name)
		}
	}
	readings.of[p] = r
	return r
}

// conditions returns all conditions of a policy on which its decisions depend.
func conditions(p *policy.Policy) []*rules.Set {
	sets := []*rules.Set{p.Matcher}
	x := &p.Extract
	lists := [][]policy.Extractor{x.Type, x.Codes, x.Message, x.RetryAfter}
	for _, f := range x.Facts {
		lists = append(lists, f.From)
	}
	for _, list := range lists {
		for _, x := range list {
			if x.Holds != nil {
				sets = append(sets, x.Holds)
			}
		}
	}
	return sets
}

// headerName returns the canonical name of the header in a fact such as header("Name").
func headerName(fact string) (name string, ok bool) {
	quoted, ok := strings.CutPrefix(strings.TrimSuffix(fact, ")"), "header(")
	if !ok {
		return "", false
	}
	name, err := strconv.Unquote(quoted)
	return textproto.CanonicalMIMEHeaderKey(name), err == nil
}

// line returns a failure as a line of JSON, with its line end.
func (r *Recorder) line(f *failure) ([]byte, error) {
	e := &f.event
	rec := &corpus.Record{
		ID: fmt.Sprintf("%s-%d", r.prefix, f.seq), Provider: e.Provider, Protocol: e.Protocol,
		Operation: e.Operation, Method: e.Method, Status: e.Status, IMAPStatus: e.IMAPStatus,
		Headers: map[string][]string{}, Now: e.Now.Format(time.RFC3339Nano), Attempt: e.Attempt, Elapsed: e.Elapsed.Seconds(), Sent: e.Sent,
		ReadBy: f.reading.readers, OneIn: f.oneIn,
		Decided: corpus.Decided{Version: f.policy.Version, Rule: f.decided.Rule.Name, Action: f.decided.Action.String(), As: f.decided.As},
	}
	if f.account != "" {
		rec.Account = r.redact.pseudonym(f.account)
	}
	if byPolicy := classify.Idempotent(f.policy, e.Protocol, e.Method, e.Operation, nil); byPolicy != e.Idempotent {
		rec.Idempotent = &e.Idempotent
	}
	if f.before != (engine.State{}) {
		state, err := json.Marshal(f.before)
		if err != nil {
			return nil, fmt.Errorf("record: %w", err)
		}
		rec.State = state
	}

	// keep returns the text to write. If that is not the whole text, the fact is listed as
	// not recorded, since a rule may depend on what was removed.
	keep := func(fact, s string, most int) string {
		kept := r.redact.text(s, f.account, f.reading.known)
		if len(kept) > most {
			kept = cut(kept, most)
		}
		if kept != s || !utf8.ValidString(s) {
			rec.NotRecorded = append(rec.NotRecorded, fact)
		}
		return kept
	}
	x := &rec.Extracted
	x.Type, x.Network = keep("type", e.Type, maxFact), e.Network
	for _, code := range e.Codes {
		x.Codes = append(x.Codes, keep("codes", code, maxFact))
	}
	x.Message = keep("message", e.Message, maxMessage)
	if e.RetryAfter > 0 {
		x.RetryAfter = e.RetryAfter.String()
	}
	for _, name := range slices.Sorted(maps.Keys(e.Facts)) {
		if rec.Facts == nil {
			rec.Facts = map[string]string{}
		}
		rec.Facts[name] = keep("facts."+name, e.Facts[name], maxFact)
	}
	for _, name := range f.reading.asked {
		rec.Headers[name] = []string{}
	}
	for name, values := range e.Header {
		if secretheader.Is(name) {
			continue
		}
		for _, v := range values {
			rec.Headers[name] = append(rec.Headers[name], keep(fmt.Sprintf("header(%q)", name), v, maxHeader))
		}
	}
	if e.Body != "" && bodyMatters(f.policy, e) {
		body := keep("body", e.Body, classify.MaxBody)
		rec.Body = &body
	} else if e.Body == "" && f.reading.body {
		rec.Body = &e.Body
	}

	slices.Sort(rec.NotRecorded)
	rec.NotRecorded = slices.Compact(rec.NotRecorded)

	line, err := encode(rec)
	if err != nil {
		return nil, err
	}
	rec.Decided.Replay = f.replays(line)
	if !rec.Decided.Replay && f.decided.Action == policy.Reauth && rec.State != nil {
		// After a second refusal the engine may have decided to re-authenticate by the state
		// of the credentials, which a policy alone does not know.
		rec.State = withoutReauths(rec.State)
		if line, err = encode(rec); err != nil {
			return nil, err
		}
		rec.Decided.Replay = f.replays(line)
	}
	return encode(rec)
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
