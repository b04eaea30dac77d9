package corpus

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// This file reads values of JSON. Each error says what is wanted, and what was found.

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

func upper(v gjson.Result) (string, error) {
	s, err := text(v)
	return strings.ToUpper(s), err
}

func boolean(v gjson.Result) (bool, error) {
	if !v.IsBool() {
		return false, fmt.Errorf("want true or false, got %s", kind(v))
	}
	return v.Bool(), nil
}

// pointer returns a reader of values that may be missing.
func pointer[T any](read func(gjson.Result) (T, error)) func(gjson.Result) (*T, error) {
	return func(v gjson.Result) (*T, error) {
		x, err := read(v)
		return &x, err
	}
}

// upTo returns a reader of whole numbers from 0 to most.
func upTo(most int) func(gjson.Result) (int, error) {
	return func(v gjson.Result) (int, error) {
		if v.Type != gjson.Number {
			return 0, fmt.Errorf("want a number, got %s", kind(v))
		}
		if f := v.Num; f != math.Trunc(f) || f < 0 || f > float64(most) {
			return 0, fmt.Errorf("want a whole number from 0 to %d, got %s", most, clip(v.Raw))
		}
		return int(v.Num), nil
	}
}

// instant reads a time; "" = none.
func instant(v gjson.Result) (time.Time, error) {
	s, err := text(v)
	if err != nil || s == "" {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		err = fmt.Errorf("want a time like 2006-01-02T15:04:05Z, got %q", clip(s))
	}
	return t, err
}

func object(v gjson.Result) (json.RawMessage, error) {
	if !v.IsObject() {
		return nil, fmt.Errorf("want an object, got %s", kind(v))
	}
	return json.RawMessage(v.Raw), nil
}

// texts reads an object whose values are strings.
func texts(v gjson.Result) (map[string]string, error) {
	if !v.IsObject() {
		return nil, fmt.Errorf("want an object, got %s", kind(v))
	}
	all := map[string]string{}
	var err error
	v.ForEach(func(key, v gjson.Result) bool {
		all[key.String()], err = text(v)
		return err == nil
	})
	return all, err
}

// body reads a body: text, or JSON that is written as such rather than as text that holds it.
func body(v gjson.Result) ([]byte, error) {
	if v.IsObject() || v.IsArray() {
		return []byte(v.Raw), nil
	}
	s, err := text(v)
	return []byte(s), err
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

// base64Text reads base64 of the standard or the URL alphabet, padded or not; "" = none.
func base64Text(v gjson.Result) ([]byte, error) {
	s, err := text(v)
	if err != nil || s == "" {
		return nil, err
	}
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
