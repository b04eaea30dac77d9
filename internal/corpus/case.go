package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidwall/gjson"
)

// Case is one recorded error. The zero value of a field means that the case
// does not say. Fields of the JSON that Case does not have are ignored.
type Case struct {
	// ID names the case in the answer: a string or a number, as JSON text.
	ID json.RawMessage

	Provider  string // the policy's name
	Protocol  string // of the answer; "" = the policy's
	Operation string // the policy's name of the request
	Method    string // HTTP method

	Status       int                 // HTTP status or SMTP reply code; 0 = none
	IMAPStatus   string              // OK, NO, BAD, BYE, PREAUTH; "" = as the body says
	Headers      map[string][]string // of the response, under canonical names
	Body         []byte              // from body_base64 when that is given, else body
	NetworkError string              // text of the error below the protocol

	Now            time.Time // when the answer came; zero = the Date header, else the present
	Attempt        int       // this attempt's number, from 1
	Elapsed        time.Duration
	Idempotent     *bool  // nil = by the method and the policy
	Sent           *bool  // nil = by the network error
	IdempotencyKey string // the request carried this key
	State          json.RawMessage

	base64 []byte // the decoded body_base64; parse moves it to Body once all fields are read

	URL   string // of the request: tells the provider and the operation where they are not given
	Facts Facts  // replace what the response yields; ParseCase reads them from "facts" and "extracted"

	path map[string]string // the facts that the path of URL holds
}

// ParseCase reads a case from one line of JSON. The error says which field is
// wrong and how.
func ParseCase(line []byte) (Case, error) { return parse(line, caseFields) }

// ParseEvent reads a case that may have more fields than one of a corpus: elapsed
// (a duration such as "1m30s"), and the facts type, code, codes, message, network
// and retry_after.
func ParseEvent(data []byte) (Case, error) { return parse(data, eventFields) }

// parse reads a case that may have these fields. Others are ignored.
func parse(line []byte, fields map[string]setField) (Case, error) {
	var c Case
	line = bytes.TrimSpace(line)
	if err := validate(line); err != nil {
		return c, err
	}
	object := gjson.ParseBytes(line)
	if !object.IsObject() {
		return c, fmt.Errorf("want a JSON object, got %s", kind(object))
	}
	err := c.setAll(object, fields)
	if c.base64 != nil {
		c.Body, c.base64 = c.base64, nil
	}
	return c, err
}

// salvageID returns the id in a line that could not be parsed, as JSON text, or nil
// if it finds none. The line may be cut short.
func salvageID(line []byte) json.RawMessage {
	const near = 64 << 10
	id := gjson.GetBytes(line[:min(len(line), near)], "id")
	var c Case
	if !id.Exists() || setID(&c, id) != nil || !json.Valid(c.ID) {
		return nil
	}
	return c.ID
}
