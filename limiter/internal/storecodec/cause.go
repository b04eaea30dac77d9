package storecodec

import (
	"encoding/binary"

	"github.com/recourse-go/recourse/limiter"
)

// longestText is the most bytes of each text of a cause that are kept.
const longestText = 200

// AppendCause appends a cause without its time to b: 2 bytes of its status, and 2 bytes of the
// length of each of its texts before the text. It appends nothing for the zero Cause.
func AppendCause(b []byte, c *limiter.Cause) []byte {
	if *c == (limiter.Cause{}) {
		return b
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Status))
	for _, s := range []string{c.Rule, c.Code, c.Operation} {
		s = s[:min(len(s), longestText)]
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// Cause reads what AppendCause has written. It reports whether that was all of b.
func Cause(b string) (c limiter.Cause, ok bool) {
	if b == "" {
		return c, true
	}
	short := func() (n int) {
		if len(b) < 2 {
			b, ok = "", false
			return 0
		}
		n = int(b[0]) | int(b[1])<<8
		b = b[2:]
		return n
	}
	ok = true
	c.Status = int(int16(short()))
	for _, s := range []*string{&c.Rule, &c.Code, &c.Operation} {
		n := short()
		if n > len(b) {
			return limiter.Cause{}, false
		}
		*s, b = b[:n], b[n:]
	}
	if !ok || b != "" {
		return limiter.Cause{}, false
	}
	return c, true
}
