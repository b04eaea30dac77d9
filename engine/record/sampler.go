package record

import "time"

// sampler says which failures are written: of each rule the first few a minute, and then
// one in so many. The caller holds a lock.
type sampler struct {
	perMinute, oneIn int
	rules            map[[2]string]*sample
}

// maxSamples bounds how many rules are told apart. All others share one count.
const maxSamples = 10_000

// sample is what one rule has had.
type sample struct {
	minute int64 // the minute that count is about
	count  int
	beyond int // failures beyond perMinute since one was written
}

// take reports whether a failure at a time is written, and how many it stands for; 0 = itself only.
func (s *sampler) take(provider, rule string, now time.Time) (ok bool, oneIn int) {
	key := [2]string{provider, rule}
	one := s.rules[key]
	if one == nil {
		if len(s.rules) >= maxSamples {
			key = [2]string{}
			one = s.rules[key]
		}
		if one == nil {
			if s.rules == nil {
				s.rules = map[[2]string]*sample{}
			}
			one = &sample{}
			s.rules[key] = one
		}
	}
	if minute := now.Unix() / 60; minute != one.minute {
		one.minute, one.count = minute, 0
	}
	if one.count < s.perMinute {
		one.count++
		return true, 0
	}
	if s.oneIn < 0 {
		return false, 0
	}
	if one.beyond++; one.beyond < s.oneIn {
		return false, 0
	}
	one.beyond = 0
	return true, s.oneIn
}
