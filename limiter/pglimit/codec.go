package pglimit

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storecodec"
)

// This file turns what a store is asked into what the functions of the schema take: mostly arrays of
// numbers, with times in microseconds.

const whole = 1_000_000

func units(n int64) int64 { return storecodec.Units(n) }

func version(v uint64) int64 { return storecodec.Version(v) }

func span(d time.Duration, up bool) int64 { return storecodec.Micros(d, up) }

func leaseOf(d time.Duration) int64 { return storecodec.Lease(d) }

func duration(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// fold returns a digest of an id, and nameOf one of a limit's name, as signed numbers, since
// PostgreSQL has no others.
func fold(id limiter.StoreID) int64 { return int64(storecodec.Fold(id)) }

func nameOf(name string) int64 { return int64(storecodec.Name(name)) }

// window is a limit's Time.
func window(l *limiter.StoreLimit) int64 { return max(1, span(l.Time, true)) }

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
func encodeCause(c *limiter.Cause) []byte { return storecodec.AppendCause(nil, c) }

// decodeCause reads a cause that closed its limit at the given time.
func decodeCause(b []byte, at int64) (limiter.Cause, error) {
	c, ok := storecodec.Cause(string(b))
	if !ok {
		return limiter.Cause{}, errAnswer
	}
	if len(b) > 0 && at != 0 {
		c.At = time.UnixMicro(at)
	}
	return c, nil
}

var errAnswer = errors.New("pglimit: the answer of the server is not understood")
