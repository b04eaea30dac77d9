package classify

import (
	"regexp"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// maxValues bounds how many values one fact can have.
const maxValues = 64

// maxHeader is how many bytes of one header value are read.
const maxHeader = 16 << 10

// patternWindow is how many bytes of a body text patterns search.
const patternWindow = 4 << 10

// finder finds the facts of one answer.
type finder struct {
	header  map[string][]string
	success bool // the answer is a success, or a reply, whose text is the message: text patterns do not search the body
	batch   bool // body holds the refusals of a batch
	body    string
	json    jsonDoc
	xml     string // body if that is XML, else ""
	window  window // what text patterns search
	clock   clock
	trace   *Trace
	event   *rules.Event // for the conditions of extractors
}

// fill sets the facts that the policy extracts. Codes that e holds already come
// before those of the policy. The message that e holds stays if the policy finds none.
// hint is the wait that the response's headers ask for.
func (f *finder) fill(p *policy.Policy, e *rules.Event, hint asked) Report {
	e.Type, e.Facts, f.event = "", nil, e
	if p != nil {
		e.Provider = p.Name
		f.look(e.Message)
		defer f.window.set("")
		x := planOf(p)
		f.window.scanner = x.scanner
		if s := f.first(x.message, "message", ""); s != "" {
			e.Message = s
			f.look(s)
		}
		e.Type = f.first(x.typ, "type", "")
		e.Codes = f.union(e.Codes, x.codes)
		for i := range x.facts {
			name := p.Extract.Facts[i].Name
			if s := f.first(x.facts[i], "facts.", name); s != "" {
				if e.Facts == nil {
					e.Facts = make(map[string]string, len(x.facts))
				}
				e.Facts[name] = s
			}
		}
		f.look(unquoted(e.Message))
		if found := f.asked(x.retryAfter, &hint, false); f.batch || !found && hint.wait == 0 && e.Message != "" {
			f.askMessages(x, &hint)
		}
	}
	e.RetryAfter = hint.wait
	if hint.tooLong > 0 {
		return Report{hint.tooLong, hint.tooLongFrom}
	}
	return Report{}
}

// first returns the first value that any of the extractors yields, or "". fact+name is
// what a trace calls the fact.
func (f *finder) first(xs []source, fact, name string) string {
	var buf [1]string
	for i := range xs {
		if !f.applies(&xs[i], fact, name) {
			continue
		}
		if v := f.values(buf[:0], &xs[i], 1); len(v) > 0 {
			if f.trace != nil {
				f.trace.add(fact+name, describe(xs[i].Extractor), f.shown(xs[i].Extractor, v[0]), "")
			}
			return v[0]
		}
	}
	return ""
}

// union appends to codes all values of all extractors, without duplicates.
func (f *finder) union(codes []string, xs []source) []string {
	var buf [8]string
	for i := range xs {
		if !f.applies(&xs[i], "codes", "") {
			continue
		}
	next:
		for _, v := range f.values(buf[:0], &xs[i], maxValues) {
			for _, c := range codes {
				if c == v {
					continue next
				}
			}
			if len(codes) >= maxValues {
				return codes
			}
			if codes == nil {
				codes = make([]string, 0, 4)
			}
			codes = append(codes, v)
			if f.trace != nil {
				f.trace.add("codes", describe(xs[i].Extractor), f.shown(xs[i].Extractor, v), "")
			}
		}
	}
	return codes
}

// asked raises h to the longest wait that the extractors yield, and reports whether
// they yielded any value. With onlyText it uses the text patterns only.
func (f *finder) asked(xs []source, h *asked, onlyText bool) bool {
	var buf [8]string
	found := false
	for i := range xs {
		if onlyText && xs[i].Kind != policy.FromText || !f.applies(&xs[i], "retry_after", "") {
			continue
		}
		for _, v := range f.values(buf[:0], &xs[i], maxValues) {
			found = true
			d, why := f.clock.read(v, xs[i].As)
			if d > maxHint && d > h.tooLong {
				h.tooLong, h.tooLongFrom = d, describe(xs[i].Extractor)
			}
			h.take(d)
			if f.trace != nil {
				f.trace.add("retry_after", describe(xs[i].Extractor), f.shown(xs[i].Extractor, v), note(d, why))
			}
		}
	}
	return found
}

// askMessages raises h by the text patterns for retry_after. They search all the messages
// that the policy's message extractors find, and not only the first: those of each part of
// an error or of a batch. What the messages quote is left out.
func (f *finder) askMessages(x *plan, h *asked) {
	f.window.set(f.body[:min(len(f.body), patternWindow)])
	if !f.batch && !slices.ContainsFunc(x.retryAfter, func(x source) bool {
		return x.Kind == policy.FromText && x.Text != nil && f.window.start(0, &x) >= 0
	}) {
		return
	}
	var all []string
	for i := range x.message {
		if x.message[i].Kind != policy.FromText && f.applies(&x.message[i], "message", "") {
			all = f.values(all, &x.message[i], maxValues)
		}
	}
	if len(all) > 0 {
		f.look(unquoted(strings.Join(all, "\n")))
		f.asked(x.retryAfter, h, true)
	}
}

// applies reports whether the `when` of x holds. If it does not, a trace records the
// value that is not used for that reason.
func (f *finder) applies(x *source, fact, name string) bool {
	if x.Holds == nil || x.Holds.Match(f.event) == 0 {
		return true
	}
	if f.trace != nil {
		for _, v := range f.values(nil, x, 1) {
			f.trace.add(fact+name, describe(x.Extractor), f.shown(x.Extractor, v), whyWhen)
		}
	}
	return false
}

// values appends to dst the values that x yields, trimmed and without empty ones, until
// dst has limit.
func (f *finder) values(dst []string, x *source, limit int) []string {
	n := len(dst)
	switch x.Kind {
	case policy.FromJSON:
		if f.json.text != "" {
			dst = f.json.values(dst, &x.path, limit)
		}
	case policy.FromXML:
		if f.xml != "" {
			dst = xmlValues(dst, f.xml, x.Extractor, limit)
		}
	case policy.FromXMLName:
		if f.xml != "" {
			dst = xmlNames(dst, f.xml, x.Path, limit)
		}
	case policy.FromHeader:
		for _, v := range f.header[x.header] {
			if len(dst) < limit {
				dst = append(dst, capText(v, maxHeader))
			}
		}
	case policy.FromText:
		return f.matches(dst, x, limit)
	}
	kept, room := dst[:n], patternWindow
	for _, v := range dst[n:] {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		if x.Text != nil {
			v = v[:min(len(v), room)] // a pattern reads at most patternWindow bytes of all values together
			room -= len(v)
			if v = match(x.Text, v); v == "" {
				continue
			}
		}
		kept = append(kept, folded(x.Extractor, v))
	}
	return kept
}

// look makes text patterns search the message or, if a refusal has none, the start of
// its body. If the answer is a success, what the message quotes is left out.
func (f *finder) look(message string) {
	s := message
	if f.success {
		s = unquoted(s)
	} else if s == "" {
		s = f.body
	}
	if len(s) > patternWindow {
		s = s[:patternWindow]
	}
	f.window.set(s)
}

// matches appends the values that the pattern of x yields in the window.
func (f *finder) matches(dst []string, x *source, limit int) []string {
	if x.Text == nil {
		return dst
	}
	from := f.window.start(0, x)
	if from < 0 {
		return dst
	}
	s := f.window.text[from:]
	if limit == 1 && len(s) > patternWindow {
		s = s[:patternWindow]
	}
	loc := x.Text.FindStringSubmatchIndex(s)
	if loc == nil {
		return dst
	}
	all := [][]int{loc}
	if limit > 1 && f.window.start(from+loc[1], x) >= 0 {
		all = x.Text.FindAllStringSubmatchIndex(s, limit)
	}
	for _, loc := range all {
		if v := strings.TrimSpace(group(s, loc)); v != "" {
			dst = append(dst, folded(x.Extractor, v))
		}
	}
	return dst
}

func folded(x *policy.Extractor, v string) string {
	if x.Fold {
		return strings.ToLower(v)
	}
	return v
}

// match returns the value that re yields in s, or "".
func match(re *regexp.Regexp, s string) string {
	if len(s) > patternWindow {
		s = s[:patternWindow]
	}
	loc := re.FindStringSubmatchIndex(s)
	if loc == nil {
		return ""
	}
	return strings.TrimSpace(group(s, loc))
}

// group returns the first group of a match that is not empty, or the whole match if
// the pattern has no group. loc is as of [regexp.Regexp.FindStringSubmatchIndex].
func group(s string, loc []int) string {
	if len(loc) == 2 {
		return s[loc[0]:loc[1]]
	}
	for i := 2; i+1 < len(loc); i += 2 {
		if loc[i] >= 0 && loc[i] < loc[i+1] {
			return s[loc[i]:loc[i+1]]
		}
	}
	return ""
}

// shown returns v as a trace may show it: without the value of a secret header.
func (f *finder) shown(x *policy.Extractor, v string) string {
	if x.Kind == policy.FromHeader && secretheader.Is(x.Path) {
		return "[hidden]"
	}
	return v
}
