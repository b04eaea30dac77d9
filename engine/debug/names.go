package debug

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/pseudonym"
	"github.com/recourse-go/recourse/limiter"
)

// maxNames is how many names of accounts, and of limits' keys, are remembered.
const maxNames = 1 << 13

// names makes the pseudonyms of accounts and of limits' keys, and remembers those that were shown
// lately, so that they can be searched for. It is safe for concurrent use.
type names struct {
	key  []byte
	show bool // accounts are shown as they are

	mu       sync.Mutex
	accounts lately[string, string]
	keys     lately[string, limitKey]
}

// limitKey is one limit for one key.
type limitKey struct {
	provider, limit string
	keys            limiter.Keys
}

func newNames(key []byte, show bool) *names {
	return &names{key: key, show: show, accounts: lately[string, string]{most: maxNames}, keys: lately[string, limitKey]{most: maxNames}}
}

// pseudonym returns the pseudonym of a text, which depends on the text and the key only.
func (n *names) pseudonym(s string) string { return pseudonym.Of(n.key, s) }

// account returns the name under which an account is shown; "" for none.
func (n *names) account(account string) string {
	if account == "" {
		return ""
	}
	name := shown(account, maxShown)
	if n.show && name == account {
		return name
	}
	if !n.show {
		name = pseudonym.Mark + n.pseudonym(account)
	}
	n.mu.Lock()
	n.accounts.put(name, account)
	n.mu.Unlock()
	return name
}

// private returns how a value is shown that is not an account but may identify a person: an IP
// address, a device, a fact of a policy's own.
func (n *names) private(value string) string {
	if n.show || value == "" {
		return shown(value, maxShown)
	}
	return n.pseudonym(value)
}

// find returns the account that somebody means who types its name, or a pseudonym that was shown
// lately.
func (n *names) find(typed string) (account string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if account, ok := n.accounts.get(typed); ok {
		return account
	}
	return typed
}

// ref returns the name of a limit's key in forms.
func (n *names) ref(provider string, s *limiter.State) string {
	k := limitKey{provider, s.Limit, s.Keys}
	ref := n.pseudonym(strings.Join([]string{
		provider, s.Limit, s.Keys.Account, s.Keys.App, s.Keys.Tenant, s.Keys.Host, s.Keys.IP, s.Keys.Device, s.Keys.Operation, s.Keys.Facts,
	}, "\x00"))
	n.mu.Lock()
	n.keys.put(ref, k)
	n.mu.Unlock()
	return ref
}

// limitKey returns the limit's key to which ref has lately given that name.
func (n *names) limitKey(ref string) (limitKey, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.keys.get(ref)
}

// without returns a text as the page shows it. Unless names are shown, the account's pseudonym
// replaces its name.
func (n *names) without(text, account string) string {
	if !n.show && len(account) >= 3 && strings.Contains(text, account) {
		text = strings.ReplaceAll(text, account, n.account(account))
	}
	return shown(text, maxText)
}

const (
	maxShown = 80  // runes of a value from outside
	maxName  = 128 // runes of a name in a policy
	maxText  = 500 // runes of a text
)

// shown returns a text from outside as the page shows it: cut, as valid UTF-8, and without
// characters that would change how the text around it reads, such as control characters and marks
// of direction. It does not escape HTML, since html/template does.
func shown(s string, most int) string {
	clean := len(s) <= most
	for i := 0; clean && i < len(s); i++ {
		clean = ' ' <= s[i] && s[i] < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if r == '\n' || r == '\t' {
			r = ' '
		}
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}
