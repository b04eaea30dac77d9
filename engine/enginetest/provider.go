package enginetest

import (
	"net/http"
	"time"
)

// provider is what differs between the fake providers.
type provider interface {
	name() string
	host() string

	// tokenPath is where access tokens are renewed.
	tokenPath() string

	limits() limits
	faults() []FaultRate
	mailbox(i int) string

	// parse reads a request; an operation of opNone is answered 404.
	parse(r *http.Request, body []byte) call
	list(m *mailbox, found []Message, next string) any
	get(m *mailbox, msg Message) any
	sent(m *mailbox, id string) (status int, body any)
	// refuse returns the provider's answer to a request that fails.
	refuse(why Fault, wait wait) answer

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
	throttle    time.Duration // the wait that a refusal because of a limit names
	tokenLife   int           // how many requests a token is good for; 0 = any number
	tokenAge    time.Duration // how long each token of a mailbox but the first is good at least, unless Options.TokenLife is set
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

// wait is when a refusal tells the client to come back.
type wait struct {
	now, until time.Time // until is zero where the refusal does not tell
	// form is a number in [0,1) by which a provider that writes waits in
	// several forms chooses.
	form float64
}

// answer is a response that is to be sent.
type answer struct {
	status int
	header map[string]string
	body   any       // written as JSON, a string as it is
	named  time.Time // when the answer tells the client to come back; it may round wait.until up
}
