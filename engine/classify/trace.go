package classify

// Source is where one value of a fact came from.
type Source struct {
	Fact  string // as rules name it: "codes", "message", "facts.doc", "retry_after", …
	From  string // "json error.status", "header Retry-After", "smtp reply", …
	Value string // what was found, cut to 200 bytes; "[hidden]" for the value of a secret header
	Note  string // why the value does not count; "" = it counts
}

// Trace records where the facts of an event came from, in the order in which they were
// found. The zero Trace is empty and ready to use. It must not be shared by goroutines.
type Trace []Source

// add records a value. note says why the value does not count, if it does not. add does
// nothing if t is nil.
func (t *Trace) add(fact, from, value, note string) {
	if t == nil {
		return
	}
	if len(value) > 200 {
		value = string(cutRune([]byte(value[:200]))) + "…"
	}
	*t = append(*t, Source{fact, from, value, note})
}
