package record

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/redact"
)

// redactor takes out of texts what must not be written.
type redactor struct{ key []byte }

// pseudonym is always the same for the same text and key.
func (r redactor) pseudonym(s string) string {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(s))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

var (
	addresses = regexp.MustCompile(`[^\s<>"'(){}\[\],;:=\\]+@[^\s<>"'(){}\[\],;:=\\]+`)
	queries   = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.\-]*://[^\s"'<>?#]*)[?#][^\s"'<>]*`)
	userinfo  = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.\-]*://)[^\s"'<>/?#]*@`)
	runs      = regexp.MustCompile(`[A-Za-z0-9_\-.~+/=%]{12,}`)
)

// text is a text from outside without addresses, which become pseudonyms that still look
// like addresses, without the queries of URLs, and without what looks like a token. known
// are the conditions of the policy: what they name is no secret.
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
			s = strings.ReplaceAll(s, account, pseudonymMark+r.pseudonym(account))
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
		// A path or a name with dots is looked at part by part.
		parts := strings.FieldsFunc(run, func(c rune) bool { return c == '/' || c == '.' || c == '=' })
		for _, part := range parts {
			if len(part) >= 12 && !isPseudonym(part) && redact.Code(part) != part && !letters(part) && !strings.Contains(known, part) {
				run = strings.Replace(run, part, "…", 1)
			}
		}
		return run
	})
}

// letters reports whether s is letters only, as the longest names of errors are:
// ErrorNameResolutionMultipleResults. A token has digits too.
func letters(s string) bool {
	const longest = 64
	return len(s) <= longest && strings.IndexFunc(s, func(c rune) bool { return c|0x20 < 'a' || c|0x20 > 'z' }) < 0
}

// hiddenDomain is the domain of pseudonyms of addresses (RFC 2606).
const hiddenDomain = "@hidden.invalid"

// pseudonymMark is what a pseudonym within a text begins with.
const pseudonymMark = "u-"

var pseudonyms = regexp.MustCompile(`^` + pseudonymMark + `[0-9a-f]{16}$`)

// isPseudonym reports whether s looks as a pseudonym within a text does.
func isPseudonym(s string) bool { return pseudonyms.MatchString(s) }

// address is the pseudonym of a mail address.
func (r redactor) address(s string) string { return pseudonymMark + r.pseudonym(s) + hiddenDomain }
