package corpus

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
)

// Record is a case as engine's recorder writes it. It holds the facts that were read from a
// response, and not the response, which may hold secrets.
type Record struct {
	ID         string              `json:"id"`
	Provider   string              `json:"provider"`
	Protocol   string              `json:"protocol"`
	Account    string              `json:"account,omitempty"` // hashed; for people: no code reads it
	Operation  string              `json:"operation"`
	Method     string              `json:"method"`
	Status     int                 `json:"status"`
	IMAPStatus string              `json:"imap_status,omitempty"`
	Headers    map[string][]string `json:"headers"` // an empty list means that the response had no such header
	Body       *string             `json:"body,omitempty"`
	Now        string              `json:"now"`
	Attempt    int                 `json:"attempt"`
	Elapsed    float64             `json:"elapsed_seconds"`
	Idempotent *bool               `json:"idempotent,omitempty"` // nil = by the method and the policy
	Sent       bool                `json:"sent"`
	State      json.RawMessage     `json:"state,omitempty"`
	Facts      map[string]string   `json:"facts,omitempty"`
	Extracted  Extracted           `json:"extracted"`

	ReadBy      map[string]string `json:"read_by"`                // by fact, a hash of how the policy reads it: see Readers
	NotRecorded []string          `json:"not_recorded,omitempty"` // facts that were left out, cut or redacted
	Decided     Decided           `json:"decided"`                // what the engine did
	OneIn       int               `json:"one_in,omitempty"`       // how many failures of this kind the record stands for; 0 = one
}

// Extracted are facts that were read from a response.
type Extracted struct {
	Type       string   `json:"type,omitempty"`
	Codes      []string `json:"codes,omitempty"`
	Message    string   `json:"message,omitempty"`
	Network    string   `json:"network,omitempty"`
	RetryAfter string   `json:"retry_after,omitempty"`
}

// Decided is the decision that the engine made about a recorded failure.
type Decided struct {
	Version string `json:"version"` // of the policy
	Rule    string `json:"rule"`
	Action  string `json:"action"`
	As      string `json:"as,omitempty"`
	// Replay is false if the recorded facts alone lead to another decision: the calling
	// code changed it, or it depends on something that was not recorded.
	Replay bool `json:"replay"`
}

// Readers returns, by the name of each fact that p reads from a response or a request, a
// hash of how p reads it. Two policies with the same hash read the fact alike.
func Readers(p *policy.Policy) map[string]string {
	hash := func(format string, args ...any) string {
		h := sha256.Sum256(fmt.Appendf(nil, format, args...))
		return hex.EncodeToString(h[:4])
	}
	readers := map[string]string{
		"operation": hash("%+v", p.Operations),
		"inspect":   hash("%+v", p.Inspect), // not a fact: it tells whether a success is read at all
	}
	for fact, list := range p.Extract.All() {
		var b bytes.Buffer
		extract.Hash(&b, list)
		if fact == "retry_after" {
			extract.Hash(&b, p.Extract.Message) // the patterns for waits in prose read the message
		}
		readers[fact] = hash("%s", &b)
	}
	return readers
}

// StandardHeaders are the canonical names of the headers that are read in every response,
// whatever its policy says.
var StandardHeaders = func() []string {
	names := []string{
		"Content-Type", "Date", "Retry-After", "Retry-After-Ms", "X-Ms-Retry-After-Ms", "X-Should-Retry", "Stripe-Should-Retry", "Upgrade",
		"RateLimit", "RateLimit-Reset", "RateLimit-Remaining", "Rate-Limit-Reset", "Rate-Limit-Remaining",
		"X-RateLimit-Reset", "X-RateLimit-Remaining", "X-Rate-Limit-Reset", "X-Rate-Limit-Remaining",
	}
	for i, name := range names {
		names[i] = textproto.CanonicalMIMEHeaderKey(name)
	}
	return names
}()

// Unknown tells which facts a policy cannot know about a case, since the case's line does
// not have them. A missing field says nothing about its fact: it does not mean "empty".
type Unknown struct {
	policy *policy.Policy
	spoken *protocol.Protocol

	body, header      bool              // the response's body is missing, its headers are
	operation, method bool              // the request's operation is missing, its method is
	idempotent        bool              // the line does not tell whether a repeat is harmless
	inspected         bool              // the line does not tell whether the policy reads this success's body
	headers           map[string]bool   // the headers that were recorded; nil = all that the response had
	readBy            map[string]string // Record.ReadBy; nil = the line has the response, not facts of it
	readers           map[string]string // the policy's Readers
	notRecorded       []string          // Record.NotRecorded
}

// UnknownOf returns which facts p cannot know about c, which was parsed from line. readers
// is what Readers returns for p.
func UnknownOf(line []byte, c *Case, p *policy.Policy, readers map[string]string) *Unknown {
	root := gjson.ParseBytes(line)
	missing := func(name string) bool { return !root.Get(name).Exists() }
	u := &Unknown{policy: p, spoken: c.spoken(p), readers: readers}
	noBody := missing("body") && missing("body_base64")
	if readBy := root.Get("read_by"); readBy.IsObject() {
		u.readBy, u.headers = map[string]string{}, map[string]bool{}
		readBy.ForEach(func(name, v gjson.Result) bool { u.readBy[name.String()] = v.String(); return true })
		root.Get("headers").ForEach(func(name, _ gjson.Result) bool {
			u.headers[textproto.CanonicalMIMEHeaderKey(name.String())] = true
			return true
		})
		root.Get("not_recorded").ForEach(func(_, v gjson.Result) bool { u.notRecorded = append(u.notRecorded, v.String()); return true })
		u.body = noBody
		u.inspected = success(c) && u.readBy["inspect"] != readers["inspect"]
		return u
	}
	given := !missing("extracted")
	replied := c.Status != 0 || c.IMAPStatus != ""
	u.body = replied && noBody && !given
	u.header = u.spoken.Reply == nil && replied && missing("headers")
	u.operation = missing("operation") && missing("url") && (!u.spoken.Commands || c.Method == "")
	u.method = missing("method") && missing("url") && (!u.spoken.Commands || c.Operation == "")
	u.inspected = success(c) && u.spoken.Reply == nil && !given && slices.ContainsFunc(p.Inspect, func(in extract.Inspect) bool {
		return u.operation && len(in.Operations) > 0 || u.header && in.ContentType != ""
	})
	u.idempotent = missing("idempotent") && missing("idempotency_key") && (u.method || u.operation && (len(p.Idempotent) > 0 || u.spoken.Commands)) &&
		!classify.Idempotent(p, u.spoken.Name, c.Method, c.Operation, nil)
	return u
}

// success reports whether the status of a case is a 2xx. The body of a success is read only
// where an `inspect` entry of the policy says so.
func success(c *Case) bool { return 200 <= c.Status && c.Status <= 299 }

// ReadBy returns a hash of how the policy reads a fact: see Readers.
func (u *Unknown) ReadBy(fact string) string { return u.readers[fact] }

// Fact reports whether the fact of that name in rules is not known.
func (u *Unknown) Fact(name string) bool {
	if slices.Contains(u.notRecorded, name) {
		return true
	}
	switch {
	case name == "body":
		return u.body || u.inspected
	case name == "method":
		return u.method
	case name == "idempotent":
		return u.idempotent
	case name == "operation":
		return u.operation || u.readBy != nil && u.readBy[name] != u.readers[name]
	case strings.HasPrefix(name, "header("):
		h, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(name, "header("), ")"))
		return u.header || u.headers != nil && err == nil && !u.headers[h] && !slices.Contains(StandardHeaders, h)
	}
	reader, read := u.readers[name]
	if !read {
		return false // facts of the attempt, and facts that the request's path holds, are always known
	}
	if u.readBy != nil {
		return u.inspected || u.readBy[name] != reader
	}
	return u.readFromMissing(name)
}

// readFromMissing reports whether a fact is read from a part of the response that is missing.
func (u *Unknown) readFromMissing(name string) bool {
	if u.spoken.Reply != nil {
		return u.body // all of it stands in the reply's text
	}
	if name == "retry_after" && u.header {
		return true
	}
	for fact, list := range u.policy.Extract.All() {
		if fact == name {
			return slices.ContainsFunc(list, func(x extract.Extractor) bool {
				if x.Form.ReadsBody {
					return u.body || u.inspected
				}
				return u.header
			})
		}
	}
	return false
}
