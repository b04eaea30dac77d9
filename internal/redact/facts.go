package redact

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/recourse-go/recourse/rules"
)

// maxCodes is how many of an answer's codes are shown.
const maxCodes = 3

// Facts is what may be shown of the answer that an event is about: its status, its
// codes and its message; "" where there was none. e may be nil.
func Facts(e *rules.Event) string {
	if e == nil {
		return ""
	}
	text := ""
	switch {
	case e.IMAPStatus != "":
		text = "IMAP " + Code(e.IMAPStatus)
	case e.Status == 0:
		return ""
	case e.Protocol == "http" || e.Protocol == "":
		text = Status(e.Status)
	default:
		text = strings.ToUpper(Code(e.Protocol)) + " " + strconv.Itoa(e.Status)
	}
	var codes []string
	for _, code := range e.Codes[:min(len(e.Codes), maxCodes)] {
		codes = append(codes, Code(code))
	}
	if len(codes) > 0 {
		text += " (" + strings.Join(codes, ", ") + ")"
	}
	return join(text, strings.TrimRight(Message(e.Message), ".:"))
}

// Status is an HTTP status with the name that RFC 9110 gives it.
func Status(status int) string {
	return strings.TrimSuffix(fmt.Sprintf("HTTP %d %s", status, http.StatusText(status)), " ")
}

const (
	maxCode = 64 // bytes of a code
	maxRun  = 32 // letters or digits in a row
)

// Code is a name as providers, protocols and URLs use them, as it is:
// rateLimitExceeded, AADSTS50196, 5.7.139, invalid_grant, urn:ietf:params:jmap.
// Whatever does not look like one may be a secret, as where a server puts the
// token that it was sent in the place of a code; it is hidden. A name has letters
// and digits in groups, where a token has them mixed.
func Code(s string) string {
	if s == "" || len(s) > maxCode {
		return short(s)
	}
	for run := range strings.FieldsFuncSeq(s, isSeparator) {
		if !name(run) {
			return hidden
		}
	}
	return s
}

// short is hidden for any text but the empty one.
func short(s string) string {
	if s == "" {
		return ""
	}
	return hidden
}

func isSeparator(r rune) bool { return strings.ContainsRune("_.:/-#$*{}[]()+,", r) }

// name reports whether a run of letters and digits looks like one of a name.
func name(run string) bool {
	if hex, ok := strings.CutPrefix(run, "0x"); ok {
		_, err := strconv.ParseUint(hex, 16, 32)
		return err == nil
	}
	if len(run) > maxRun {
		return false
	}
	changes, digits := 0, 0
	for i := range len(run) {
		c := run[i]
		if !isLetter(c) && !isDigit(c) {
			return false
		}
		if isDigit(c) {
			digits++
		}
		if i > 0 && isDigit(c) != isDigit(run[i-1]) {
			changes++
		}
	}
	return changes <= 2 && digits <= 10
}

const (
	maxMessage = 160 // bytes of a message
	maxWord    = 15  // letters of a word: Google's app passwords have 16
)

// Message is what may be shown of a text that a server wrote for people. Such a
// text may quote what the server was sent, a subject or a token: "Invalid token:
// ya29…". So only its plain words, small numbers and times are shown. What stands
// in quotes or brackets is hidden, and so are the word behind a colon and all that
// is not a word, as mixed letters and digits, addresses and URLs. What remains is
// that a server quotes plain words in the middle of a sentence.
func Message(s string) string {
	var b strings.Builder
	cut := len(s) > 4*maxMessage
	if cut {
		s = s[:4*maxMessage]
		s = s[:strings.LastIndexByte(s, ' ')+1]
	}
	skipped := false // the last thing written is hidden
	value := false   // a colon came before
	var quoted quotation
	for word := range strings.FieldsSeq(s) {
		plain := !quoted.read(word) && !value && plainWord(word)
		value = strings.HasSuffix(word, ":") || strings.HasSuffix(word, "=")
		if b.Len()+len(word) >= maxMessage {
			cut = true
			break
		}
		if !plain && skipped {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if skipped = !plain; plain {
			b.WriteString(word)
		} else {
			b.WriteString(hidden)
		}
	}
	if cut && !skipped {
		b.WriteString(" " + hidden)
	}
	return b.String()
}

// quotes are pairs of what opens and what closes a quotation.
var quotes = map[rune]rune{
	'"': '"', '\'': '\'', '`': '`', '<': '>', '[': ']', '{': '}', '(': ')', '“': '”', '„': '“', '‘': '’', '«': '»', '‹': '›', '「': '」',
}

// quotation is the quotation that is open: what closes it, or 0.
type quotation rune

// read reads a word, and reports whether any of it stands in quotes. An apostrophe
// is a quote only where no letter stands before it.
func (q *quotation) read(word string) bool {
	inside := *q != 0
	before := ' '
	for i, r := range word {
		closing, opens := quotes[r]
		switch {
		case rune(*q) == r && (r != '\'' || !startsWithLetter(word[i+1:])):
			*q = 0
		case *q == 0 && opens && (r != '\'' || !unicode.IsLetter(before)):
			*q, inside = quotation(closing), true
		}
		before = r
	}
	return inside
}

func startsWithLetter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r)
}

// plainWord reports whether a word of a message is one of a language, a small
// number or a time.
func plainWord(word string) bool {
	if len(word) >= len("2006-01-02T15:04:05Z") && isDigit(word[0]) {
		if _, err := time.Parse(time.RFC3339, strings.TrimRight(word, ".,;)")); err == nil {
			return true
		}
	}
	word = strings.TrimRight(word, ".,:;!?")
	if number := strings.Trim(word, "0123456789.-/%"); number == "" {
		return len(word) > 0 && len(word) <= 8
	}
	for part := range strings.SplitSeq(word, "-") {
		if !prose(part) {
			return false
		}
	}
	return word != ""
}

// prose reports whether s is a word: letters, of which only the first or all may
// be capitals, and an apostrophe.
func prose(s string) bool {
	upper, lower, n := 0, 0, 0
	for _, r := range s {
		n++
		switch {
		case r == '\'' || r == '’':
			if n == 1 {
				return false
			}
		case !unicode.IsLetter(r):
			return false
		case unicode.IsUpper(r):
			if lower > 0 {
				return false
			}
			upper++
		default:
			lower++
		}
	}
	return n > 0 && n <= maxWord && (upper <= 1 || lower == 0)
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
