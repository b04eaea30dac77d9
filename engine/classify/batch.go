package classify

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
	"github.com/tidwall/gjson"
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
	mediaType, params, _ := mime.ParseMediaType(get(b.header, "Content-Type"))
	var err error
	if strings.HasPrefix(mediaType, "multipart/") && params["boundary"] != "" {
		err = b.multipart(body, params["boundary"])
	} else {
		err = b.json(body)
	}
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

// answer takes in one answer.
func (b *batch) answer(id string, status int, h http.Header, body []byte) {
	at := b.n
	b.n++
	if b.sent != nil {
		i, known := b.index[id]
		switch {
		case known:
			at = i
		case id != "" || at >= len(b.sent):
			return // an answer that nobody asked for
		}
		if b.items[at].Answered {
			return
		}
	} else {
		b.items = append(b.items, BatchItem{ID: id, Index: at})
	}
	it := &b.items[at]
	it.Answered = true
	if 200 <= status && status <= 299 {
		body = nil
	}
	if h == nil {
		h = make(http.Header)
	}
	h = canonical(h)
	if date := get(b.header, "Date"); date != "" && get(h, "Date") == "" {
		h["Date"] = []string{date}
	}
	r := Response{Status: status, Header: h, Body: body, Now: b.r.Now}
	if b.sent != nil {
		r.Operation, r.Method = b.sent[at].Operation, b.sent[at].Method
	}
	HTTP(b.p, &r, &it.Event)
}

// json reads {"responses":[{"id":"1","status":429,"headers":{…},"body":{…}}]}.
// https://learn.microsoft.com/graph/json-batching, checked 2026-11.
func (b *batch) json(body []byte) (err error) {
	defer func() {
		if recover() != nil { // see jsonDoc.values
			err = fmt.Errorf("%w: not readable as JSON", ErrBatch)
		}
	}()
	if len(body) == 0 {
		return fmt.Errorf("%w: empty body", ErrBatch)
	}
	s := strings.TrimPrefix(unsafe.String(&body[0], len(body)), "\xef\xbb\xbf")
	var doc jsonDoc
	if kindOf(s) == kindJSON {
		doc.read(s)
	}
	list := gjson.Get(doc.text, "responses")
	if !list.IsArray() {
		return fmt.Errorf("%w: no list of responses", ErrBatch)
	}
	var last gjson.Result // one behind, since the last one of a document that is cut short may lack its hint
	list.ForEach(func(_, v gjson.Result) bool {
		b.jsonAnswer(last)
		last = v
		return b.n < maxBatchItems
	})
	if doc.cut {
		return fmt.Errorf("%w: cut short", ErrBatch)
	}
	b.jsonAnswer(last)
	return nil
}

func (b *batch) jsonAnswer(v gjson.Result) {
	if !v.IsObject() {
		return
	}
	h := make(http.Header)
	v.Get("headers").ForEach(func(k, v gjson.Result) bool {
		h[k.Str] = append(h[k.Str], scalars(nil, v, 8, 0)...)
		return len(h) < 100
	})
	var body []byte
	switch content := v.Get("body"); content.Type {
	case gjson.JSON:
		body = []byte(content.Raw)
	case gjson.String:
		body = []byte(content.Str)
		if text, err := base64.StdEncoding.DecodeString(content.Str); err == nil && len(text) > 0 && utf8.Valid(text) {
			body = text // what is no JSON comes in Base64
		}
	}
	status := int(v.Get("status").Int())
	if status < 100 || status > 599 {
		b.n++
		return
	}
	b.answer(v.Get("id").String(), status, h, body)
}

// multipart reads parts of application/http, each an HTTP response, whose
// Content-ID is "<response-" and the id of the request.
// https://developers.google.com/workspace/gmail/api/guides/batch, checked 2026-11.
func (b *batch) multipart(body []byte, boundary string) error {
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for b.n < maxBatchItems {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			if b.n == 0 {
				return fmt.Errorf("%w: no parts", ErrBatch)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: cut short", ErrBatch)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return fmt.Errorf("%w: cut short", ErrBatch)
		}
		id := strings.TrimPrefix(strings.Trim(strings.TrimSpace(part.Header.Get("Content-ID")), "<>"), "response-")
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(content)), nil)
		if err != nil {
			b.n++
			continue // no answer in this part
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, MaxBody))
		resp.Body.Close()
		b.answer(id, resp.StatusCode, resp.Header, text)
	}
	return nil
}
