package record

import (
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/pseudonym"
	"github.com/recourse-go/recourse/internal/redact"
)

// redactor removes from texts what must not be written.
type redactor struct{ key []byte }

// pseudonym returns the pseudonym of s, which depends on s and the key only.
func (r redactor) pseudonym(s string) string { return pseudonym.Of(r.key, s) }

var (
	addresses = regexp.MustCompile(`[^\s<>"'(){}\[\],;:=\\]+@[^\s<>"'(){}\[\],;:=\\]+`)
	queries   = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.\-]*://[^\s"'<>?#]*)[?#][^\s"'<>]*`)
	userinfo  = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.\-]*://)[^\s"'<>/?#]*@`)
	runs      = regexp.MustCompile(`[A-Za-z0-9_\-.~+/=%]{12,}`)
)

// text returns a text from outside without the queries and users of URLs, without what looks
// like a token, and with pseudonyms in place of the account and of addresses. known is the text
// of the policy's conditions: what they name is no secret.
func (r redactor) text(s, account, known string) string {
	if s == "" {
		return s
	}
	s = userinfo.ReplaceAllString(s, "$1")
	s = queries.ReplaceAllString(s, "$1")
	if len(account) >= 4 && strings.Contains(s, account) {
		if strings.Contains(account, "@") {
			s = strings.ReplaceAll(s, account, r.address(account))
		} else {
			s = strings.ReplaceAll(s, account, pseudonym.Mark+r.pseudonym(account))
		}
	}
	s = addresses.ReplaceAllStringFunc(s, func(address string) string {
		trimmed := strings.TrimRight(address, ".!?")
		if name, ours := strings.CutSuffix(trimmed, hiddenDomain); ours && isPseudonym(name) {
			return address
		}
		return r.address(trimmed) + address[len(trimmed):]
	})
	return runs.ReplaceAllStringFunc(s, func(run string) string {
		// Look at each part of a path, or of a name with dots, by itself.
		parts := strings.FieldsFunc(run, func(c rune) bool { return c == '/' || c == '.' || c == '=' })
		for _, part := range parts {
			if len(part) >= 12 && !isPseudonym(part) && redact.Code(part) != part && !letters(part) && !strings.Contains(known, part) {
				run = strings.Replace(run, part, "…", 1)
			}
		}
		return run
	})
}

// letters reports whether s has letters only, like long names of errors
// (ErrorNameResolutionMultipleResults). A token has digits too.
func letters(s string) bool {
	const longest = 64
	return len(s) <= longest && strings.IndexFunc(s, func(c rune) bool { return c|0x20 < 'a' || c|0x20 > 'z' }) < 0
}

// hiddenDomain ends the pseudonym of an address. RFC 2606 reserves .invalid.
const hiddenDomain = "@hidden.invalid"

var pseudonyms = regexp.MustCompile(`^` + pseudonym.Mark + `[0-9a-f]{16}$`)

// isPseudonym reports whether s has the form of a pseudonym within a text.
func isPseudonym(s string) bool { return pseudonyms.MatchString(s) }

// address returns the pseudonym of a mail address.
func (r redactor) address(s string) string { return pseudonym.Mark + r.pseudonym(s) + hiddenDomain }
