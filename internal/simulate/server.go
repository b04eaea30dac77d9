package simulate

import (
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// server is the provider's side. It counts and refuses as the scenario says, and knows
// nothing of who calls it. Times are since the simulation began.
type server struct {
	s      *Scenario
	seed   uint64
	limits []*limitState
	tokens []token // by mailbox, its newest

	until []time.Duration // by mailbox, the latest time to come back that its client has read in an answer
}

// request is a request to the API.
type request struct {
	call    uint64 // its number
	attempt int
	mailbox int
	op      string
	token   int
}

// verdict is what the server does with a request.
type verdict struct {
	answer  *Answer       // nil = there is none
	err     error         // of the network, if there is no answer; nil = the client waits for ever
	takes   time.Duration // how long the answer takes
	carried bool          // the request was carried out
	until   time.Duration // when to come back, as the answer says; 0 = it does not say
	held    []*slots      // concurrency that the request holds until it is over
}

// limitState is a limit of the server and its state by key.
type limitState struct {
	*ServerLimit
	keys map[int]*slots
}

// slots is the state of a limit for one key.
type slots struct {
	level float64       // units left in the bucket
	at    time.Duration // when level was computed, or when the quota's window began
	used  int64         // units of the quota used in the window
	held  int           // requests in flight
	fresh bool          // nothing has been taken yet
}

// token is an access token.
type token struct {
	id      int
	expires time.Duration
}

func newServer(s *Scenario, seed uint64) *server {
	v := &server{s: s, seed: seed, until: make([]time.Duration, s.Mailboxes)}
	for i := range s.Server.Limits {
		v.limits = append(v.limits, &limitState{&s.Server.Limits[i], map[int]*slots{}})
	}
	v.tokens = make([]token, s.Mailboxes)
	for i := range v.tokens {
		// Tokens are of any age at the beginning, as if the workers had run for long.
		v.tokens[i] = token{1, time.Duration(chance(seed, forToken, uint64(i)) * float64(s.Server.Tokens.life()))}
	}
	return v
}

// life returns how long an access token is valid.
func (t *Tokens) life() time.Duration {
	if t.Life <= 0 {
		return math.MaxInt64 / 4
	}
	return t.Life
}

// tenant returns the index of a mailbox's tenant.
func (s *Scenario) tenant(mailbox int) int { return mailbox % max(s.Tenants, 1) }

// has reports whether a mailbox is in the subset.
func (u Subset) has(mailbox int) bool {
	return mailbox >= u.First && (u.Count == 0 || mailbox < u.First+u.Count)
}

// size returns how many of the scenario's mailboxes are in the subset.
func (u Subset) size(mailboxes int) int {
	if u.Count == 0 {
		return mailboxes - u.First
	}
	return u.Count
}

func (f *ServerFault) active(now time.Duration) bool { return now >= f.From && now < f.To }

// faultOf returns the first fault that hits a request; nil = none. tokens says whether the
// request is to the token endpoint; of are the numbers of its chance.
func (v *server) faultOf(now time.Duration, tokens bool, mailbox int, op string, of ...uint64) *ServerFault {
	for i := range v.s.Faults {
		f := &v.s.Faults[i]
		switch {
		case f.Kind == FaultLimits, f.Tokens != tokens, !f.active(now), !f.Mailboxes.has(mailbox):
		case len(f.Operations) > 0 && !slices.Contains(f.Operations, op):
		case f.Share > 0 && f.Share < 1 && chance(v.seed, forFault+uint64(i)<<8, of...) >= f.Share:
		default:
			return f
		}
	}
	return nil
}

var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	errLost    = io.ErrUnexpectedEOF
)

// meets makes a fault the verdict. It reports whether the request gets no further: else it
// is carried out, if the server does not refuse it, and then after makes the fault the verdict.
func (f *ServerFault) meets(v *verdict, now time.Duration) bool {
	switch f.Kind {
	case FaultAnswer:
		if f.CarriedOut {
			return false
		}
		v.refuse(&f.Answer, now, now)
	case FaultNoConnect:
		v.err, v.takes = errRefused, time.Millisecond
	case FaultNoAnswer:
		v.takes = math.MaxInt64
	default:
		return false
	}
	return true
}

// after is what a request ends with that was carried out.
func (f *ServerFault) after(v *verdict, now time.Duration) {
	if f.Kind == FaultAnswer {
		v.refuse(&f.Answer, now, now)
	} else { // FaultReplyLost
		v.err = errLost
	}
}

// refuse sets the answer of the verdict. free is when the limit lets the next request pass,
// for an answer with UntilFree.
func (v *verdict) refuse(a *Answer, now, free time.Duration) {
	answer := *a
	wait := a.RetryAfter
	if a.UntilFree {
		wait = max(free-now, time.Second)
	}
	if seconds := int64((wait + time.Second - 1) / time.Second); wait > 0 {
		answer.Header = a.Header.Clone()
		if answer.Header == nil {
			answer.Header = http.Header{}
		}
		answer.Header.Set("Retry-After", strconv.FormatInt(seconds, 10))
		v.until = now + time.Duration(seconds)*time.Second
	}
	v.answer = &answer
}

// request decides about a request that is sent now. It also reports whether the request comes
// earlier than the mailbox was told.
func (v *server) request(now time.Duration, r *request) (verdict, bool) {
	early := now < v.until[r.mailbox]
	out := verdict{takes: v.s.Server.Latency.of(chance(v.seed, forLatency, r.call, uint64(r.attempt)))}
	fault := v.faultOf(now, false, r.mailbox, r.op, r.call, uint64(r.attempt))
	if fault != nil && fault.meets(&out, now) {
		return out, early
	}
	if t := v.tokens[r.mailbox]; r.token < t.id || v.s.Server.Tokens.Life > 0 && now >= t.expires {
		out.refuse(&v.s.Server.Tokens.Expired, now, now)
		return out, early
	}
	if !v.take(now, r, &out) {
		return out, early
	}
	out.carried = true
	if fault != nil {
		fault.after(&out, now)
		return out, early
	}
	out.answer = &okay
	return out, early
}

var okay = Answer{Status: http.StatusOK, Header: http.Header{}}

// factor returns what the limits are multiplied by now.
func (v *server) factor(now time.Duration) float64 {
	x := 1.0
	for i := range v.s.Faults {
		if f := &v.s.Faults[i]; f.Kind == FaultLimits && f.active(now) {
			x *= f.Limits
		}
	}
	return x
}

// take takes the request's units from all limits that count it. If one of them does not allow
// it, take takes nothing, refuses the request in out and returns false.
func (v *server) take(now time.Duration, r *request, out *verdict) bool {
	if len(v.limits) == 0 {
		return true
	}
	factor := v.factor(now)
	type taken struct {
		k    *slots
		cost int64
		l    *limitState
	}
	var take []taken
	for _, l := range v.limits {
		if len(l.Operations) > 0 && !slices.Contains(l.Operations, r.op) {
			continue
		}
		key := 0
		switch l.Per {
		case "mailbox":
			key = r.mailbox
		case "tenant":
			key = v.s.tenant(r.mailbox)
		}
		k := l.keys[key]
		if k == nil {
			k = &slots{fresh: true}
			l.keys[key] = k
		}
		cost, ok := l.Costs[r.op]
		if !ok {
			cost = 1
		}
		if free := l.free(k, now, cost, factor); free > now {
			out.refuse(&l.Answer, now, free)
			return false
		}
		take = append(take, taken{k, cost, l})
	}
	for _, t := range take {
		switch {
		case t.l.Rate > 0:
			t.k.level -= float64(t.cost)
		case t.l.Quota > 0:
			t.k.used += t.cost
		default:
			t.k.held++
			out.held = append(out.held, t.k)
		}
	}
	return true
}

// free updates the state of a key to now, and returns when it lets a request of that cost
// pass: now, or later.
func (l *limitState) free(k *slots, now time.Duration, cost int64, factor float64) time.Duration {
	switch {
	case l.Rate > 0:
		most, rate := max(l.Burst*factor, 1), l.Rate*factor
		k.level += rate * (now - k.at).Seconds()
		if k.fresh || k.level > most {
			k.level = most
		}
		k.at, k.fresh = now, false
		if missing := float64(cost) - k.level; missing > 1e-9 {
			return now + max(time.Duration(missing/rate*1e9), 1)
		}
	case l.Quota > 0:
		if k.fresh || now >= k.at+l.Window {
			k.at, k.used, k.fresh = now, 0, false
		}
		if float64(k.used+cost) > float64(l.Quota)*factor {
			return k.at + l.Window
		}
	default:
		if k.held >= max(int(float64(l.Concurrency)*factor), 1) {
			return now + time.Second
		}
	}
	return now
}

// over releases what a request holds.
func (v *server) over(out *verdict) {
	for _, k := range out.held {
		k.held--
	}
	out.held = nil
}

// told records that a mailbox's client has read an answer.
func (v *server) told(mailbox int, out *verdict) {
	if out.answer != nil {
		v.until[mailbox] = max(v.until[mailbox], out.until)
	}
}

// refresh decides about the n-th refresh of a mailbox's token.
func (v *server) refresh(now time.Duration, mailbox int, n int) verdict {
	out := verdict{takes: v.s.Server.Tokens.Latency.of(chance(v.seed, forRefresh, uint64(mailbox), uint64(n)))}
	fault := v.faultOf(now, true, mailbox, "token.refresh", uint64(mailbox), uint64(n))
	switch {
	case fault != nil && fault.meets(&out, now):
	case fault != nil:
		fault.after(&out, now)
	default:
		out.answer, out.carried = &okay, true
	}
	return out
}

// renewed gives a mailbox a new token.
func (v *server) renewed(now time.Duration, mailbox int) {
	t := &v.tokens[mailbox]
	t.id, t.expires = t.id+1, now+v.s.Server.Tokens.life()
}
