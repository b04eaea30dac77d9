package redislimit

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// The scripts read and write little-endian data by Lua's struct library. All numbers are
// doubles in Lua.

// writer writes the arguments of a script.
type writer []byte

func (w *writer) byte(b byte) { *w = append(*w, b) }

func (w *writer) bool(b bool) {
	if b {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *writer) short(n int) { *w = binary.LittleEndian.AppendUint16(*w, uint16(n)) }

func (w *writer) number(f float64) {
	*w = binary.LittleEndian.AppendUint64(*w, math.Float64bits(f))
}

func (w *writer) units(n int64) { w.number(float64(storecodec.Units(n))) }

func (w *writer) version(v uint64) { w.number(float64(storecodec.Version(v))) }

func (w *writer) span(d time.Duration, up bool) { w.number(float64(storecodec.Micros(d, up))) }

func (w *writer) lease(d time.Duration) { w.number(float64(storecodec.Lease(d))) }

// id writes a digest of an id.
func (w *writer) id(id limiter.StoreID) {
	*w = binary.LittleEndian.AppendUint64(*w, storecodec.Fold(id))
}

// The bits of a limit's kind.
const (
	adapts = 8
	learns = 16
)

// limit writes a limit as it is stored in a key's value: tag, kind, units, time.
func (w *writer) limit(l *limiter.StoreLimit) {
	tag := storecodec.Name(l.Name)
	tag = (tag ^ tag>>48) & (1<<48 - 1)
	*w = append(*w, byte(tag), byte(tag>>8), byte(tag>>16), byte(tag>>24), byte(tag>>32), byte(tag>>40))
	kind := byte(l.Kind)
	if l.Adapt {
		kind |= adapts
	}
	if l.Learn {
		kind |= learns
	}
	w.byte(kind)
	w.units(l.Units)
	w.span(max(l.Time, time.Microsecond), true)
}

// cause writes a cause without its time; nothing for the zero Cause. Write it last, or write
// its size before it.
func (w *writer) cause(c *limiter.Cause) { *w = storecodec.AppendCause(*w, c) }

// reader reads the answer of a script. If the answer is too short, it reads zeros and sets bad.
type reader struct {
	s   string
	bad bool
}

func (r *reader) next(n int) string {
	if len(r.s) < n {
		r.s, r.bad = "", true
		return "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"[:n]
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *reader) byte() byte { return r.next(1)[0] }

func (r *reader) short() int {
	s := r.next(2)
	return int(s[0]) | int(s[1])<<8
}

func (r *reader) number() float64 {
	s := r.next(8)
	bits := uint64(0)
	for i := range 8 {
		bits |= uint64(s[i]) << (8 * i)
	}
	return math.Float64frombits(bits)
}

func (r *reader) span() time.Duration {
	return min(time.Duration(r.number()), time.Duration(storecodec.Longest)) * time.Microsecond
}

func (r *reader) time() time.Time { return time.UnixMicro(int64(r.number())) }

// cause reads the rest of the answer: a time and a cause, or nothing.
func (r *reader) cause() (c limiter.Cause) {
	if r.s == "" {
		return c
	}
	at := r.time()
	c, ok := storecodec.Cause(r.s)
	c.At, r.bad = at, r.bad || !ok
	return c
}

var errAnswer = errors.New("redislimit: the answer of the script is not understood")
