package fake

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a server. The zero value is usable.
type Options struct {
	Seed      uint64           // decides every fault
	Mailboxes int              // 0 = 3
	Messages  int              // in each mailbox; 0 = 100
	Latency   time.Duration    // an answer takes from half to one and a half of it; 0 = 20 ms
	Now       func() time.Time // nil = time.Now
	// Faultless leaves out the seeded misbehaviour and the deleted messages; the limits stay.
	Faultless bool
	// TokenLife is the number of requests after which an access token expires.
	// 0 = 60 for Nylas, and each but the first for at least 10 seconds, so that
	// no call meets two expiries; never for the others. Negative = never.
	TokenLife int
}

// Server is one fake provider: an http.Handler with a store of mailboxes. It is
// safe for concurrent use.
type Server struct {
	api
	o     Options
	now   func() time.Time
	names []string // of the mailboxes, in order
	seq   atomic.Int64

	mu        sync.Mutex
	boxes     map[string]*mailbox
	refusals  map[int64]*refusal // by number, those that the client may still be reading
	lastID    int64
	requests  int
	refused   map[string]int
	unread    int // replies withheld after the request had been processed
	early     int
	issued    int
	refreshed int
}

// api is what the providers differ in.
type api interface {
	// Name is the name of the provider's policy, such as "gmail".
	Name() string
	// Host is the name under which clients know the provider.
	Host() string

	// tokenPath is where access tokens are renewed.
	tokenPath() string

	limits() limits
	faults() []fault
	mailbox(i int) string

	// parse reads a request; an operation of opNone is answered 404.
	parse(r *http.Request, body []byte) call
	list(m *mailbox, found []Message, next string) any
	get(m *mailbox, msg Message) any
	sent(m *mailbox, id string) (status int, body any)
	// refuse is the provider's answer to what went wrong.
	refuse(why trouble, wait wait) answer

	listRequest(mailbox, page string) *http.Request
	getRequest(mailbox, id string) *http.Request
	sendRequest(mailbox, id string) *http.Request
	findRequest(mailbox, id string) *http.Request
	parseList(body []byte) (ids []string, next string, err error)
	parseMessage(body []byte) (Message, error)
}

// limits are what a provider enforces for each mailbox.
type limits struct {
	rate, burst float64       // units a second; 0 = none
	cost        map[op]int64  // units; a missing one costs 1
	concurrency int           // 0 = none
	throttle    time.Duration // the wait that a refusal for one of these names
	tokenLife   int           // requests; 0 = for ever
	tokenAge    time.Duration // no token but a mailbox's first expires sooner, unless Options.TokenLife says when
}

// op is what a request asks for.
type op string

const (
	opNone op = ""
	opList op = "list"
	opGet  op = "get"
	opSend op = "send"
	opFind op = "find" // a list of one: the sent message of a given identity
)

// call is a request as its provider understands it.
type call struct {
	op      op
	mailbox string
	id      string // of the message, or of the message to be sent or found
	page    string
}

// trouble is what can go wrong with a request.
type trouble string

// The kinds of refusal, as Count.Refused names them.
const (
	quota       trouble = "quota"        // over the provider's limit of units or requests
	concurrency trouble = "concurrency"  // too many at once
	throttled   trouble = "throttled"    // told to come back later, for reasons of the provider's own
	overloaded  trouble = "overloaded"   // throttled without a word on when to come back
	unavailable trouble = "unavailable"  // 503: refused before processing
	failed      trouble = "server error" // another 5xx
	notReady    trouble = "not ready"    // a 202 that is an error
	unreachable trouble = "provider"     // an aggregator cannot reach the provider behind it
	expired     trouble = "token"        // 401
	missing     trouble = "not found"    // 404; not counted as a refusal
	malformed   trouble = "bad request"  // 400

	dropped     trouble = "connection lost" // before processing
	withheld    trouble = "reply lost"      // processed, and the connection closed without a reply
	failedAfter trouble = "failed late"     // processed, and then answered with a 5xx
)

// wait is when a refusal tells the client to come back.
type wait struct {
	now, until time.Time // until is zero where the refusal does not tell
	// form is a number in [0,1) by which a provider that writes waits in
	// several forms chooses.
	form float64
}

// answer is a response to be.
type answer struct {
	status int
	header map[string]string
	body   any       // written as JSON, a string as it is
	named  time.Time // when the answer tells the client to come back; it may round wait.until up
}

// fault is one way in which a provider misbehaves.
type fault struct {
	trouble trouble
	rate    float64
	sends   bool          // it befalls sends; else reads
	wait    time.Duration // what the refusal names; 0 = nothing. Until then the mailbox is throttled
}

// Fault is a way in which a server misbehaves, and how often.
type Fault struct {
	Name  string
	Sends bool    // the share of sends that it befalls; else of reads
	Rate  float64 // of first attempts; no message is befallen more than three times
}

// maxFaults bounds the faults that one message meets: providers do recover.
const maxFaults = 3

// gone is the share of messages that are listed but deleted since.
const gone = 0.01

// pageSize is the number of messages in a page of a list.
const pageSize = 50

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 1 << 20

func newServer(a api, o Options) *Server {
	if o.Mailboxes <= 0 {
		o.Mailboxes = 3
	}
	if o.Messages <= 0 {
		o.Messages = 100
	}
	if o.Latency <= 0 {
		o.Latency = 20 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{api: a, o: o, now: o.Now, boxes: map[string]*mailbox{}}
	for i := range o.Mailboxes {
		s.names = append(s.names, a.mailbox(i))
	}
	s.Reset()
	return s
}

// Reset empties the counters, refills the mailboxes and forgets all tokens, so
// that another run meets the same faults. No request may be in flight.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusals, s.refused = map[int64]*refusal{}, map[string]int{}
	s.requests, s.unread, s.early, s.issued, s.refreshed = 0, 0, 0, 0, 0
	l := s.limits()
	share := gone
	if s.o.Faultless {
		share = 0
	}
	for _, name := range s.names {
		m := &mailbox{name: name}
		m.reset(s.o.Seed, s.Name(), s.o.Messages, share, bucket{rate: l.rate, burst: l.burst})
		s.boxes[name] = m
	}
}

// Mailboxes are the accounts that the server knows.
func (s *Server) Mailboxes() []string { return append([]string(nil), s.names...) }

// Messages are the messages of a mailbox, in order; nil for an unknown one.
func (s *Server) Messages(mailbox string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[mailbox]
	if m == nil {
		return nil
	}
	return append([]Message(nil), m.messages...)
}

// Sent is how often the message of that identity was delivered from the mailbox.
func (s *Server) Sent(mailbox, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.boxes[mailbox]; m != nil {
		return m.sent[id]
	}
	return 0
}

// Faults states how the server misbehaves.
func (s *Server) Faults() []Fault {
	var all []Fault
	if s.o.Faultless {
		return nil
	}
	for _, f := range s.faults() {
		all = append(all, Fault{Name: string(f.trouble), Sends: f.sends, Rate: f.rate})
	}
	return all
}

// Count is what a server saw.
type Count struct {
	Requests      int            // that came in, without those for tokens
	Refused       map[string]int // by kind
	Unread        int            // replies lost after the request had been processed
	EarlyRetries  int            // see Stamp
	Tokens        int            // issued, the first of each mailbox included
	Refreshes     int            // tokens issued to a mailbox that had one
	DuplicateSend int            // deliveries beyond the first of each message

	// The worst mailbox's, refused requests included: what the client asked of
	// the server. A limit that the provider lacks is 0.
	PeakConcurrency    int
	ConcurrencyLimit   int
	PeakUnitsPerSecond int64 // over any sliding second
	UnitsLimit         int64 // the most that the provider lets through in one second: rate + burst
}

// RefusedTotal is the number of refusals of every kind.
func (c *Count) RefusedTotal() int {
	n := 0
	for _, k := range c.Refused {
		n += k
	}
	return n
}

// Count returns what the server saw since it was made or reset.
func (s *Server) Count() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limits()
	c := Count{
		Requests: s.requests, Refused: maps.Clone(s.refused), Unread: s.unread, EarlyRetries: s.early,
		Tokens: s.issued, Refreshes: s.refreshed,
		ConcurrencyLimit: l.concurrency, UnitsLimit: int64(l.rate + l.burst),
	}
	for _, m := range s.boxes {
		c.DuplicateSend += m.duplicates()
		c.PeakConcurrency = max(c.PeakConcurrency, m.peakInflight)
		c.PeakUnitsPerSecond = max(c.PeakUnitsPerSecond, m.peakUnits)
	}
	return c
}

// Issue makes a new access token for a mailbox and expires the one before. It
// is "" for an unknown mailbox.
func (s *Server) Issue(mailbox string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.boxes[mailbox]
	if m == nil {
		return ""
	}
	s.issued++
	if m.generation > 0 {
		s.refreshed++
	}
	m.generation++
	m.uses, m.issued = 0, s.now()
	return s.token(m)
}

// token is the newest token of a mailbox.
func (s *Server) token(m *mailbox) string {
	return "fake-" + hexID(s.o.Seed, s.Name(), m.name, "token", strconv.Itoa(m.generation))
}

func (s *Server) tokenLife() int {
	switch {
	case s.o.TokenLife > 0:
		return s.o.TokenLife
	case s.o.TokenLife < 0:
		return 0
	}
	return s.limits().tokenLife
}

// authorized reports whether the request bears a token that is good. Where
// tokens never expire, any will do.
func (s *Server) authorized(m *mailbox, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	life := s.tokenLife()
	if life == 0 {
		return ok && token != ""
	}
	old := s.o.TokenLife > 0 || m.generation == 1 || s.now().Sub(m.issued) >= s.limits().tokenAge
	if !ok || m.generation == 0 || token != s.token(m) || m.uses >= life && old {
		return false
	}
	m.uses++
	return true
}

// finished notes that the client has read a refusal to its end, or closed it.
func (s *Server) finished(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refusals[id]; r != nil {
		r.read = s.moment()
		delete(s.refusals, id)
	}
}

// moment is now.
func (s *Server) moment() moment { return moment{s.now(), s.seq.Add(1)} }

// verdict is what the server makes of a request: an answer, and what becomes of it.
type verdict struct {
	answer
	admitted bool // it counts against the concurrency that the provider allows
	lost     bool // the answer never leaves
	refusal  int64
}

// ServeHTTP answers as the provider would.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		write(w, s.refuse(malformed, wait{}))
		return
	}
	if r.URL.Path == s.tokenPath() {
		s.serveToken(w, body)
		return
	}
	c := s.parse(r, body)

	s.mu.Lock()
	now := s.now()
	s.requests++
	m := s.boxes[c.mailbox]
	if m == nil || c.op == opNone {
		s.mu.Unlock()
		write(w, s.refuse(missing, wait{}))
		return
	}
	cost := s.cost(c.op)
	m.inflight++
	m.peakInflight = max(m.peakInflight, m.inflight)
	m.peakUnits = max(m.peakUnits, m.recent.add(now, cost))
	s.countEarly(m, now, r)
	key := string(c.op) + " " + c.id + c.page
	m.attempts[key]++
	attempt := strconv.Itoa(m.attempts[key])
	v := s.judge(m, c, r, now, cost, attempt)
	if v.admitted {
		m.admitted++
	}
	s.mu.Unlock()

	// The mailbox is busy until the body's last part is ready, so that a client
	// which believes a request to be over at its headers is found out.
	leave := sync.OnceFunc(func() {
		s.mu.Lock()
		m.inflight--
		if v.admitted {
			m.admitted--
		}
		s.mu.Unlock()
	})
	defer leave()
	took := time.Duration((0.5 + chance(s.o.Seed, s.Name(), m.name, key, attempt, "latency")) * float64(s.o.Latency))
	if !v.admitted {
		took /= 4
	}
	if !pause(r, took/2) {
		return
	}
	if v.lost {
		leave()
		hangUp(w)
		return
	}
	if v.refusal != 0 {
		w.Header().Set(refusalHeader, strconv.FormatInt(v.refusal, 10))
	}
	rest := begin(w, v.answer)
	if !pause(r, took/2) {
		return
	}
	leave()
	_, _ = w.Write(rest)
}

func (s *Server) cost(o op) int64 {
	if n, ok := s.limits().cost[o]; ok {
		return n
	}
	return 1
}

// countEarly counts the request if it was sent although the client knew better.
func (s *Server) countEarly(m *mailbox, now time.Time, r *http.Request) {
	sent, ok := parseMoment(r.Header.Get(sentHeader))
	if !ok {
		return
	}
	keep, blamed := m.refusals[:0], false
	for _, f := range m.refusals {
		blamed = blamed || f.early(sent)
		// A request may be on its way for long; nobody looks further back.
		if now.Sub(f.named) < 10*time.Second {
			keep = append(keep, f)
		} else {
			delete(s.refusals, f.id)
		}
	}
	clear(m.refusals[len(keep):])
	m.refusals = keep
	if blamed {
		s.early++
	}
}

// judge decides what becomes of a request. The caller holds the lock.
func (s *Server) judge(m *mailbox, c call, r *http.Request, now time.Time, cost int64, attempt string) verdict {
	l := s.limits()
	form := chance(s.o.Seed, s.Name(), m.name, string(c.op), c.id, c.page, attempt, "form")
	refuse := func(why trouble, until time.Time) verdict {
		v := verdict{answer: s.refuse(why, wait{now: now, until: until, form: form})}
		s.refused[string(why)]++
		if !until.IsZero() {
			if v.named.Before(until) {
				v.named = until
			}
			if !now.Before(m.until) {
				m.until = v.named
			}
			s.lastID++
			v.refusal = s.lastID
			f := &refusal{id: v.refusal, named: v.named}
			s.refusals[f.id] = f
			m.refusals = append(m.refusals, f)
		}
		return v
	}

	// Whatever comes while the mailbox is throttled is refused with the same time.
	if now.Before(m.until) {
		return refuse(throttled, m.until)
	}
	if l.concurrency > 0 && m.admitted >= l.concurrency {
		return refuse(concurrency, now.Add(l.throttle))
	}
	if !m.bucket.take(now, cost) {
		return refuse(quota, now.Add(l.throttle))
	}
	if !s.authorized(m, r) {
		return refuse(expired, time.Time{})
	}

	f, ok := s.befalls(m, c, attempt)
	if ok && f.trouble == dropped {
		return verdict{admitted: true, lost: true}
	}
	if ok && f.trouble != withheld && f.trouble != failedAfter {
		var until time.Time
		if f.wait > 0 {
			until = now.Add(f.wait)
		}
		v := refuse(f.trouble, until)
		v.admitted = f.wait == 0 // a server that fails has worked on the request until then
		return v
	}

	v := verdict{admitted: true, answer: s.serve(m, c)}
	switch {
	case !ok:
	case f.trouble == withheld:
		s.unread++
		v.lost = true
	default:
		s.refused[string(failedAfter)]++
		v.answer = s.refuse(failed, wait{now: now, form: form})
	}
	return v
}

// befalls returns the fault that befalls this attempt.
func (s *Server) befalls(m *mailbox, c call, attempt string) (fault, bool) {
	if s.o.Faultless {
		return fault{}, false
	}
	if n, err := strconv.Atoi(attempt); err != nil || n > maxFaults {
		return fault{}, false
	}
	u := chance(s.o.Seed, s.Name(), m.name, string(c.op), c.id, c.page, attempt, "fault")
	for _, f := range s.faults() {
		if f.sends != (c.op == opSend) {
			continue
		}
		if u < f.rate {
			return f, true
		}
		u -= f.rate
	}
	return fault{}, false
}

// serve does what the request asks for. The caller holds the lock.
func (s *Server) serve(m *mailbox, c call) answer {
	switch c.op {
	case opList:
		from, err := strconv.Atoi(c.page)
		if c.page == "" {
			from, err = 0, nil
		}
		if err != nil || from < 0 || from > len(m.messages) {
			return s.refuse(malformed, wait{})
		}
		to, next := from+pageSize, strconv.Itoa(from+pageSize)
		if to >= len(m.messages) {
			to, next = len(m.messages), ""
		}
		return answer{status: http.StatusOK, body: s.list(m, m.messages[from:to], next)}
	case opFind:
		var found []Message
		if m.sent[c.id] > 0 {
			found = []Message{{ID: hexID(s.o.Seed, s.Name(), m.name, "sent", c.id), Subject: c.id}}
		}
		return answer{status: http.StatusOK, body: s.list(m, found, "")}
	case opGet:
		i, ok := m.byID[c.id]
		if !ok || m.messages[i].Gone {
			return s.refuse(missing, wait{})
		}
		return answer{status: http.StatusOK, body: s.get(m, m.messages[i])}
	case opSend:
		if c.id == "" {
			return s.refuse(malformed, wait{})
		}
		m.sent[c.id]++
		status, body := s.sent(m, c.id)
		return answer{status: status, body: body}
	}
	return s.refuse(missing, wait{})
}

// serveToken answers a refresh at the provider's token endpoint (RFC 6749, section 6).
func (s *Server) serveToken(w http.ResponseWriter, body []byte) {
	var ask map[string]string
	_ = json.Unmarshal(body, &ask) // what cannot be read names no mailbox, and is refused for that
	token := s.Issue(ask["refresh_token"])
	if token == "" {
		write(w, answer{status: http.StatusBadRequest, body: map[string]string{
			"error": "invalid_grant", "error_description": "no such grant",
		}})
		return
	}
	write(w, answer{status: http.StatusOK, body: map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": 3600,
	}})
}

// ListRequest asks for a page of a mailbox's messages; "" is the first page.
// Like the other requests it lacks an Authorization header.
func (s *Server) ListRequest(mailbox, page string) *http.Request { return s.listRequest(mailbox, page) }

// GetRequest asks for one message.
func (s *Server) GetRequest(mailbox, id string) *http.Request { return s.getRequest(mailbox, id) }

// SendRequest sends a message from the mailbox; id is the message's own
// identity, by which the server knows duplicates. Its body can be rewound.
func (s *Server) SendRequest(mailbox, id string) *http.Request { return s.sendRequest(mailbox, id) }

// FindRequest lists the sent messages of that identity: one or none.
func (s *Server) FindRequest(mailbox, id string) *http.Request { return s.findRequest(mailbox, id) }

// TokenRequest asks for a new access token. The mailbox's name serves as its refresh token.
func (s *Server) TokenRequest(mailbox string) *http.Request {
	return request(http.MethodPost, s.Host(), s.tokenPath(), nil, map[string]string{
		"grant_type": "refresh_token", "refresh_token": mailbox, "client_id": "worker", "client_secret": "none",
	})
}

// ParseToken reads the answer to TokenRequest.
func (s *Server) ParseToken(body []byte) (string, error) {
	t, err := unmarshal[struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}](body)
	if err == nil && t.Token == "" {
		err = fmt.Errorf("no token in it: %q", t.Error)
	}
	if err != nil {
		return "", fmt.Errorf("fake: token of %q: %w", s.Name(), err)
	}
	return t.Token, nil
}

// ParseList reads the answer to ListRequest and FindRequest: the messages'
// identifiers, and the page that follows or "".
func (s *Server) ParseList(body []byte) (ids []string, next string, err error) {
	if ids, next, err = s.parseList(body); err != nil {
		err = fmt.Errorf("fake: list of %q: %w", s.Name(), err)
	}
	return ids, next, err
}

// ParseMessage reads the answer to GetRequest. An answer that is no message is an error.
func (s *Server) ParseMessage(body []byte) (Message, error) {
	m, err := s.parseMessage(body)
	if err == nil && m.ID == "" {
		err = fmt.Errorf("no message in it")
	}
	if err != nil {
		return Message{}, fmt.Errorf("fake: message of %q: %w", s.Name(), err)
	}
	return m, nil
}
