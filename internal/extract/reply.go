package extract

import (
	"sync"
	"unicode/utf8"
)

// Reply is a reply of a server, as the forms read it. It is for one goroutine at a time.
type Reply struct {
	Header map[string][]string // names in canonical form
	JSON   JSON                // its body, if that is JSON
	XML    string              // its body, if that is XML

	window window    // what the form Text searches
	buf    [8]string // for the values of one extractor
}

// replies keeps replies for the next one to be read: a Reply is large, and extractors
// would move it to the heap each time.
var replies = sync.Pool{New: func() any { return new(Reply) }}

// NewReply returns an empty reply. Free gives it back.
func NewReply() *Reply { return replies.Get().(*Reply) }

// Free makes r, which must not be used any more, available to the next NewReply.
func (r *Reply) Free() {
	r.Header, r.XML, r.JSON, r.buf = nil, "", JSON{}, [len(r.buf)]string{}
	r.window.set("")
	r.window.scanner = nil
	replies.Put(r)
}

// Prepare makes r ready to be read by the extractors of s.
func (r *Reply) Prepare(s *Section) {
	s.prepared.Do(s.prepare)
	r.window.scanner = s.scanner
}

// Search makes s, of which the first Window bytes count, the text that extractors of
// the form Text search.
func (r *Reply) Search(s string) { r.window.set(s[:min(len(s), Window)]) }

// Cut cuts s to at most `most` bytes, between two runes.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := most; i > 0 && i > most-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:most] // s is not UTF-8, so there is no better place
}
