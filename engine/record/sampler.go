package record

import "time"

// sampler decides which failures are written: of each rule the first perMinute in a minute, and
// one in oneIn of the others. The caller must hold a lock.
type sampler struct {
	perMinute, oneIn int
	rules            map[[2]string]*sample
}

// maxSamples bounds how many rules have counts of their own. All others share one.
const maxSamples = 10_000

// sample holds the counts of one rule.
type sample struct {
	minute int64 // the minute to which count belongs, since the Unix epoch
	count  int   // failures written in that minute
	beyond int   // failures beyond perMinute since one was written
}

// take reports whether a failure at the time now is written, and for how many failures it
// stands; 0 = for itself only.
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
