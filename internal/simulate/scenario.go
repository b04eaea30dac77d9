package simulate

import (
	"net/http"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Scenario is who calls what and when, what the provider's server allows, and what goes
// wrong. Times are since the simulation began.
type Scenario struct {
	Name     string
	Shows    string // what it is meant to show, for whoever reads the result
	Provider string // the policy of the calls

	Mailboxes int
	Tenants   int           // the mailboxes are spread over so many tenants; at least 1
	Workers   int           // calls at once; those that wait in a worker count
	MaxInline time.Duration // as of engine.Options; 0 = 1 minute
	// ComeBack is how long after it was given up as exhausted, budget, deadline or
	// unavailable a call is made anew, as job engines do: the first time; then twice as long
	// each time, up to an hour, and at most maxRounds times. 0 = it is not.
	ComeBack time.Duration
	Duration time.Duration // calls arrive for so long
	Patience time.Duration // the simulation ends so long after that at the latest; calls that have not ended then are unfinished
	Interval time.Duration // of the series

	Calls  []Arrival
	Server Server
	Faults []ServerFault
}

// Arrival is calls of one operation.
type Arrival struct {
	Operation string
	Method    string
	Mailboxes Subset
	Rate      float64         // of each mailbox, a second, at random times; 0 = the calls come at At
	At        []time.Duration // in order; of every mailbox: a herd
	Times     int             // with At: so many calls of each mailbox; 0 = 1
	Spread    time.Duration   // the calls of At come within so long, evenly
	Priority  limiter.Priority
	Once      bool // it must not be carried out twice, as a message that is sent
}

// Subset is some of the mailboxes: those from First on, Count of them; 0 = all the rest.
type Subset struct{ First, Count int }

// Server is what the provider allows. It knows nothing of its clients' policies.
type Server struct {
	Latency Latency
	Limits  []ServerLimit
	Tokens  Tokens
}

// Latency is how long an answer takes: by a lognormal distribution with this median and
// 99th percentile.
type Latency struct{ Median, P99 time.Duration }

// ServerLimit is one limit that the server enforces.
type ServerLimit struct {
	Name        string
	Per         string  // "mailbox", "tenant" or "all"
	Rate        float64 // units a second, with Burst; 0 = none
	Burst       float64
	Quota       int64 // units in each Window; 0 = none
	Window      time.Duration
	Concurrency int              // requests at once; 0 = none
	Operations  []string         // that it counts; none = all
	Costs       map[string]int64 // units of an operation; 1 where it is missing
	Answer      Answer           // of a refusal
}

// Tokens are how the server's access tokens live, and the endpoint that renews them.
type Tokens struct {
	Life     time.Duration // 0 = they do not expire
	Endpoint string        // the policy that decides about the endpoint's failures
	Latency  Latency
	Expired  Answer // of a request with an access token that has expired
}

// Answer is a response.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// RetryAfter is told in the header Retry-After, in whole seconds; 0 = it is not.
	RetryAfter time.Duration
	// UntilFree tells in Retry-After when the limit will let the next request pass.
	UntilFree bool
}

// ServerFault is something that is wrong with the server for a time.
type ServerFault struct {
	Name       string
	From, To   time.Duration
	Share      float64 // of the requests that meet it; 0 = all
	Mailboxes  Subset
	Operations []string // that meet it; none = all
	Tokens     bool     // requests to the token endpoint meet it, instead of those to the API

	Kind       FaultKind
	Answer     Answer  // of FaultAnswer
	CarriedOut bool    // with FaultAnswer: the request is carried out before it is answered so
	Limits     float64 // of FaultLimits: what the server's limits are multiplied by
}

// FaultKind is what goes wrong.
type FaultKind uint8

// The kinds of faults.
const (
	FaultAnswer    FaultKind = iota // requests get Answer, and are carried out only with CarriedOut
	FaultReplyLost                  // requests are carried out, and the connection breaks before the answer
	FaultNoConnect                  // there is no connection: nothing is sent
	FaultNoAnswer                   // requests are not carried out, and no answer ever comes
	FaultLimits                     // the server allows Limits times what it does otherwise
)
