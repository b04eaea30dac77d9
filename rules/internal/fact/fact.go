// Package fact is what a rule can read of an event: one table of facts, and how
// each is read.
package fact

import (
	"maps"
	"math"
	"slices"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Event is a rules.Event with the names that its fields have in the language.
// The two have the same fields, so one converts to the other without a copy; the
// conversion does not compile where they differ. See rules.Event for what each is.
type Event struct {
	Provider   string              `expr:"provider"`
	Operation  string              `expr:"operation"`
	Method     string              `expr:"method"`
	Protocol   string              `expr:"protocol"`
	Status     int                 `expr:"status"`
	IMAPStatus string              `expr:"imap_status"`
	Type       string              `expr:"type"`
	Codes      []string            `expr:"codes"`
	Message    string              `expr:"message"`
	Facts      map[string]string   `expr:"facts"`
	Network    string              `expr:"network"`
	RetryAfter time.Duration       `expr:"retry_after"`
	Attempt    int                 `expr:"attempt"`
	Elapsed    time.Duration       `expr:"elapsed"`
	Now        time.Time           `expr:"-"`
	Idempotent bool                `expr:"idempotent"`
	Sent       bool                `expr:"sent"`
	Header     map[string][]string `expr:"-"` // read by the function header("NAME")
	Body       string              `expr:"body"`
}

// ID is one of an event's facts.
type ID uint8

const (
	None ID = iota

	// Texts.
	Provider
	Operation
	Method
	Protocol
	IMAPStatus
	Type
	Network
	Message
	Body
	Code   // the first of the codes
	Custom // facts.NAME
	Header // header("NAME")

	// Numbers; a duration counts nanoseconds, false is 0 and true 1.
	Status
	Attempt
	CodeCount // len(codes)
	RetryAfter
	Elapsed
	Idempotent
	Sent

	Codes
)

// What a rule sees of an event is bounded, so that what it costs is: a text ends
// after so many bytes, and there are no codes beyond so many.
const (
	MaxBody  = 64 << 10 // the body
	MaxText  = 16 << 10 // the message, a fact of the policy's own, a header
	MaxWord  = 512      // any other text, and each code
	MaxCodes = 64
)

// Info is what the language knows of a fact.
type Info struct {
	Name  string   // in the language; "" where the fact is written otherwise
	kind  Kind     // what it yields
	Most  int      // of a text, the most bytes that a rule sees
	Texts []string // of a text that has few values, all of them
	Upper bool     // of a text, it is always in upper case
	Least int64    // of a number
	Last  int64    // of a number, the largest
}

// Kind is the type of what a fact yields.
type Kind uint8

const (
	Text Kind = iota + 1
	Int
	Duration
	Bool
	List
)

// Table holds every fact. A new one is an entry here, a field of the event, and a case of
// Event.text or NumOf.
var Table = [...]Info{
	Provider:   {Name: "provider", kind: Text, Most: MaxWord},
	Operation:  {Name: "operation", kind: Text, Most: MaxWord},
	Method:     {Name: "method", kind: Text, Most: MaxWord, Upper: true},
	Protocol:   {Name: "protocol", kind: Text, Most: MaxWord, Texts: []string{"", "http", "smtp", "imap"}},
	Status:     {Name: "status", kind: Int, Last: 999},
	IMAPStatus: {Name: "imap_status", kind: Text, Most: MaxWord, Texts: []string{"", "OK", "NO", "BAD", "BYE", "PREAUTH"}},
	Type:       {Name: "type", kind: Text, Most: MaxWord},
	Code:       {Name: "code", kind: Text, Most: MaxWord},
	Codes:      {Name: "codes", kind: List, Most: MaxWord},
	CodeCount:  {kind: Int, Last: math.MaxInt64},
	Message:    {Name: "message", kind: Text, Most: MaxText},
	Custom:     {kind: Text, Most: MaxText},
	Network: {Name: "network", kind: Text, Most: MaxWord,
		Texts: []string{"", "timeout", "dns", "connect", "reset", "eof", "tls", "canceled", "other"}},
	RetryAfter: {Name: "retry_after", kind: Duration, Last: math.MaxInt64},
	Attempt:    {Name: "attempt", kind: Int, Least: 1, Last: math.MaxInt64},
	Elapsed:    {Name: "elapsed", kind: Duration, Last: math.MaxInt64},
	Idempotent: {Name: "idempotent", kind: Bool, Last: 1},
	Sent:       {Name: "sent", kind: Bool, Last: 1},
	Header:     {kind: Text, Most: MaxText},
	Body:       {Name: "body", kind: Text, Most: MaxBody},
}

// ByName has the facts by their names in the language.
var ByName = func() map[string]ID {
	byName := map[string]ID{}
	for f, info := range Table {
		if info.Name != "" {
			byName[info.Name] = ID(f)
		}
	}
	return byName
}()

// Info is f's entry in the table.
func (f ID) Info() *Info { return &Table[f] }

// IsText reports whether f yields a text.
func (f ID) IsText() bool { return f.Info().kind == Text }

// IsDuration tells durations from plain numbers.
func (f ID) IsDuration() bool { return f.Info().kind == Duration }

// IsBool reports whether f is true or false.
func (f ID) IsBool() bool { return f.Info().kind == Bool }

// IsNum tells numbers and durations.
func (f ID) IsNum() bool { return f.Info().kind == Int || f.IsDuration() }

// Cut is the start of s, at most so many bytes, without a character that is cut
// in two.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := most; i > most-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:most]
}

// CodesOf returns the codes that a rule sees. The caller must cut each of them to MaxWord.
func CodesOf(e *Event) []string {
	if len(e.Codes) > MaxCodes {
		return e.Codes[:MaxCodes]
	}
	return e.Codes
}

// text is the field that holds a text, or nil where the fact is no field.
func (e *Event) text(f ID) *string {
	switch f {
	case Provider:
		return &e.Provider
	case Operation:
		return &e.Operation
	case Method:
		return &e.Method
	case Protocol:
		return &e.Protocol
	case IMAPStatus:
		return &e.IMAPStatus
	case Type:
		return &e.Type
	case Network:
		return &e.Network
	case Message:
		return &e.Message
	case Body:
		return &e.Body
	}
	return nil
}

// textAt is where in an event each field that holds a text is.
var textAt = func() (at [Body + 1]uintptr) {
	var e Event
	for f := range at {
		if p := e.text(ID(f)); p != nil {
			at[f] = uintptr(unsafe.Pointer(p)) - uintptr(unsafe.Pointer(&e))
		}
	}
	return at
}()

// TextOf reads a text; name is that of a Custom, or the canonical one of a
// Header.
func TextOf(e *Event, f ID, name string) string {
	if f <= Body {
		// A field is read by its place in memory: processors predict a switch over the facts
		// of an event badly.
		return Cut(*(*string)(unsafe.Add(unsafe.Pointer(e), textAt[f])), Table[f].Most)
	}
	switch f {
	case Code:
		if len(e.Codes) > 0 {
			return Cut(e.Codes[0], MaxWord)
		}
	case Custom:
		return Cut(e.Facts[name], MaxText)
	case Header:
		return FirstHeader(e.Header, name)
	}
	return ""
}

// WithText is an event that has nothing but a text, which TextOf reads by f and name.
func WithText(f ID, name, text string) *Event {
	e := new(Event)
	switch p := e.text(f); {
	case p != nil:
		*p = text
	case f == Code:
		e.Codes = []string{text}
	case f == Custom:
		e.Facts = map[string]string{name: text}
	case f == Header:
		e.Header = map[string][]string{name: {text}}
	}
	return e
}

// NumOf reads a number, a duration or a boolean.
func NumOf(e *Event, f ID) int64 {
	switch f {
	case Status:
		return int64(e.Status)
	case Attempt:
		return int64(e.Attempt)
	case CodeCount:
		return int64(len(CodesOf(e)))
	case RetryAfter:
		return int64(e.RetryAfter)
	case Elapsed:
		return int64(e.Elapsed)
	case Idempotent:
		if e.Idempotent {
			return 1
		}
	case Sent:
		if e.Sent {
			return 1
		}
	}
	return 0
}

// Bound cuts e down to what a rule sees of it.
func (e *Event) Bound() {
	for f := range Table {
		if p := e.text(ID(f)); p != nil {
			*p = Cut(*p, Table[f].Most)
		}
	}
	e.Codes = CodesOf(e)
	if slices.ContainsFunc(e.Codes, func(s string) bool { return len(s) > MaxWord }) {
		e.Codes = slices.Clone(e.Codes)
		for i, s := range e.Codes {
			e.Codes[i] = Cut(s, MaxWord)
		}
	}
	for _, s := range e.Facts {
		if len(s) > MaxText {
			e.Facts = maps.Clone(e.Facts)
			for name, s := range e.Facts {
				e.Facts[name] = Cut(s, MaxText)
			}
			break
		}
	}
}

// Names are the names that a rule may use for facts.
var Names = func() []string {
	names := []string{"facts"}
	for _, info := range Table {
		if info.Name != "" {
			names = append(names, info.Name)
		}
	}
	return names
}()
