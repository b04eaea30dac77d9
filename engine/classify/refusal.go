package classify

import (
	"encoding/json"
	"strconv"

	"github.com/recourse-go/recourse/policy"
	"github.com/tidwall/gjson"
)

// What a success carries is mostly what people have written: mails, events, files,
// the names of folders. None of it is the server's word, so nobody who can send a
// mail must be able to have it read as a refusal. Of a 2xx therefore nothing is
// read unless an `inspect` of the policy says that an error can hide in it, and
// then only what stands where the policy says: text patterns do not search it.
// Of the answers of a batch only those that are refusals are kept.

// covers reports whether the policy looks for errors in a success like this one.
// A response without a Content-Type could be any.
func covers(p *policy.Policy, r *Response, contentType string) bool {
	return p != nil && p.InspectFor(r.Status, r.Operation, contentType) != nil
}

// read takes in the body of a response, at most so many bytes of it.
func (f *finder) read(b []byte, h map[string][]string, most int) {
	if f.success {
		if boundary := boundaryOf(get(h, "Content-Type")); boundary != "" {
			b = b[:min(len(b), most)]
			f.readBatch(func(yield func(*batchAnswer) bool) error { return multipartAnswers(b, boundary, yield) })
			return
		}
	}
	var kind bodyKind
	f.body, kind = text(b, h, most)
	switch kind {
	case kindJSON:
		if f.json.read(f.body); f.json.isBatch() {
			whole := f.json
			f.readBatch(whole.answers)
		}
	case kindXML:
		f.xml = f.body
	}
}

// readBatch takes in the refusals of a batch.
func (f *finder) readBatch(answers func(yield func(*batchAnswer) bool) error) {
	f.success, f.batch = true, true // as a whole, whatever its status
	f.body = refusals(answers)
	f.json = jsonDoc{}
	f.json.read(f.body)
}

// isBatch reports whether d is the answer to a batch in JSON.
func (d *jsonDoc) isBatch() bool {
	if d.text == "" || d.text[0] != '{' || d.noted && d.find(-1, "responses") < 0 {
		return false
	}
	first := gjson.Get(d.text, "responses.0")
	status := first.Get("status")
	return first.Get("id").Exists() && status.Type == gjson.Number && 100 <= status.Num && status.Num <= 599
}

// refusals is what may be read of the answers of a batch, in one form for all
// kinds of batches: the JSON of Microsoft Graph,
//
//	{"responses":[{"id":"1","status":200},{"id":"2","status":429,"headers":{"Retry-After":["7"]},"body":{…}}],"incomplete":true}
//
// with headers under canonical names and bodies of refusals (4xx and 5xx) only.
// incomplete is there where some answer is missing or cannot be read. It is ""
// where there are no answers.
func refusals(read func(yield func(*batchAnswer) bool) error) string {
	out := []byte(`{"responses":[`)
	n, kept, incomplete := 0, 0, false
	err := read(func(a *batchAnswer) bool {
		n++
		if a.status == 0 {
			incomplete = true
			return n < maxBatchItems
		}
		if kept++; kept > 1 {
			out = append(out, ',')
		}
		out = append(out, `{"id":`...)
		out = appendJSON(out, a.id)
		out = append(out, `,"status":`...)
		out = strconv.AppendInt(out, int64(a.status), 10)
		if a.status >= 400 {
			h := canonical(a.header)
			out = append(out, `,"headers":`...)
			out = appendJSON(out, h)
			out = append(out, `,"body":`...)
			out = appendBody(out, a.body, h)
		}
		out = append(out, '}')
		return n < maxBatchItems
	})
	if kept == 0 {
		return ""
	}
	out = append(out, ']')
	if err != nil || incomplete || n >= maxBatchItems {
		out = append(out, `,"incomplete":true`...)
	}
	return string(append(out, '}'))
}

// appendBody appends an answer's body as JSON: what is none is a string.
func appendBody(out, body []byte, h map[string][]string) []byte {
	s, kind := text(body, h, MaxBody)
	if kind == kindJSON {
		var d jsonDoc
		if d.read(s); d.text != "" {
			return append(out, d.text...) // sound, and closed where it was cut short
		}
	}
	return appendJSON(out, s)
}

func appendJSON(out []byte, v any) []byte {
	b, _ := json.Marshal(v) // strings and lists of strings: it cannot fail
	return append(out, b...)
}
