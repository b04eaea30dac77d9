package classify

import (
	"errors"
	"net/http"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// MaxBatch is how many bytes of the response to a batch are read. The rest is ignored.
const MaxBatch = 8 << 20

// maxBatchItems bounds the answers of a batch that are read. Graph takes 20 requests in
// a batch, Gmail 100, Google Calendar 1000.
const maxBatchItems = 2000

// ErrBatch reports that a response holds no batch of answers, or only part of one. The
// errors that [Batch] returns wrap it.
var ErrBatch = errors.New("classify: no complete batch of answers")

// BatchRequest is one request of a batch, as it was sent.
type BatchRequest struct {
	ID        string // as in the batch: Microsoft Graph's `id`, or Google's Content-ID without its brackets
	Operation string // the policy's name of the request; "" = unnamed
	Method    string // the HTTP method
}

// BatchItem is what became of one request of a batch.
type BatchItem struct {
	ID    string
	Index int         // of the request among those that were sent, or, if sent is nil, of the answer
	Event rules.Event // the same as for the response to a single request
	// Answered is false if the response has no answer to the request. What became of
	// the request is then unknown: its Event has no status, and Network is
	// [rules.NetworkEOF].
	Answered bool
}

// Batch classifies each answer inside r, the response to a batch of requests:
// the JSON of Microsoft Graph's $batch, or the multipart/mixed of Google's
// APIs. Such a response is a success as a whole (200) although requests in it
// may have been refused, each with its own status, headers and body. Bodies of
// answers that succeeded are not read.
//
// Batch returns one item for each request in sent, in that order. If sent is nil, it
// returns one item for each answer, in the order of the answers, with neither operation
// nor method. If there are requests, Idempotent is set by the item's own method and
// operation. All other facts are those of [HTTP]. A point in time that a server asks to
// wait for is compared with the Date of the answer or, if it has none, with that of r.
//
// To send again what was refused, decide about each item's event as about a call of its
// own. Each item has its own wait, so before a batch of several of them wait for the
// longest. Graph answers 424 to a request whose dependency failed: send the two again
// together.
//
// The error is nil or wraps [ErrBatch]. In either case the items that could be read are
// returned.
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
	index  map[string]int // the index in sent of each ID
	items  []BatchItem
	n      int // answers so far
}

// take classifies one answer, and reports whether more answers are to be read.
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
