package classify

import (
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/fold"
)

// The message of a refusal may repeat text that other people chose: the subject of a
// mail, the name of a mailbox or a calendar, an address. Anyone who can send a mail to
// the account, or share a folder with it, could so make a refusal say what he likes.
// The functions of this file remove such text before rules read the message.

// unquoted returns s without what stands between quotes. Everything from the first
// quote of a kind to the last one goes, since a quoted name may itself hold quotes.
func unquoted(s string) string {
	if strings.ContainsAny(s, "\"'`") || !fold.IsASCII(s) && strings.ContainsAny(s, "“”‘’„«»") {
		s = betweenQuotes(s, `"`, `"`)
		s = betweenQuotes(s, "“„", "”“")
		s = betweenQuotes(s, "«", "»")
		s = betweenQuotes(s, "'`‘", "'`’")
	}
	return s
}

// betweenQuotes drops what stands between the first opening quote and the last
// closing one. An opening quote stands before a word and a closing one after a word, so
// an apostrophe within a word counts as neither.
func betweenQuotes(s, opening, closing string) string {
	from, end := -1, -1
	before := ' '
	for i, c := range s {
		size := len(string(c))
		opens := from < 0 && strings.ContainsRune(opening, c) && !isWord(before)
		if !opens && from >= 0 && strings.ContainsRune(closing, c) && (i+size == len(s) || !isWord(rune(s[i+size]))) {
			end = i
		}
		if opens {
			from = i + size
		}
		before = c
	}
	if from < 0 {
		return s
	}
	if end < from {
		return s[:from] // the quote does not close, so the text was cut short
	}
	return s[:from] + s[end:]
}

func isWord(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

var (
	echoedAddress = regexp.MustCompile(`<[^<>]*>|[^\s<>()\[\],;:"']+@[^\s<>()\[\],;"']+`)
	echoedSubject = regexp.MustCompile(`(?i)\b(?:subject(?: line| was| is)?|(?:file|attachment)[ _-]?names?|attachments?|banned|header from)\s*[:=].*`)

	// What an IMAP server writes before, and after, the name of a mailbox.
	beforeMailbox = regexp.MustCompile(`(?i)` + strings.Join([]string{
		`(?:unknown|invalid|bad|illegal|no such|non-?existent|duplicate|missing|(?:could ?n.?t|could not|can ?not|unable to) find(?: the)?) (?:mailbox|folder|mbox|namespace)(?: name)?\b`,
		`\b(?:mailbox|folder)(?: name)? ?(?:does ?n.?t exist|does not exist|(?:is |was )?not found|(?:already )?exists|has children|(?:is ?n.?t|is not) (?:selectable|allowed))[^:]*:`,
		`\bnot allowed in (?:mailbox|folder) names?:`,
		`\b(?:permission|access) denied(?::| (?:to|for) (?:mailbox|folder)\b)`,
	}, "|"))
	behindMailbox = regexp.MustCompile(`(?i)(?:does ?n.?t exist|does not exist|(?:is |was |could not be |cannot be )?not found|(?:could not|cannot) be found|(?:already )?exists|no such (?:mailbox|folder))[.!]?(?:\s*\([^()]*\))?\s*$`)
)

// withoutEcho returns a line of a server's reply without the text that it may repeat
// from the request or from stored mail: quotes, addresses, a subject, the name of a file.
func withoutEcho(line string) string {
	if strings.ContainsAny(line, "<@") {
		line = echoedAddress.ReplaceAllString(line, "<>")
	}
	line = unquoted(line)
	if strings.ContainsAny(line, ":=") {
		line = echoedSubject.ReplaceAllString(line, "subject:")
	}
	return line
}

// withoutMailbox returns the text of an IMAP refusal without the name of the mailbox
// that it complains about, as in "Mailbox doesn't exist: INBOX.Throttled" or "Throttled
// doesn't exist.". first reports that the name stood at the start.
func withoutMailbox(text string) (rest string, first bool) {
	before := beforeMailbox.FindStringIndex(text)
	if before != nil && strings.Trim(text[before[1]:], " .!") != "" {
		return text[:before[1]], false
	}
	if at := behindMailbox.FindStringIndex(text); at != nil {
		return text[at[0]:], true
	}
	return text, false
}
