package classify

import (
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// maxValues bounds how many values one fact can have.
const maxValues = 64

// finder finds the facts of one answer.
type finder struct {
	reply   *extract.Reply // the answer, as the policy's extractors read it
	success bool           // the answer is a success, or a reply, whose text is the message: text patterns do not search the body
	batch   bool           // body holds the refusals of a batch
	body    string
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
		if p.Extract != nil {
			f.extract(p.Extract, e, &hint)
		}
	}
	e.RetryAfter = hint.wait
	if hint.tooLong > 0 {
		return Report{hint.tooLong, hint.tooLongFrom}
	}
	return Report{}
}

// extract sets the facts that the extractors yield, and raises hint by them.
func (f *finder) extract(x *extract.Section, e *rules.Event, hint *asked) {
	f.reply.Prepare(x)
	f.look(e.Message)
	if s := f.first(x.Message, "message", ""); s != "" {
		e.Message = s
		f.look(s)
	}
	e.Type = f.first(x.Type, "type", "")
	e.Codes = f.union(e.Codes, x.Codes)
	for i := range x.Facts {
		name := x.Facts[i].Name
		if s := f.first(x.Facts[i].From, "facts.", name); s != "" {
			if e.Facts == nil {
				e.Facts = make(map[string]string, len(x.Facts))
			}
			e.Facts[name] = s
		}
	}
	f.look(unquoted(e.Message))
	if found := f.asked(x.RetryAfter, hint, false); f.batch || !found && hint.wait == 0 && e.Message != "" {
		f.askMessages(x, hint)
	}
}

// first returns the first value that any of the extractors yields, or "". fact+name is
// what a trace calls the fact.
func (f *finder) first(xs []extract.Extractor, fact, name string) string {
	for i := range xs {
		x := &xs[i]
		if !f.applies(x, fact, name) {
			continue
		}
		if v := x.First(f.reply); v != "" {
			if f.trace != nil {
				f.record(fact+name, x, v, "")
			}
			return v
		}
	}
	return ""
}

// union appends to codes all values of all extractors, without duplicates.
func (f *finder) union(codes []string, xs []extract.Extractor) []string {
	for i := range xs {
		x := &xs[i]
		if !f.applies(x, "codes", "") {
			continue
		}
		for _, v := range x.Values(f.reply, maxValues) {
			if slices.Contains(codes, v) {
				continue
			}
			if len(codes) >= maxValues {
				return codes
			}
			if codes == nil {
				codes = make([]string, 0, 4)
			}
			codes = append(codes, v)
			f.record("codes", x, v, "")
		}
	}
	return codes
}

// asked raises h to the longest wait that the extractors yield, and reports whether
// they yielded any value. With onlyText it uses the text patterns only.
func (f *finder) asked(xs []extract.Extractor, h *asked, onlyText bool) bool {
	found := false
	for i := range xs {
		x := &xs[i]
		if onlyText && x.Form != extract.Text || !f.applies(x, "retry_after", "") {
			continue
		}
		for _, v := range x.Values(f.reply, maxValues) {
			found = true
			d, why := f.clock.read(v, x.As)
			if d > maxHint && d > h.tooLong {
				h.tooLong, h.tooLongFrom = d, x.String()
			}
			h.take(d)
			if f.trace != nil {
				f.record("retry_after", x, v, note(d, why))
			}
		}
	}
	return found
}

// askMessages raises h by the text patterns for retry_after. They search all the messages
// that the policy's message extractors find, and not only the first: those of each part of
// an error or of a batch. What the messages quote is left out.
func (f *finder) askMessages(x *extract.Section, h *asked) {
	f.reply.Search(f.body)
	if !f.batch && !slices.ContainsFunc(x.RetryAfter, func(x extract.Extractor) bool { return x.MayMatch(f.reply) }) {
		return
	}
	var all []string
	for i := range x.Message {
		m := &x.Message[i]
		if m.Form != extract.Text && len(all) < maxValues && f.applies(m, "message", "") {
			all = append(all, m.Values(f.reply, maxValues-len(all))...)
		}
	}
	if len(all) > 0 {
		f.look(unquoted(strings.Join(all, "\n")))
		f.asked(x.RetryAfter, h, true)
	}
}

// applies reports whether the `when` of x holds. If it does not, a trace records the
// value that is not used for that reason.
func (f *finder) applies(x *extract.Extractor, fact, name string) bool {
	if x.Applies(f.event) {
		return true
	}
	if f.trace != nil {
		if v := x.First(f.reply); v != "" {
			f.record(fact+name, x, v, whyWhen)
		}
	}
	return false
}

// record adds a value that x has found to the trace, if there is one, without the value
// of a secret header.
func (f *finder) record(fact string, x *extract.Extractor, value, note string) {
	if f.trace == nil {
		return
	}
	if x.Hidden() {
		value = "[hidden]"
	}
	f.trace.add(fact, x.String(), value, note)
}

// look makes text patterns search the message or, if a refusal has none, the start of
// its body. If the answer is a success, what the message quotes is left out.
func (f *finder) look(message string) {
	if f.success {
		message = unquoted(message)
	} else if message == "" {
		message = f.body
	}
	f.reply.Search(message)
}
