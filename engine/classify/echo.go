package classify

import (
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/fold"
)

// What a refusal quotes is not the server's word either: the subject of a mail,
// the name of a mailbox or of a calendar, an address. Whoever can send a mail to
// somebody, or share a folder with them, chooses those.

// unquoted is s with nothing left between its quotes. From the first quote to
// the last of a kind all is data: a name can have quotes in it too.
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
// closing one. Quotes open a word and close one, so that an apostrophe is none.
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
		return s[:from] // it does not close: cut short
	}
	return s[:from] + s[end:]
}

func isWord(c rune) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

var (
	echoedAddress = regexp.MustCompile(`<[^<>]*>|[^\s<>()\[\],;:"']+@[^\s<>()\[\],;"']+`)
	echoedSubject = regexp.MustCompile(`(?i)\b(?:subject(?: line| was| is)?|(?:file|attachment)[ _-]?names?|attachments?|banned|header from)\s*[:=].*`)

	// In front of a mailbox's name, and behind it.
	beforeMailbox = regexp.MustCompile(`(?i)` + strings.Join([]string{
		`(?:unknown|invalid|bad|illegal|no such|non-?existent|duplicate|missing|(?:could ?n.?t|could not|can ?not|unable to) find(?: the)?) (?:mailbox|folder|mbox|namespace)(?: name)?\b`,
		`\b(?:mailbox|folder)(?: name)? ?(?:does ?n.?t exist|does not exist|(?:is |was )?not found|(?:already )?exists|has children|(?:is ?n.?t|is not) (?:selectable|allowed))[^:]*:`,
		`\bnot allowed in (?:mailbox|folder) names?:`,
		`\b(?:permission|access) denied(?::| (?:to|for) (?:mailbox|folder)\b)`,
	}, "|"))
	behindMailbox = regexp.MustCompile(`(?i)(?:does ?n.?t exist|does not exist|(?:is |was |could not be |cannot be )?not found|(?:could not|cannot) be found|(?:already )?exists|no such (?:mailbox|folder))[.!]?(?:\s*\([^()]*\))?\s*$`)
)

// withoutEcho is a line of a server's reply without what it repeats of what
// it was sent, or of what somebody has stored: quotes, addresses, a subject, the name
// of a file.
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

// withoutMailbox is the text of an IMAP refusal without the name of the mailbox
// that it says is not there: "Mailbox doesn't exist: INBOX.Throttled", "Throttled
// doesn't exist.". first is true where the name came first.
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
