package corpus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/rules"
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

// maxNesting bounds how deep a case's JSON may nest. Deeper JSON is refused before
// a recursive reader sees it.
const maxNesting = 1000

// ParseCase reads a case from one line of JSON. The error says which field is
// wrong and how.
func ParseCase(line []byte) (Case, error) { return parse(line, (*Case).set) }

// ParseEvent reads a case that may have more fields than one of a corpus: elapsed
// (a duration such as "1m30s"), and the facts type, code, codes, message, network
// and retry_after.
func ParseEvent(data []byte) (Case, error) { return parse(data, (*Case).setEvent) }

func parse(line []byte, set func(*Case, string, gjson.Result) error) (Case, error) {
	var c Case
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		if err := validate(line); err != nil {
			return c, err
		}
		return c, fmt.Errorf("want a JSON object, got %s", kind(gjson.ParseBytes(line)))
	}
	if err := validate(line); err != nil {
		return c, err
	}
	var err error
	gjson.ParseBytes(line).ForEach(func(key, v gjson.Result) bool {
		if v.Type == gjson.Null {
			return true
		}
		if err = set(&c, key.String(), v); err != nil {
			err = fmt.Errorf("%s: %w", key.String(), err)
		}
		return err == nil
	})
	if c.base64 != nil {
		c.Body, c.base64 = c.base64, nil
	}
	return c, err
}

// set sets the field of that name to v, which is not null.
func (c *Case) set(name string, v gjson.Result) (err error) {
	switch name {
	case "id":
		err = c.setID(v)
	case "provider":
		c.Provider, err = text(v)
	case "protocol":
		c.Protocol, err = text(v)
		c.Protocol = strings.ToLower(c.Protocol)
		if err == nil && c.Protocol != "" && !slices.Contains(protocol.Names(), c.Protocol) {
			err = fmt.Errorf("want one of %s, got %q", strings.Join(protocol.Names(), ", "), clip(c.Protocol))
		}
	case "operation":
		c.Operation, err = text(v)
	case "method":
		c.Method, err = text(v)
		c.Method = strings.ToUpper(c.Method)
	case "status":
		c.Status, err = integer(v, 0, 999)
	case "imap_status":
		c.IMAPStatus, err = text(v)
		c.IMAPStatus = strings.ToUpper(c.IMAPStatus)
	case "headers":
		c.Headers, err = headers(v)
	case "body":
		if v.IsObject() || v.IsArray() {
			// A body written as JSON rather than as text that holds JSON.
			c.Body = []byte(v.Raw)
			break
		}
		var s string
		s, err = text(v)
		c.Body = []byte(s)
	case "body_base64":
		var s string
		if s, err = text(v); err == nil && s != "" {
			c.base64, err = decodeBase64(s)
		}
	case "network_error":
		c.NetworkError, err = text(v)
	case "now":
		var s string
		if s, err = text(v); err == nil && s != "" {
			if c.Now, err = time.Parse(time.RFC3339, s); err != nil {
				err = fmt.Errorf("want a time like 2006-01-02T15:04:05Z, got %q", clip(s))
			}
		}
	case "attempt":
		c.Attempt, err = integer(v, 0, 1_000_000)
	case "elapsed_seconds":
		c.Elapsed, err = seconds(v)
	case "idempotent":
		c.Idempotent, err = boolean(v)
	case "sent":
		c.Sent, err = boolean(v)
	case "idempotency_key":
		c.IdempotencyKey, err = text(v)
	case "url":
		c.URL, err = text(v)
	case "facts":
		if !v.IsObject() {
			return fmt.Errorf("want an object, got %s", kind(v))
		}
		c.Facts.Named = map[string]string{}
		v.ForEach(func(key, v gjson.Result) bool {
			c.Facts.Named[key.String()], err = text(v)
			return err == nil
		})
	case "extracted":
		err = c.setExtracted(v)
	case "state":
		if v.IsObject() {
			c.State = json.RawMessage(v.Raw)
		} else {
			err = fmt.Errorf("want an object, got %s", kind(v))
		}
	}
	return err
}

// setExtracted reads facts that were extracted from a response which the case does not
// hold. A fact that is missing here was missing there, so it is set to its zero value.
func (c *Case) setExtracted(v gjson.Result) (err error) {
	if !v.IsObject() {
		return fmt.Errorf("want an object, got %s", kind(v))
	}
	f := &c.Facts
	f.Type, f.Message, f.Network, f.Codes, f.RetryAfter = new(string), new(string), new(string), []string{}, new(time.Duration)
	v.ForEach(func(key, v gjson.Result) bool {
		switch name := key.String(); {
		case v.Type == gjson.Null:
		case slices.Contains(extractedFacts, name):
			if err = c.setEvent(name, v); err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
		}
		return err == nil
	})
	return err
}

// extractedFacts are the facts that setExtracted reads.
var extractedFacts = []string{"type", "codes", "message", "network", "retry_after"}

// setEvent sets one field, including those that only ParseEvent reads.
func (c *Case) setEvent(name string, v gjson.Result) (err error) {
	fact := func() *string {
		var s string
		s, err = text(v)
		return &s
	}
	switch name {
	case "elapsed":
		c.Elapsed, err = duration(v)
	case "type":
		c.Facts.Type = fact()
	case "message":
		c.Facts.Message = fact()
	case "network":
		c.Facts.Network = fact()
		if err == nil && *c.Facts.Network != "" && !slices.Contains(Networks, *c.Facts.Network) {
			err = fmt.Errorf("want one of %s, got %q", strings.Join(Networks, ", "), clip(*c.Facts.Network))
		}
	case "retry_after":
		var d time.Duration
		d, err = duration(v)
		c.Facts.RetryAfter = &d
	case "code":
		c.Facts.Codes = append(c.Facts.Codes, *fact())
	case "codes":
		if !v.IsArray() {
			c.Facts.Codes = append(c.Facts.Codes, *fact())
			break
		}
		for _, one := range v.Array() {
			var s string
			if s, err = text(one); err != nil {
				break
			}
			c.Facts.Codes = append(c.Facts.Codes, s)
		}
	default:
		return c.set(name, v)
	}
	return err
}

// Networks are the values of the fact network.
var Networks = []string{
	rules.NetworkTimeout, rules.NetworkDNS, rules.NetworkConnect, rules.NetworkReset,
	rules.NetworkEOF, rules.NetworkTLS, rules.NetworkCanceled, rules.NetworkOther,
}

// duration reads "1m30s", or a number of seconds.
func duration(v gjson.Result) (time.Duration, error) {
	if v.Type == gjson.Number {
		return seconds(v)
	}
	s, err := text(v)
	if err != nil {
		return 0, err
	}
	d, err := units.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("want a duration such as 30s, got %q", clip(s))
	}
	return d, nil
}

// salvageID returns the id in a line that could not be parsed, as JSON text, or nil
// if it finds none. The line may be cut short.
func salvageID(line []byte) json.RawMessage {
	const near = 64 << 10
	id := gjson.GetBytes(line[:min(len(line), near)], "id")
	var c Case
	if !id.Exists() || c.setID(id) != nil || !json.Valid(c.ID) {
		return nil
	}
	return c.ID
}

func (c *Case) setID(v gjson.Result) error {
	if v.Type != gjson.String && v.Type != gjson.Number {
		return fmt.Errorf("want a string, got %s", kind(v))
	}
	c.ID = json.RawMessage(v.Raw)
	return nil
}

// validate returns an error that says why data is not valid JSON, or nil if it is.
func validate(data []byte) error {
	if len(data) == 0 {
		return fmt.Errorf("not JSON: nothing there")
	}
	if tooDeep(data) {
		return fmt.Errorf("not JSON to be read: nested deeper than %d", maxNesting)
	}
	if gjson.ValidBytes(data) {
		return nil
	}
	// encoding/json is slower, but says where the error is.
	var v struct{}
	err := json.Unmarshal(data, &v)
	var syntax *json.SyntaxError
	if s, ok := err.(*json.SyntaxError); ok {
		syntax = s
	}
	if syntax == nil {
		return fmt.Errorf("not JSON")
	}
	if at := int(syntax.Offset); at >= 1 && at <= len(data) && !strings.HasPrefix(syntax.Error(), "unexpected end") {
		c, _ := utf8.DecodeRune(data[at-1:])
		return fmt.Errorf("not JSON: unexpected %q at byte %d", c, at)
	}
	return fmt.Errorf("not JSON: it ends in the middle of a value, at byte %d", syntax.Offset)
}

// tooDeep reports whether data nests deeper than maxNesting. Most data has so few
// brackets, those inside strings included, that counting them answers.
func tooDeep(data []byte) bool {
	if bytes.Count(data, []byte{'['})+bytes.Count(data, []byte{'{'}) <= maxNesting {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case inString:
			switch b {
			case '\\':
				i++
			case '"':
				inString = false
			}
		case b == '"':
			inString = true
		case b == '[' || b == '{':
			if depth++; depth > maxNesting {
				return true
			}
		case b == ']' || b == '}':
			depth--
		}
	}
	return false
}

func kind(v gjson.Result) string {
	switch {
	case v.IsObject():
		return "an object"
	case v.IsArray():
		return "an array"
	case v.IsBool():
		return "a boolean"
	case v.Type == gjson.String:
		return "a string"
	case v.Type == gjson.Number:
		return "a number"
	}
	return "null"
}

// clip shortens a value that an error message quotes.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

func text(v gjson.Result) (string, error) {
	if v.Type != gjson.String {
		return "", fmt.Errorf("want a string, got %s", kind(v))
	}
	return v.Str, nil
}

func boolean(v gjson.Result) (*bool, error) {
	if !v.IsBool() {
		return nil, fmt.Errorf("want true or false, got %s", kind(v))
	}
	b := v.Bool()
	return &b, nil
}

func integer(v gjson.Result, low, high int) (int, error) {
	if v.Type != gjson.Number {
		return 0, fmt.Errorf("want a number, got %s", kind(v))
	}
	if f := v.Num; f != math.Trunc(f) || f < float64(low) || f > float64(high) {
		return 0, fmt.Errorf("want a whole number from %d to %d, got %s", low, high, clip(v.Raw))
	}
	return int(v.Num), nil
}

func seconds(v gjson.Result) (time.Duration, error) {
	if v.Type != gjson.Number {
		return 0, fmt.Errorf("want a number of seconds, got %s", kind(v))
	}
	if v.Num < 0 || v.Num > math.MaxInt64/1e9 {
		return 0, fmt.Errorf("want seconds from 0 to 9e9, got %s", clip(v.Raw))
	}
	return time.Duration(v.Num * 1e9), nil
}

// headers reads {"Name": "value"} and {"Name": ["value", …]}. A value may also be a
// number, since people write Retry-After: 30 without quotes in YAML and JSON.
func headers(v gjson.Result) (map[string][]string, error) {
	if !v.IsObject() {
		return nil, fmt.Errorf("want an object, got %s", kind(v))
	}
	var h map[string][]string
	var err error
	add := func(name string, v gjson.Result) {
		switch v.Type {
		case gjson.String:
			h[name] = append(h[name], v.Str)
		case gjson.Number:
			h[name] = append(h[name], v.Raw)
		default:
			err = fmt.Errorf("%q: want a string or an array of strings, got %s", clip(name), kind(v))
		}
	}
	v.ForEach(func(key, v gjson.Result) bool {
		if h == nil {
			h = map[string][]string{}
		}
		name := textproto.CanonicalMIMEHeaderKey(key.String())
		if v.IsArray() {
			v.ForEach(func(_, v gjson.Result) bool {
				add(name, v)
				return err == nil
			})
		} else if v.Type != gjson.Null {
			add(name, v)
		}
		return err == nil
	})
	return h, err
}

// decodeBase64 decodes base64 of the standard or the URL alphabet, padded or not.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	e := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		e = base64.RawURLEncoding
	}
	b, err := e.DecodeString(s)
	if err != nil {
		if at, ok := err.(base64.CorruptInputError); ok {
			return nil, fmt.Errorf("not base64 at character %s", strconv.FormatInt(int64(at)+1, 10))
		}
		return nil, fmt.Errorf("not base64")
	}
	return b, nil
}
