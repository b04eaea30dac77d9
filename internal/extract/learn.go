package extract

import (
	"fmt"
	"io"

	"github.com/recourse-go/recourse/rules"
)

// Learn says where the headers of a response tell what is left of a limit: of every
// response to a call that the limit counts.
type Learn struct {
	Remaining []Extractor // what is left; the first that yields a number
	Reset     []Extractor // when the limit begins anew; As says how it is written; none = it is not told
	Limit     []Extractor // the limit's own number
	When      string      // condition for the response to tell it, over status, header, method and operation; "" = always
	Holds     *rules.Set  // When, compiled; nil = always
	Unit      int64       // how many units one of the header's is, at least 1
}

// Hash adds what is learned to a digest.
func (l *Learn) Hash(w io.Writer) {
	fmt.Fprintf(w, " %q %d", l.When, l.Unit)
	for _, list := range [][]Extractor{l.Remaining, l.Reset, l.Limit} {
		Hash(w, list)
	}
}
