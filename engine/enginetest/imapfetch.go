package enginetest

import (
	"net/mail"
	"slices"
	"strconv"
	"strings"
)

// fetch serves FETCH and UID FETCH: UID, FLAGS, INTERNALDATE, RFC822.SIZE,
// ENVELOPE, RFC822, BODY[] with HEADER, HEADER.FIELDS or TEXT, and the macros.
func (s *imapSession) fetch(args []value, uid bool) (data, text string) {
	letters := s.letters()
	set, ok := parseSet(args[0].text, len(letters))
	if !ok {
		return "", "BAD bad set"
	}
	items := args[1].list
	if !args[1].isList {
		items = args[1:]
	}
	var names []string
	for _, v := range items {
		switch name := strings.ToUpper(v.text); name {
		case "FAST", "ALL", "FULL":
			names = append(names, "FLAGS", "INTERNALDATE", "RFC822.SIZE")
			if name != "FAST" {
				names = append(names, "ENVELOPE")
			}
		default:
			names = append(names, name)
		}
	}
	if uid && !slices.Contains(names, "UID") {
		names = append([]string{"UID"}, names...)
	}
	var b strings.Builder
	for i, ok := range set {
		if !ok {
			continue
		}
		b.WriteString("* " + strconv.Itoa(i+1) + " FETCH (")
		for n, name := range names {
			item, ok := fetchItem(&letters[i], i+1, name)
			if !ok {
				return "", "BAD unknown item"
			}
			if n > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(item)
		}
		b.WriteString(")\r\n")
		if b.Len() > maxAnswer {
			return "", "NO [LIMIT] The answer is too long"
		}
	}
	return b.String() + s.news(), "OK FETCH completed"
}

// maxAnswer bounds what a FETCH returns, in bytes.
const maxAnswer = 64 << 20

func fetchItem(l *letter, uid int, name string) (string, bool) {
	switch name {
	case "UID":
		return "UID " + strconv.Itoa(uid), true
	case "FLAGS":
		return "FLAGS (" + l.flags + ")", true
	case "INTERNALDATE":
		return `INTERNALDATE "` + l.arrived.Format("02-Jan-2006 15:04:05 -0700") + `"`, true
	case "RFC822.SIZE":
		return "RFC822.SIZE " + strconv.Itoa(len(l.raw)), true
	case "ENVELOPE":
		return "ENVELOPE " + envelope(l.header), true
	case "RFC822":
		return "RFC822 " + asLiteral(l.raw), true
	}
	section, ok := strings.CutPrefix(name, "BODY.PEEK[")
	if !ok {
		section, ok = strings.CutPrefix(name, "BODY[")
	}
	section, closed := strings.CutSuffix(section, "]")
	if !ok || !closed {
		return "", false
	}
	header, text, _ := strings.Cut(l.raw, "\r\n\r\n")
	var part string
	fields, isFields := strings.CutPrefix(section, "HEADER.FIELDS (")
	switch {
	case section == "":
		part = l.raw
	case section == "HEADER":
		part = header + "\r\n\r\n"
	case section == "TEXT":
		part = text
	case isFields:
		for _, f := range strings.Fields(strings.TrimSuffix(fields, ")")) {
			f = canonical(strings.Trim(f, `"`))
			for _, v := range l.header[f] {
				part += f + ": " + v + "\r\n"
			}
		}
		part += "\r\n"
	default:
		return "", false
	}
	return "BODY[" + section + "] " + asLiteral(part), true
}

func asLiteral(s string) string { return "{" + strconv.Itoa(len(s)) + "}\r\n" + s }

// envelope writes a message's header as RFC 3501, section 7.4.2 has it.
func envelope(h mail.Header) string {
	text := func(name string) string {
		if v := h.Get(name); v != "" {
			return quote(v)
		}
		return "NIL"
	}
	people := func(name string) string {
		list, err := h.AddressList(name)
		if err != nil || len(list) == 0 {
			return "NIL"
		}
		var b strings.Builder
		for _, a := range list {
			user, host, _ := strings.Cut(a.Address, "@")
			name := "NIL"
			if a.Name != "" {
				name = quote(a.Name)
			}
			b.WriteString("(" + name + " NIL " + quote(user) + " " + quote(host) + ")")
		}
		return "(" + b.String() + ")"
	}
	from := people("From")
	return "(" + strings.Join([]string{
		text("Date"), text("Subject"), from, from, from, people("To"), people("Cc"), people("Bcc"), text("In-Reply-To"), text("Message-ID"),
	}, " ") + ")"
}
