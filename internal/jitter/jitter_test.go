package jitter

import (
	"regexp"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	pattern := regexp.MustCompile(Pattern)
	for _, tt := range []struct {
		given Kind
		add   time.Duration
		share float64
		fits  bool // the pattern
	}{
		{None, 0, 0, true},
		{Equal, 0, 0, true},
		{Full, 0, 0, true},
		{Decorrelated, 0, 0, true},
		{"+1s", time.Second, 0, true},
		{"+1m30s", 90 * time.Second, 0, true},
		{"25%", 0, 0.25, true},
		{"100%", 0, 1, true},
		{"0%", 0, 0, true}, // the pattern cannot say that it is above 0
		{"101%", 0, 0, true},
		{"-5%", 0, 0, false},
		{"NaN%", 0, 0, false},
		{"+", 0, 0, false},
		{"1s", 0, 0, false},
		{"", 0, 0, false},
	} {
		add, share := tt.given.Spread()
		if fits := pattern.MatchString(string(tt.given)); add != tt.add || share != tt.share || fits != tt.fits {
			t.Errorf("given %q\ngot  %v, %v, fits %v\nwant %v, %v, fits %v", tt.given, add, share, fits, tt.add, tt.share, tt.fits)
		}
	}
}
