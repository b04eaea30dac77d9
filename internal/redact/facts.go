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

// maxCodes is the most codes of an answer that are shown.
const maxCodes = 3

// Facts returns what may be shown of the answer of an event: its status, its codes and
// its message. It returns "" if there was no answer, or e is nil.
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

// Status returns an HTTP status with its name, such as "HTTP 404 Not Found".
func Status(status int) string {
	return strings.TrimSuffix(fmt.Sprintf("HTTP %d %s", status, http.StatusText(status)), " ")
}

const (
	maxCode = 64 // bytes of a code
	maxRun  = 32 // letters or digits in a row
)

// Code returns s if it looks like a code or a name as providers, protocols and URLs
// use them: rateLimitExceeded, AADSTS50196, 5.7.139, invalid_grant,
// urn:ietf:params:jmap. Anything else is hidden, since it may be a secret: some
// servers put the token that they were sent in the place of a code. A name has its
// letters and digits in groups, while a token has them mixed.
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

// short returns "" for an empty text, and hidden for any other.
func short(s string) string {
	if s == "" {
		return ""
	}
	return hidden
}

func isSeparator(r rune) bool { return strings.ContainsRune("_.:/-#$*{}[]()+,", r) }

// name reports whether a run of letters and digits looks like a part of a name.
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

// Message returns what may be shown of a text that a server wrote for people. Such a
// text may quote what the server was sent, such as a subject or a token: "Invalid
// token: ya29…". So only plain words, small numbers and times are shown. Hidden are
// whatever stands in quotes or brackets, the word behind a colon, and all that is not
// a plain word, such as mixed letters and digits, addresses and URLs. One risk
// remains: a server may quote plain words in the middle of a sentence.
func Message(s string) string {
	var b strings.Builder
	cut := len(s) > 4*maxMessage
	if cut {
		s = s[:4*maxMessage]
		s = s[:strings.LastIndexByte(s, ' ')+1]
	}
	skipped := false // the last text written was hidden
	value := false   // the word before ended with a colon or an equals sign
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

// quotes are the runes that open a quotation, with the rune that closes it.
var quotes = map[rune]rune{
	'"': '"', '\'': '\'', '`': '`', '<': '>', '[': ']', '{': '}', '(': ')', '“': '”', '„': '“', '‘': '’', '«': '»', '‹': '›', '「': '」',
}

// quotation is the state of a reader of words: the rune that closes the open
// quotation, or 0 if none is open.
type quotation rune

// read reads the next word, and reports whether any of it stands in quotes. An
// apostrophe opens a quotation only if there is no letter before it, and closes one
// only if there is no letter behind it.
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

// plainWord reports whether a word of a message is a word of a language, a small
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

// prose reports whether s looks like a word of a language: it has letters and
// apostrophes only, at most maxWord of them, and either the first letter, all or none
// are capitals.
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
