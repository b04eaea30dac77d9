package classify

import (
	"encoding/json"
	"strconv"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/tidwall/gjson"
)

// The body of a success holds mostly what people have written: mails, events, files, the
// names of folders. Nobody who can send a mail must be able to have it read as a refusal.
// So the body of a 2xx is not read unless an `inspect` of the policy says that it can
// hide an error, and then only at the places that the policy names: text patterns do not
// search it. Of the answers of a batch only the refusals are kept.

// covers reports whether an `inspect` of the policy covers the response. A response
// without a Content-Type is covered by those for any content type.
func covers(p *policy.Policy, r *Response, contentType string) bool {
	return p != nil && p.InspectFor(r.Status, r.Operation, contentType) != nil
}

// read reads the body of a response, at most `most` bytes of it.
func (f *finder) read(b []byte, h map[string][]string, most int) {
	if f.success {
		if boundary := boundaryOf(get(h, "Content-Type")); boundary != "" {
			b = b[:min(len(b), most)]
			f.readBatch(func(yield func(*batchAnswer) bool) error { return multipartAnswers(b, boundary, yield) })
			return
		}
	}
	var kind extract.BodyKind
	f.body, kind = text(b, h, most)
	switch doc := &f.reply.JSON; kind {
	case extract.BodyJSON:
		if doc.Read(f.body); isBatch(doc) {
			whole := *doc
			f.readBatch(func(yield func(*batchAnswer) bool) error { return jsonAnswers(&whole, yield) })
		}
	case extract.BodyXML:
		f.reply.XML = f.body
	}
}

// readBatch makes the refusals of a batch the body in which facts are looked for.
func (f *finder) readBatch(answers func(yield func(*batchAnswer) bool) error) {
	f.success, f.batch = true, true // text patterns must not search it, whatever the status of the whole
	f.body = refusals(answers)
	f.reply.JSON = extract.JSON{}
	f.reply.JSON.Read(f.body)
}

// isBatch reports whether doc is the answer to a batch in JSON.
func isBatch(doc *extract.JSON) bool {
	if doc.Lacks("responses") {
		return false
	}
	first := gjson.Get(doc.Text(), "responses.0")
	status := first.Get("status")
	return first.Get("id").Exists() && status.Type == gjson.Number && 100 <= status.Num && status.Num <= 599
}

// refusals returns the parts of a batch's answers in which facts may be looked for. The
// form is the same for all kinds of batches, the JSON of Microsoft Graph:
//
//	{"responses":[{"id":"1","status":200},{"id":"2","status":429,"headers":{"Retry-After":["7"]},"body":{…}}],"incomplete":true}
//
// Header names are canonical. Only refusals (4xx and 5xx) have headers and a body.
// "incomplete" is there if an answer is missing or cannot be read. The result is "" if
// there are no answers.
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

// appendBody appends an answer's body as JSON; a body that is not JSON becomes a string.
func appendBody(out, body []byte, h map[string][]string) []byte {
	s, kind := text(body, h, MaxBody)
	if kind == extract.BodyJSON {
		var doc extract.JSON
		if doc.Read(s); doc.Text() != "" {
			return append(out, doc.Text()...) // Read has closed what was cut short
		}
	}
	return appendJSON(out, s)
}

func appendJSON(out []byte, v any) []byte {
	b, _ := json.Marshal(v) // v holds only strings and lists of strings, so this cannot fail
	return append(out, b...)
}
