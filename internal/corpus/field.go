package corpus

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/rules"
	"github.com/tidwall/gjson"
)

// The tables in this file say which fields a case has in JSON, and how each is read.

// setField sets one field of a case to a value, which is not null.
type setField func(c *Case, v gjson.Result) error

// into returns a setField that sets the field of returns to what read makes of the value.
func into[T any](read func(gjson.Result) (T, error), of func(*Case) *T) setField {
	return func(c *Case, v gjson.Result) (err error) {
		*of(c), err = read(v)
		return err
	}
}

// caseFields are the fields of a case of a corpus.
var caseFields = map[string]setField{
	"id":              setID,
	"provider":        into(text, func(c *Case) *string { return &c.Provider }),
	"protocol":        into(protocolName, func(c *Case) *string { return &c.Protocol }),
	"operation":       into(text, func(c *Case) *string { return &c.Operation }),
	"method":          into(upper, func(c *Case) *string { return &c.Method }),
	"url":             into(text, func(c *Case) *string { return &c.URL }),
	"idempotency_key": into(text, func(c *Case) *string { return &c.IdempotencyKey }),
	"status":          into(upTo(999), func(c *Case) *int { return &c.Status }),
	"imap_status":     into(upper, func(c *Case) *string { return &c.IMAPStatus }),
	"headers":         into(headers, func(c *Case) *map[string][]string { return &c.Headers }),
	"body":            into(body, func(c *Case) *[]byte { return &c.Body }),
	"body_base64":     into(base64Text, func(c *Case) *[]byte { return &c.base64 }),
	"network_error":   into(text, func(c *Case) *string { return &c.NetworkError }),
	"now":             into(instant, func(c *Case) *time.Time { return &c.Now }),
	"attempt":         into(upTo(1_000_000), func(c *Case) *int { return &c.Attempt }),
	"elapsed_seconds": into(seconds, func(c *Case) *time.Duration { return &c.Elapsed }),
	"idempotent":      into(pointer(boolean), func(c *Case) **bool { return &c.Idempotent }),
	"sent":            into(pointer(boolean), func(c *Case) **bool { return &c.Sent }),
	"state":           into(object, func(c *Case) *json.RawMessage { return &c.State }),
	"facts":           into(texts, func(c *Case) *map[string]string { return &c.Facts.Named }),
	"extracted":       setExtracted,
}

// extractedFields are the fields of "extracted". An event has them as fields of its own.
var extractedFields = map[string]setField{
	"type":        into(pointer(text), func(c *Case) **string { return &c.Facts.Type }),
	"codes":       addCodes,
	"message":     into(pointer(text), func(c *Case) **string { return &c.Facts.Message }),
	"network":     into(pointer(network), func(c *Case) **string { return &c.Facts.Network }),
	"retry_after": into(pointer(duration), func(c *Case) **time.Duration { return &c.Facts.RetryAfter }),
}

// eventFields are the fields that ParseEvent reads.
var eventFields = func() map[string]setField {
	all := maps.Clone(caseFields)
	maps.Copy(all, extractedFields)
	all["code"] = addCode
	all["elapsed"] = into(duration, func(c *Case) *time.Duration { return &c.Elapsed })
	return all
}()

// setAll sets the fields that a JSON object has. The error names the field.
func (c *Case) setAll(from gjson.Result, fields map[string]setField) (err error) {
	from.ForEach(func(key, v gjson.Result) bool {
		if set := fields[key.String()]; set != nil && v.Type != gjson.Null {
			if err = set(c, v); err != nil {
				err = fmt.Errorf("%s: %w", key.String(), err)
			}
		}
		return err == nil
	})
	return err
}

func setID(c *Case, v gjson.Result) error {
	if v.Type != gjson.String && v.Type != gjson.Number {
		return fmt.Errorf("want a string, got %s", kind(v))
	}
	c.ID = json.RawMessage(v.Raw)
	return nil
}

// setExtracted reads facts that were extracted from a response which the case does not
// hold. A fact that is missing here was missing there, so it is set to its zero value.
func setExtracted(c *Case, v gjson.Result) error {
	if !v.IsObject() {
		return fmt.Errorf("want an object, got %s", kind(v))
	}
	f := &c.Facts
	f.Type, f.Message, f.Network, f.Codes, f.RetryAfter = new(string), new(string), new(string), []string{}, new(time.Duration)
	return c.setAll(v, extractedFields)
}

func addCode(c *Case, v gjson.Result) error {
	code, err := text(v)
	c.Facts.Codes = append(c.Facts.Codes, code)
	return err
}

// addCodes adds a list of codes, or one.
func addCodes(c *Case, v gjson.Result) error {
	if !v.IsArray() {
		return addCode(c, v)
	}
	for _, one := range v.Array() {
		if err := addCode(c, one); err != nil {
			return err
		}
	}
	return nil
}

func protocolName(v gjson.Result) (string, error) {
	s, err := text(v)
	s = strings.ToLower(s)
	if err == nil && s != "" && !slices.Contains(protocol.Names(), s) {
		err = fmt.Errorf("want one of %s, got %q", strings.Join(protocol.Names(), ", "), clip(s))
	}
	return s, err
}

// Networks are the values of the fact network.
var Networks = []string{
	rules.NetworkTimeout, rules.NetworkDNS, rules.NetworkConnect, rules.NetworkReset,
	rules.NetworkEOF, rules.NetworkTLS, rules.NetworkCanceled, rules.NetworkOther,
}

func network(v gjson.Result) (string, error) {
	s, err := text(v)
	if err == nil && s != "" && !slices.Contains(Networks, s) {
		err = fmt.Errorf("want one of %s, got %q", strings.Join(Networks, ", "), clip(s))
	}
	return s, err
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
