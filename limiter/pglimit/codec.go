package pglimit

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/recourse-go/recourse/limiter"
)

// The functions of the schema take and return arrays of numbers. Times are in microseconds.

const (
	maxUnits = int64(1) << 53
	longest  = 366 * 24 * time.Hour / time.Microsecond

	defaultLease = 10 * time.Second
	maxLease     = time.Hour
	whole        = 1_000_000
)

func units(n int64) int64 { return min(max(n, 0), maxUnits) }

// span returns a duration in microseconds, cut to ±longest. up says whether to round up.
func span(d time.Duration, up bool) int64 {
	us := d / time.Microsecond
	if up && d%time.Microsecond > 0 {
		us++
	}
	return int64(min(max(us, -longest), longest))
}

func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

func leaseOf(d time.Duration) int64 {
	if d <= 0 {
		d = defaultLease
	}
	return span(min(max(d, time.Millisecond), maxLease), true)
}

// fold returns a digest of an id that is half as long. Ids are random, so their digests are
// different too.
func fold(id limiter.StoreID) int64 {
	// The odd factor gives different digests also to ids that are not random, as in tests.
	return int64(binary.LittleEndian.Uint64(id[:8]) + binary.LittleEndian.Uint64(id[8:])*0x9E3779B97F4A7C15)
}

// nameOf returns a digest of a limit's name. It need not be secure: names come from policies,
// so nobody chooses two with the same digest on purpose.
func nameOf(name string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return int64(h.Sum64())
}

// window is a limit's Time.
func window(l *limiter.StoreLimit) int64 { return max(1, span(l.Time, true)) }

func version(v uint64) int64 { return int64(min(v, uint64(maxUnits))) }

func number(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// uuids are keys as the functions take them.
type uuids = pgtype.FlatArray[pgtype.UUID]

func uuid(b [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: b, Valid: true} }

// encodeCause returns a cause without its time, as bytes; nil for the zero Cause.
func encodeCause(c *limiter.Cause) []byte {
	if *c == (limiter.Cause{}) {
		return nil
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(c.Status))
	for _, s := range []string{c.Rule, c.Code, c.Operation} {
		s = s[:min(len(s), longestText)]
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b
}

// longestText is the most bytes of each text of a cause that are kept.
const longestText = 200

// decodeCause reads a cause that closed its limit at the given time.
func decodeCause(b []byte, at int64) (c limiter.Cause, err error) {
	if len(b) == 0 {
		return c, nil
	}
	if len(b) < 2 {
		return c, errAnswer
	}
	c.Status = int(int16(binary.LittleEndian.Uint16(b)))
	b = b[2:]
	for _, s := range []*string{&c.Rule, &c.Code, &c.Operation} {
		if len(b) < 2 {
			return limiter.Cause{}, errAnswer
		}
		n := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; len(b) < n {
			return limiter.Cause{}, errAnswer
		}
		*s, b = string(b[:n]), b[n:]
	}
	if at != 0 {
		c.At = time.UnixMicro(at)
	}
	return c, nil
}

var errAnswer = errors.New("pglimit: the answer of the server is not understood")
