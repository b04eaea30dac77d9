package suite

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/units"
)

// Range is a stretch of time, both ends included.
type Range struct {
	Least, Most time.Duration
}

// Holds reports whether the range contains all of the times from least to most. It
// allows a microsecond more at either end.
func (r Range) Holds(least, most time.Duration) bool {
	const slack = time.Microsecond
	return least+slack >= r.Least && most-slack <= r.Most
}

// String returns the range as a suite writes it.
func (r Range) String() string {
	least, most := units.FormatDuration(r.Least), units.FormatDuration(r.Most)
	switch {
	case least == most:
		return least
	case r.Most == math.MaxInt64:
		return least + ".."
	case r.Least == 0:
		return ".." + most
	}
	return least + ".." + most
}

// ParseRange reads a range of times: "7s", "7s..9s", "7s..", "..9s" or "0s".
func ParseRange(s string) (Range, error) {
	low, high, two := strings.Cut(s, "..")
	r := Range{Most: math.MaxInt64}
	var err error
	if low = strings.TrimSpace(low); low != "" {
		if r.Least, err = units.ParseDuration(low); err != nil {
			return Range{}, err
		}
	}
	if !two {
		r.Most = r.Least
		if low == "" {
			err = fmt.Errorf("suite: empty range")
		}
		return r, err
	}
	if high = strings.TrimSpace(high); high != "" {
		if r.Most, err = units.ParseDuration(high); err != nil {
			return Range{}, err
		}
	}
	if low == "" && high == "" || r.Least > r.Most {
		return Range{}, fmt.Errorf("suite: %q is not a range", s)
	}
	return r, nil
}
