package engine

import (
	"slices"
	"strings"
)

// Error texts end up in logs, and quote what was sent: URLs, headers, forms, the
// bodies of token endpoints, commands. Here is what is cut out of them. It knows
// secrets by the places where they stand, for they have no shape of their own: a
// filter, and no proof that nothing else is one.

// maxErrorText is how much of an error's text is shown, in bytes: some libraries
// put a whole body into it.
const maxErrorText = 8 << 10

// hidden stands for a secret.
const hidden = "…"

// safeText is an error's text without what is likely to be a secret in it:
//
//   - in URLs the user and password, the query and the fragment, since signed
//     URLs and OAuth redirects carry secrets there; a relative URL's query too;
//   - what follows an authorization scheme: Bearer, Basic and so on;
//   - the values of fields, headers and parameters that are named like a secret:
//     refresh_token, "accessToken", client_secret, password, X-Api-Key, Cookie;
//   - what AUTH, AUTHENTICATE (SMTP and IMAP) and LOGIN (IMAP) send;
//   - JSON Web Tokens and Google's access and refresh tokens, wherever they stand.
//
// It reads the text once from left to right, and at most maxErrorText of it.
func safeText(err error) string {
	text := textOf(err)
	cut := len(text) > maxErrorText
	if cut {
		// A secret that is cut in two may not look like one: its run goes whole.
		text = text[:maxErrorText]
		text = text[:strings.LastIndexAny(text, spaces)+1]
	}
	r := redaction{text: text}
	for r.at < len(text) {
		r.step()
	}
	if cut {
		r.hide(len(text), len(text), hidden)
	} else if r.kept == 0 {
		return text
	}
	r.out.WriteString(text[r.kept:])
	return r.out.String()
}

// redaction is a text on its way through safeText. A run is what stands between
// spaces and quotes.
type redaction struct {
	text string
	out  strings.Builder // what is shown of text[:kept]
	kept int
	at   int // text before it has been read
	run  int // where the run that at is in begins
	url  int // where the latest URL ends
	sign int // the last '@' in it, or a place before it
}

// hide shows something else for what is from here to there, and goes on there.
func (r *redaction) hide(from, to int, shown string) {
	r.out.WriteString(r.text[r.kept:from])
	r.out.WriteString(shown)
	r.kept, r.at = to, to
}

// step reads a word, or a character that is in none.
func (r *redaction) step() {
	switch c := r.text[r.at]; {
	case isWord(c):
		r.word()
	case isSpace(c) || isQuote(c):
		r.at++
		r.run = r.at
	case c == '?':
		r.query()
	case c == '#' && r.at < r.url:
		r.hide(r.at, r.url, "")
	case c == '/' && r.at == r.run && strings.HasPrefix(r.text[r.at:], "//"):
		r.authority(r.at+2, true)
	default:
		r.at++
	}
}

// word reads a word, and whatever secret it announces.
func (r *redaction) word() {
	from, to := r.at, r.wordEnd(r.at)
	word, rest := r.text[from:to], r.text[to:]
	r.at = to
	if strings.HasPrefix(rest, "://") {
		r.authority(to+3, !slices.Contains(otherSchemes, strings.ToLower(word)))
		return
	}
	if n := tokenTail(word, rest); n > 0 {
		r.hide(from, to+n, hidden)
		return
	}
	name := strings.ToLower(word[max(0, len(word)-maxName):])
	if secretName(name) || name == "code" && from > 0 && r.text[from-1] == '&' { // of a form
		if !r.field(name, from, to) && (proseName(name) || name == "password") {
			r.loose(to)
		}
		return
	}
	switch {
	case authSchemes[name]:
		r.credentials(name, to, false)
	case name == "auth", name == "authenticate":
		r.sasl(to)
	case word == "LOGIN":
		r.login(to)
	case name == "port" && strings.HasSuffix(r.text[:from], "invalid "):
		r.port(to)
	}
}

// maxName is how much of a long word is looked at, in bytes: its end.
const maxName = 64

// URLs.

// authority hides the user of a URL whose authority begins here, and notes where
// the URL ends. web says that an '@' may well stand in its path.
func (r *redaction) authority(from int, web bool) {
	if from >= r.url {
		r.url = r.runEnd(from)
		r.sign = from + strings.LastIndexByte(r.text[from:r.url], '@')
	}
	end := from
	for end < r.url && strings.IndexByte(`/?#\`, r.text[end]) < 0 {
		end++
	}
	host := from + strings.LastIndexByte(r.text[from:end], '@') + 1
	if host == from && r.sign >= from && (!web || !hostPort(r.text[from:end])) {
		host = r.sign + 1 // the password has a slash in it, or the like
	}
	r.hide(from, host, "")
	if host < end && !hostPort(r.text[host:end]) { // half of a user and password
		r.hide(host+strings.IndexByte(r.text[host:end], ':')+1, end, hidden)
	}
}

// hostPort reports whether a URL's authority, which has no user, can be a host
// with or without a port.
func hostPort(s string) bool {
	if i := strings.IndexByte(s, ']'); i >= 0 && s[0] == '[' {
		s = s[i+1:]
	}
	_, port, _ := strings.Cut(s, ":")
	return len(port) <= 5 && strings.Trim(port, "0123456789") == ""
}

// otherSchemes are those of URLs whose path has no '@' of its own.
var otherSchemes = []string{
	"imap", "imaps", "smtp", "smtps", "pop3", "pop3s", "ldap", "ldaps", "socks4", "socks5", "socks5h",
	"redis", "rediss", "amqp", "amqps", "mysql", "postgres", "postgresql", "mongodb", "ftp", "ftps", "sftp", "ssh",
}

// query hides the rest of a URL from its '?' on. In no URL, it must follow a
// path or look like a query.
func (r *redaction) query() {
	from := r.at
	if from < r.url {
		r.hide(from, r.url, "")
		return
	}
	to := from + 1
	for to < len(r.text) && (isWord(r.text[to]) || strings.IndexByte(".%[]$", r.text[to]) >= 0) {
		to++
	}
	if to > from+1 && (r.text[r.run] == '/' || to < len(r.text) && r.text[to] == '=') {
		r.hide(from, r.runEnd(to), "")
		return
	}
	r.at++
}

// port hides what net/url calls an invalid port. It is half of a password that
// is not escaped in a URL.
func (r *redaction) port(at int) {
	if a := r.arg(at); a.quoted {
		r.hideArg(a)
	}
}

// Fields.

// field hides the value of a field that is named like a secret, and reports
// whether it is a field:
//
//	name=value  name = value  "name":"value"  Name: value  Name:[value]  name%3Dvalue
func (r *redaction) field(name string, from, to int) bool {
	at := r.skipQuote(to)
	named := at > to // in quotes
	sep := r.skipSpace(at)
	rest := r.text[sep:]
	value := sep + 1
	switch {
	case strings.HasPrefix(rest, "="), strings.HasPrefix(rest, ":"):
	case strings.HasPrefix(rest, "%3D"), strings.HasPrefix(rest, "%3d"):
		value += 2
	default:
		return false
	}
	begin := r.skipSpace(value)
	sentence := !named && (sep > at || begin > value) // it may be one
	if strings.HasPrefix(r.text[begin:], "[") {
		begin++
	}
	a := r.argAt(begin, rest[0] == ':')
	shown := r.text[a.from:a.to]
	lower := strings.ToLower(shown)
	word := strings.ToLower(r.text[a.from:r.wordEnd(a.from)])
	authorization := strings.HasSuffix(name, "authorization")
	plain := sentence && (plainWords[lower] || prose(shown)) // "password: incorrect"
	switch {
	case shown == "", constants[lower]:
		return true
	case a.quoted && (!sentence || !proseName(name)):
	case authSchemes[word], authorization && headerSchemes[word]:
		return r.credentials(word, a.from+len(word), true)
	case authorization && !plain, strings.HasSuffix(name, "cookie") && strings.Contains(shown, "="):
		a.to = r.lineEnd(a.from, "\"'`]")
	case plain, sentence && proseName(name) && !looksSecret(shown): // "cannot fetch token: 400 Bad Request"
		return false
	}
	r.hideArg(a)
	return true
}

// secretName reports whether a field of that name, in lower case, has a secret value.
func secretName(name string) bool {
	name = squeeze.Replace(name)
	for _, p := range [...]string{"invalid", "expired", "revoked", "missing", "unsupported", "unexpected", "unknown", "bad", "wrong", "no"} {
		if strings.HasPrefix(name, p) {
			return false // an error's code, as invalid_token
		}
	}
	for _, s := range secretNames {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return name == "pwd" || name == "pass" || name == "sig" || name == "jwt"
}

var squeeze = strings.NewReplacer("_", "", "-", "")

// secretNames are how the names of secrets end, without '_' and '-'.
var secretNames = []string{
	"token", "secret", "password", "passwd", "passphrase", "assertion", "signature", "authorization", "cookie",
	"apikey", "accesskey", "secretkey", "privatekey", "authkey", "subscriptionkey", "sessionid", "codeverifier", "devicecode",
}

// proseName reports whether the name of a field is a word of sentences too.
func proseName(name string) bool {
	return name == "token" || name == "secret" || name == "signature" || name == "assertion" || name == "cookie"
}

// loose hides a token or a password that follows the word for it.
func (r *redaction) loose(at int) {
	if a := r.arg(at); looksSecret(r.text[a.from:a.to]) {
		r.hideArg(a)
	}
}

// Credentials.

// authSchemes are the schemes of HTTP's Authorization header, and mechanisms of
// SASL, that are believed wherever they stand; headerSchemes only in the header.
var (
	authSchemes   = set("bearer basic digest negotiate ntlm xoauth2 oauthbearer aws4-hmac-sha256 googlelogin")
	headerSchemes = set("token apikey key bot oauth hawk mac sharedkey sharedkeylite")
	mechanisms    = set("plain login xoauth xoauth2 oauthbearer cram-md5 digest-md5 scram-sha-1 scram-sha-256 ntlm gssapi external " +
		"plain-clienttoken anonymous")
)

// credentials hides what follows an authorization scheme, and reports whether it
// did. header says that it stands in the header, and is no word of a sentence.
func (r *redaction) credentials(scheme string, at int, header bool) bool {
	a := r.arg(at)
	for _, space := range [...]string{"%20", "+"} { // in a form
		if strings.HasPrefix(r.text[at:], space) {
			a = r.argAt(at+len(space), false)
		}
	}
	run := r.text[a.from:a.to]
	name, _, param := strings.Cut(run, "=")
	switch lower := strings.ToLower(run); {
	case run == "", plainWords[lower]:
		return false
	case param && challenge[name]:
		return false // what a server asks for, in WWW-Authenticate
	case param && !a.quoted && (header || scheme == "digest" && name == "username") && strings.Trim(name, letters+"_") == "":
		a.to = r.lineEnd(a.from, "") // a list of parameters
	case header, scheme == "bearer":
	case scheme == "xoauth2" || scheme == "oauthbearer":
		if len(run) < 16 || !mixed(run) {
			return false // a list of mechanisms
		}
	case prose(run) || !mixed(run) && len(run) < 12:
		return false // "basic authentication", "digest MD5"
	}
	r.hideArg(a)
	return true
}

// challenge are the parameters of WWW-Authenticate.
var challenge = set("realm error error_description error_uri scope charset authorization_uri client_id claims nonce qop " +
	"algorithm opaque stale domain trusted_issuers resource_metadata")

// sasl hides the initial response of AUTH and AUTHENTICATE.
func (r *redaction) sasl(at int) {
	m := r.arg(at)
	if !mechanisms[strings.ToLower(r.text[m.from:m.to])] {
		return
	}
	r.at = m.next
	a := r.arg(m.next)
	lower := strings.ToLower(r.text[a.from:a.to])
	if a.from == a.to || plainWords[lower] || mechanisms[lower] || strings.HasPrefix(lower, "auth=") || prose(r.text[a.from:a.to]) {
		return
	}
	r.hideArg(a)
}

// login hides the password of IMAP's LOGIN.
func (r *redaction) login(at int) {
	user := r.arg(at)
	password := r.arg(user.next)
	for _, a := range [...]arg{user, password} {
		lower := strings.ToLower(r.text[a.from:a.to])
		if a.from == a.to || !a.quoted && (plainWords[lower] || mechanisms[lower]) {
			return // "LOGIN failed"
		}
	}
	if strings.Trim(r.text[user.from:user.to], letters+"0123456789.@_+-") != "" {
		r.hide(user.from, user.to, hidden) // it is no name
	}
	r.hideArg(password)
}

// Arguments.

// arg is an argument in text: what stands in quotes, or a run without the
// punctuation at its end.
type arg struct {
	from, to int
	next     int // behind its quote
	quoted   bool
}

// arg finds the argument behind a space; none is empty.
func (r *redaction) arg(at int) arg {
	if from := r.skipSpace(at); from > at {
		return r.argAt(from, false)
	}
	return arg{from: at, to: at, next: at}
}

// argAt finds the argument that begins here. list says that a comma or a bracket
// ends it as well, as in JSON.
func (r *redaction) argAt(from int, list bool) arg {
	if open := r.skipQuote(from); open > from {
		to, next := r.quoteEnd(open, open-1, false)
		return arg{open, to, next, true}
	}
	to := from
	for to < len(r.text) && !isSpace(r.text[to]) && !isQuote(r.text[to]) && r.text[to] != '&' {
		if list && strings.IndexByte(",]}", r.text[to]) >= 0 {
			break
		}
		to++
	}
	next := to
	for to > from && strings.IndexByte(`\.,:;!?)]}`, r.text[to-1]) >= 0 {
		to--
	}
	return arg{from, to, next, false}
}

// hideArg hides an argument.
func (r *redaction) hideArg(a arg) {
	r.hide(a.from, a.to, hidden)
	r.run = a.from
}

// runEnd is where the run that from is in ends: before the next space or quote,
// but a run that a quote opens ends where that is closed, spaces and all.
func (r *redaction) runEnd(from int) int {
	if r.run > 0 {
		if q := r.text[r.run-1]; isQuote(q) && q != '>' {
			end, _ := r.quoteEnd(from, r.run-1, true)
			return end
		}
	}
	end := from
	for end < len(r.text) && !isSpace(r.text[end]) && !isQuote(r.text[end]) {
		end++
	}
	for end > from && r.text[end-1] == '\\' {
		end--
	}
	return end
}

// quoteEnd is where the text from here on, which the quote at open has opened,
// ends, and where what comes after it begins. The quote that closes it has no
// more backslashes before it. Where there is none, it is the end of the line, or
// of all.
func (r *redaction) quoteEnd(from, open int, line bool) (end, next int) {
	q := r.text[open]
	if q == '<' {
		q = '>'
	}
	depth := r.backslashes(open)
	for i := from; i < len(r.text); i++ {
		switch r.text[i] {
		case q:
			if n := min(r.backslashes(i), i-from); n <= depth {
				return i - n, i + 1
			}
		case '\n':
			if line {
				return i, i
			}
		}
	}
	return len(r.text), len(r.text)
}

// backslashes counts those before a place.
func (r *redaction) backslashes(at int) (n int) {
	for at > n && r.text[at-n-1] == '\\' {
		n++
	}
	return n
}

// lineEnd is where the line ends, or before it the first of some characters.
func (r *redaction) lineEnd(from int, or string) int {
	if i := strings.IndexAny(r.text[from:], "\r\n"+or); i >= 0 {
		return from + i
	}
	return len(r.text)
}

func (r *redaction) skipSpace(at int) int {
	for at < len(r.text) && (r.text[at] == ' ' || r.text[at] == '\t') {
		at++
	}
	return at
}

// skipQuote is behind a quote, escaped or not, that stands here.
func (r *redaction) skipQuote(at int) int {
	i := at
	for i < len(r.text) && r.text[i] == '\\' {
		i++
	}
	if i < len(r.text) && isQuote(r.text[i]) && r.text[i] != '<' && r.text[i] != '>' {
		return i + 1
	}
	return at
}

func (r *redaction) wordEnd(at int) int {
	for at < len(r.text) && isWord(r.text[at]) {
		at++
	}
	return at
}

// Characters and words.

const (
	spaces  = " \t\r\n\v\f"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func isSpace(c byte) bool { return strings.IndexByte(spaces, c) >= 0 }
func isQuote(c byte) bool { return strings.IndexByte("\"'`<>", c) >= 0 }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isWord(c byte) bool  { return isLower(c) || isUpper(c) || isDigit(c) || c == '_' || c == '-' }

// tokenTail reports how much of rest is one token with the word before it, in
// bytes; 0 = the word begins none: a JSON Web Token, or Google's ya29.… and 1//0….
func tokenTail(word, rest string) int {
	least := 0
	switch {
	case strings.HasPrefix(word, "eyJ") && len(word) >= 10 && strings.HasPrefix(rest, "."):
		least = 2
	case word == "ya29" && strings.HasPrefix(rest, "."):
		least = 10
	case word == "1" && strings.HasPrefix(rest, "//0"):
		least = 16
	default:
		return 0
	}
	n := 0
	for n < len(rest) && (isWord(rest[n]) || rest[n] == '.' || rest[n] == '/' && n < 2) {
		n++
	}
	for n > 0 && rest[n-1] == '.' {
		n--
	}
	if n < least {
		return 0
	}
	return n
}

// prose reports whether s is a word as in a sentence: letters, of which only the
// first may be a capital.
func prose(s string) bool {
	if s == "" || len(s) > 20 || !isLower(s[0]) && !isUpper(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isLower(s[i]) {
			return false
		}
	}
	return true
}

// mixed reports whether s has small letters and others, and is no [prose].
func mixed(s string) bool {
	lower, other := false, false
	for i := range len(s) {
		lower = lower || isLower(s[i])
		other = other || isUpper(s[i]) || isDigit(s[i])
	}
	return lower && other && !prose(s)
}

// looksSecret reports whether s may be a token or a password where the words
// around it do not tell.
func looksSecret(s string) bool {
	return len(s) >= 8 && strings.ContainsAny(s, "0123456789") && strings.ContainsAny(s, letters)
}

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// constants are values of a field that is not set.
var constants = set("null nil true false none undefined")

// plainWords follow the names of schemes and commands in sentences, where a
// secret would.
var plainWords = set(`a access an and any as at auth authenticate authentication authorization before but by challenge
	command completed credential credentials denied did disabled does error expected expired failed failure first for from
	grant has have header headers in instead invalid is issued it lacks limit malformed mechanism method missing must no not
	of ok on only or over rate realm refused rejected request required response scheme schemes should signature successful
	support supported than that the this timed timeout to token tokens too type unavailable unsupported use used user using
	value via was were when which with without`)
