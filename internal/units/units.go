// Package units reads and prints values for which YAML has no type: durations, rates,
// quotas and sizes.
package units

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// longest is the longest duration that a policy may have.
const longest = 366 * 24 * time.Hour

// ParseDuration reads a duration of a policy file: numbers with the units ms, s, m, h
// and d (24 hours), such as "1.5s", "1m30s" or "7d". The error says that it is
// something else, or above 366 days.
func ParseDuration(s string) (time.Duration, error) {
	rest, total := s, 0.0
	if s == "" {
		return 0, errors.New("empty duration")
	}
	for rest != "" {
		i := 0
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '.') {
			i++
		}
		n, err := strconv.ParseFloat(rest[:i], 64)
		if err != nil || i > 20 {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		j := i
		for j < len(rest) && rest[j] >= 'a' && rest[j] <= 'z' {
			j++
		}
		unit, ok := durationUnit(rest[i:j])
		if !ok {
			if i == j {
				return 0, fmt.Errorf("%q is a duration without a unit", s)
			}
			return 0, fmt.Errorf("unknown unit %q in duration %q", rest[i:j], s)
		}
		total += n * float64(unit)
		rest = rest[j:]
	}
	if total > float64(longest) {
		return 0, fmt.Errorf("duration %q is above 366 days", s)
	}
	return time.Duration(math.Round(total)), nil
}

func durationUnit(s string) (time.Duration, bool) {
	switch s {
	case "ms":
		return time.Millisecond, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	}
	return 0, false
}

// ParseRate reads a rate, such as "250/s", "0.5/s", "100/m" or "100/10m", as units per second.
func ParseRate(s string) (perSecond float64, err error) {
	count, per, ok := strings.Cut(s, "/")
	n, err := strconv.ParseFloat(strings.ReplaceAll(count, "_", ""), 64)
	if !ok || err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is not a rate", s)
	}
	d, err := parsePer(per)
	if err != nil {
		return 0, fmt.Errorf("%q is not a rate: %q is not a time", s, per)
	}
	if n <= 0 || n > 1e15 {
		return 0, fmt.Errorf("rate %q is not above zero", s)
	}
	return n / d.Seconds(), nil
}

// ParseQuota reads a quota, such as "15000/1m" (15000 units in each minute) or, in
// bytes, "150MB/5m". n is at least 1. bytes is true if the quota has a unit of bytes.
func ParseQuota(s string) (n int64, window time.Duration, bytes bool, err error) {
	count, per, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, false, fmt.Errorf("%q is not a quota", s)
	}
	n, bytes, err = parseSize(count)
	if err != nil {
		return 0, 0, false, fmt.Errorf("%q is not a quota: %q is not a whole number", s, count)
	}
	if window, err = parsePer(per); err != nil {
		return 0, 0, false, fmt.Errorf("%q is not a quota: %q is not a time", s, per)
	}
	if n < 1 {
		return 0, 0, false, fmt.Errorf("quota %q is not above zero", s)
	}
	return n, window, bytes, nil
}

// parsePer reads the text after the slash of a rate: a duration or only a unit.
func parsePer(s string) (time.Duration, error) {
	if u, ok := durationUnit(s); ok {
		return u, nil
	}
	d, err := ParseDuration(s)
	if err == nil && d <= 0 {
		err = errors.New("a time of zero")
	}
	return d, err
}

// ParseSize reads a size in bytes, such as "64KiB", "1MiB", "150MB" or "4096".
func ParseSize(s string) (int64, error) {
	n, _, err := parseSize(s)
	return n, err
}

func parseSize(s string) (n int64, unit bool, err error) {
	factor := int64(1)
	digits := s
	for _, u := range []struct {
		suffix string
		factor int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
	} {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, factor, unit = d, u.factor, true
			break
		}
	}
	n, ok := ParseWhole(digits)
	if !ok || n < 0 || n > (1<<53)/factor {
		return 0, false, fmt.Errorf("%q is not a size", s)
	}
	return n * factor, unit, nil
}

// ParseWhole reads a whole decimal number, which may have '_' between digits. It
// refuses a leading zero, since YAML reads 010 as eight.
func ParseWhole(s string) (int64, bool) {
	d := strings.TrimPrefix(s, "-")
	if d == "" || d[0] == '_' || d[len(d)-1] == '_' || len(d) > 1 && d[0] == '0' {
		return 0, false
	}
	for i := range len(d) {
		if (d[i] < '0' || d[i] > '9') && d[i] != '_' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	return n, err == nil
}

// FormatDuration writes a duration without needless zeros, such as "1m30s" or
// "2h", rounded to milliseconds from one second on.
func FormatDuration(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
