package enginetest

import (
	"strconv"
	"strings"
)

// search serves SEARCH and UID SEARCH. It knows ALL, a set of numbers, UID and a set, HEADER
// with a name and a text, and FROM, TO, CC, BCC and SUBJECT with a text; all must hold.
func (s *imapSession) search(args []value) (data, text string) {
	letters := s.letters()
	args = flatten(args)
	in := make([]bool, len(letters))
	for i := range in {
		in[i] = true
	}
	for len(args) > 0 {
		holds, rest, bad := searchKey(args, letters)
		if bad != "" {
			return "", "BAD " + bad
		}
		for i := range in {
			in[i] = in[i] && holds(i)
		}
		args = rest
	}
	var b strings.Builder
	b.WriteString("* SEARCH")
	for i, ok := range in {
		if ok {
			b.WriteString(" " + strconv.Itoa(i+1))
		}
	}
	b.WriteString("\r\n")
	return b.String(), "OK SEARCH completed"
}

// searchKey reads the first search key of args. It returns whether it holds for a letter, by
// the letter's index, the arguments behind it, and what is wrong with it.
func searchKey(args []value, letters []letter) (holds func(i int) bool, rest []value, bad string) {
	all := func(int) bool { return true }
	key, args := strings.ToUpper(args[0].text), args[1:]
	switch key {
	case "ALL":
		return all, args, ""
	case "CHARSET":
		return all, args[min(1, len(args)):], ""
	case "UID":
		if len(args) < 1 {
			return nil, nil, "UID needs a set"
		}
		set, ok := parseSet(args[0].text, len(letters))
		if !ok {
			return nil, nil, "bad set"
		}
		return func(i int) bool { return set[i] }, args[1:], ""
	case "HEADER", "FROM", "TO", "CC", "BCC", "SUBJECT":
		if key != "HEADER" {
			args = append([]value{{text: key}}, args...)
		}
		if len(args) < 2 {
			return nil, nil, key + " needs a text"
		}
		name, want := canonical(args[0].text), strings.ToLower(args[1].text)
		return func(i int) bool {
			v, ok := letters[i].header[name]
			return ok && strings.Contains(strings.ToLower(strings.Join(v, " ")), want)
		}, args[2:], ""
	}
	set, ok := parseSet(key, len(letters))
	if !ok {
		return nil, nil, "unknown search key"
	}
	return func(i int) bool { return set[i] }, args, ""
}
