package classify

import (
	"errors"
	"net/http"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// MaxBatch is how many bytes of the answer to a batch are read.
const MaxBatch = 8 << 20

// maxBatchItems bounds the answers of a batch: Graph takes 20 requests at
// once, Gmail 100, Google Calendar 1000.
const maxBatchItems = 2000

// ErrBatch says that a response holds no batch of answers, or only part of one.
var ErrBatch = errors.New("classify: no complete batch of answers")

// BatchRequest is one request of a batch, as it was sent.
type BatchRequest struct {
	ID        string // as in the batch: `id` of Microsoft Graph, Content-ID of Google without its brackets
	Operation string // the policy's name of the request
	Method    string
}

// BatchItem is what became of one request of a batch.
type BatchItem struct {
	ID    string
	Index int         // of the request in what was sent; of the answer where that is not known
	Event rules.Event // classified like the response to a request of its own
	// Answered is false for a request that the response has no answer for. Its
	// Event has no status and [rules.NetworkEOF], since what became of it is
	// unknown.
	Answered bool
}

// Batch classifies each answer inside r, the response to a batch of requests:
// the JSON of Microsoft Graph's $batch, or the multipart/mixed of Google's
// APIs. Such a response is a success as a whole (200) although requests in it
// may have been refused, each with its own status, headers and body. Bodies of
// answers that succeeded are not read.
//
// There is one item for every request in sent, in that order; with sent nil,
// one for every answer, in theirs, as if its request were unnamed. Idempotent
// is set for each item by its own method and operation, all else as by [HTTP].
// Hints are read against the Date of the answer, else of r.
//
// To send again what was refused, decide about each item's event as about a
// call of its own. Items of a common cause come with their own hints, so wait
// for the longest before a batch of them all. Graph answers 424 to a request
// whose dependency failed: send it again together with that one.
//
// The error is nil or [ErrBatch]. The items that could be read are returned in
// any case.
func Batch(p *policy.Policy, r *Response, sent []BatchRequest) ([]BatchItem, error) {
	b := batch{p: p, r: r, header: canonical(r.Header), sent: sent}
	if sent != nil {
		b.items = make([]BatchItem, len(sent))
		b.index = make(map[string]int, len(sent))
		for i := range sent {
			b.items[i] = BatchItem{ID: sent[i].ID, Index: i, Event: rules.Event{
				Operation: sent[i].Operation, Method: upper(sent[i].Method), Protocol: "http",
				Network: rules.NetworkEOF, Sent: true,
				Idempotent: Idempotent(p, "http", sent[i].Method, sent[i].Operation, nil),
			}}
			if p != nil {
				b.items[i].Event.Provider = p.Name
			}
			if _, twice := b.index[sent[i].ID]; !twice {
				b.index[sent[i].ID] = i
			}
		}
	}
	body := r.Body
	if len(body) > MaxBatch {
		body = body[:MaxBatch]
	}
	err := batchAnswers(get(b.header, "Content-Type"), body, b.take)
	return b.items, err
}

type batch struct {
	p      *policy.Policy
	r      *Response
	header map[string][]string
	sent   []BatchRequest
	index  map[string]int // of sent by id
	items  []BatchItem
	n      int // answers so far
}

// take takes in one answer, and reports whether there may be more.
func (b *batch) take(a *batchAnswer) bool {
	at := b.n
	b.n++
	if a.status == 0 {
		return b.n < maxBatchItems
	}
	if b.sent != nil {
		i, known := b.index[a.id]
		switch {
		case known:
			at = i
		case a.id != "" || at >= len(b.sent):
			return b.n < maxBatchItems // an answer that nobody asked for
		}
		if b.items[at].Answered {
			return b.n < maxBatchItems
		}
	} else {
		b.items = append(b.items, BatchItem{ID: a.id, Index: at})
	}
	it := &b.items[at]
	it.Answered = true
	h := a.header
	if h == nil {
		h = make(http.Header)
	}
	h = canonical(h)
	if date := get(b.header, "Date"); date != "" && get(h, "Date") == "" {
		h["Date"] = []string{date}
	}
	r := Response{Status: a.status, Header: h, Now: b.r.Now}
	if a.status < 200 || a.status > 299 {
		r.Body = a.body
	}
	if b.sent != nil {
		r.Operation, r.Method = b.sent[at].Operation, b.sent[at].Method
	}
	HTTP(b.p, &r, &it.Event)
	return b.n < maxBatchItems
}
