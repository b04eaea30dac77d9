package units

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for _, c := range []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"30s", 30 * time.Second, true},
		{"1.5s", 1500 * time.Millisecond, true},
		{"0s", 0, true},
		{"1h30m", 90 * time.Minute, true},
		{"7d", 168 * time.Hour, true},
		{"250ms", 250 * time.Millisecond, true},
		{"366d", 366 * 24 * time.Hour, true},
		{"367d", 0, false},
		{"", 0, false},
		{"30", 0, false},
		{"s", 0, false},
		{"-5s", 0, false},
		{"1 s", 0, false},
		{"1min", 0, false},
		{"1..5s", 0, false},
		{"99999999999999999999999d", 0, false},
	} {
		got, err := ParseDuration(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v, ok %t", c.in, got, err, c.want, c.ok)
		}
	}
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		in   string
		want float64
		ok   bool
	}{
		{"250/s", 250, true},
		{"0.5/s", 0.5, true},
		{"120/m", 2, true},
		{"600/10m", 1, true},
		{"1_000/s", 1000, true},
		{"7200/1h", 2, true},
		{"250", 0, false},
		{"/s", 0, false},
		{"250/", 0, false},
		{"250/0s", 0, false},
		{"-1/s", 0, false},
		{"0/s", 0, false},
		{"NaN/s", 0, false},
		{"Inf/s", 0, false},
		{"250/sec", 0, false},
	} {
		got, err := ParseRate(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseRate(%q) = %v, %v, want %v, ok %t", c.in, got, err, c.want, c.ok)
		}
	}
}

func TestParseQuota(t *testing.T) {
	for _, c := range []struct {
		in     string
		n      int64
		window time.Duration
		bytes  bool
		ok     bool
	}{
		{"15000/1m", 15000, time.Minute, false, true},
		{"1_200_000/m", 1200000, time.Minute, false, true},
		{"150MB/5m", 150_000_000, 5 * time.Minute, true, true},
		{"1GiB/1d", 1 << 30, 24 * time.Hour, true, true},
		{"0/1m", 0, 0, false, false},
		{"1.5/1m", 0, 0, false, false},
		{"010/1m", 0, 0, false, false},
		{"15000", 0, 0, false, false},
		{"15000/", 0, 0, false, false},
	} {
		n, window, bytes, err := ParseQuota(c.in)
		if (err == nil) != c.ok || n != c.n || window != c.window || bytes != c.bytes {
			t.Errorf("ParseQuota(%q) = %d, %v, %t, %v, want %d, %v, %t, ok %t", c.in, n, window, bytes, err, c.n, c.window, c.bytes, c.ok)
		}
	}
}

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"4096", 4096, true},
		{"64KiB", 65536, true},
		{"1MiB", 1 << 20, true},
		{"4MB", 4_000_000, true},
		{"64K", 0, false},
		{"-1", 0, false},
		{"KiB", 0, false},
		{"99999999999GiB", 0, false},
	} {
		got, err := ParseSize(c.in)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d, ok %t", c.in, got, err, c.want, c.ok)
		}
	}
}
