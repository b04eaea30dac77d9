package simulate

import (
	"net/http"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Scenario says who calls what and when, what the provider's server allows, and what goes
// wrong. Times count from the beginning of the simulation.
type Scenario struct {
	Name     string
	Shows    string // what it is meant to show, for the reader of the result
	Provider string // the policy of the calls

	Mailboxes int
	Tenants   int           // the mailboxes are spread over so many tenants; at least 1
	Workers   int           // calls at once; those that wait in a worker count
	MaxInline time.Duration // as of engine.Options; 0 = 1 minute
	// ComeBack is how long after it was given up as exhausted, budget, deadline or
	// unavailable a call is made anew, as by a job engine. The time doubles with each
	// further time, up to an hour; after maxRounds times the call is given up for good.
	// 0 = calls are not made anew.
	ComeBack time.Duration
	Duration time.Duration // how long calls arrive
	Patience time.Duration // how long the simulation goes on after Duration at most; calls that have not ended then are unfinished
	Interval time.Duration // of the series

	Calls  []Arrival
	Server Server
	Faults []ServerFault
}

// Arrival says when calls of one operation arrive: at a Rate, or At certain times.
type Arrival struct {
	Operation string
	Method    string
	Mailboxes Subset
	Rate      float64         // calls a second for each mailbox, at random times; 0 = the calls arrive at At
	At        []time.Duration // sorted; at each of these times every mailbox makes calls: a herd
	Times     int             // with At: how many calls each mailbox makes; 0 = 1
	Spread    time.Duration   // with At: the time over which the calls of a herd are spread evenly
	Priority  limiter.Priority
	Once      bool // a call must not be carried out twice, such as one that sends a message
}

// Subset is the Count mailboxes from index First on. Count 0 = all from First on.
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
	Operations  []string         // the operations that it counts; none = all
	Costs       map[string]int64 // units of an operation; 1 where it is missing
	Answer      Answer           // of a refusal
}

// Tokens says how long the server's access tokens live, and how they are renewed.
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
	// RetryAfter is the value of the header Retry-After, rounded up to whole seconds; 0 = no
	// such header.
	RetryAfter time.Duration
	// UntilFree sets Retry-After to the time until the limit lets the next request pass.
	UntilFree bool
}

// ServerFault is something that is wrong with the server for a time.
type ServerFault struct {
	Name       string
	From, To   time.Duration
	Share      float64 // the fraction of requests that it hits; 0 = all
	Mailboxes  Subset
	Operations []string // the operations that it hits; none = all
	Tokens     bool     // it hits requests to the token endpoint, instead of those to the API

	Kind       FaultKind
	Answer     Answer  // of FaultAnswer
	CarriedOut bool    // with FaultAnswer: the request is carried out before it is answered so
	Limits     float64 // of FaultLimits: what the server's limits are multiplied by
}

// FaultKind says what goes wrong.
type FaultKind uint8

// The kinds of faults.
const (
	FaultAnswer    FaultKind = iota // requests get Answer, and are carried out only with CarriedOut
	FaultReplyLost                  // requests are carried out, and the connection breaks before the answer
	FaultNoConnect                  // there is no connection: nothing is sent
	FaultNoAnswer                   // requests are not carried out, and no answer ever comes
	FaultLimits                     // the server's limits are multiplied by Limits
)
