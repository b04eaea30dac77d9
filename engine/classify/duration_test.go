package classify_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
)

// TestAs is how extract.retry_after reads what it finds.
func TestAs(t *testing.T) {
	const (
		ms = time.Millisecond
		s  = time.Second
	)
	for _, tt := range []struct {
		as, value string
		want      time.Duration
	}{
		{"s", "30", 30 * s},
		{"s", "1.5", 1500 * ms},
		{"s", "-1", 0},
		{"s", "x", 0},
		{"s", "1789156800", 30 * s}, // an epoch, whatever the policy says
		{"ms", "1500", 1500 * ms},
		{"ms", "0.5", 500 * time.Microsecond},
		{"ms", "0", 0},
		{"ms", "604800000", 7 * 24 * time.Hour},
		{"ms", "604800001", 0},
		{"ms", "9223372036854775807", 0},
		{"duration", "45s", 45 * s},
		{"duration", "1.5s", 1500 * ms},
		{"duration", "0.000000001s", 1},
		{"duration", "1m30s", 90 * s},
		{"duration", "1h 5m", 65 * time.Minute},
		{"duration", "250ms", 250 * ms},
		{"duration", "100us", 100 * time.Microsecond},
		{"duration", "5ns", 5},
		{"duration", "-45s", 0},
		{"duration", "0s", 0},
		{"duration", "45", 45 * s},
		{"duration", "30 seconds", 30 * s},
		{"duration", "30 Seconds.", 30 * s},
		{"duration", "5 minutes", 5 * time.Minute},
		{"duration", "1 hour, 5 minutes and 3 secs", time.Hour + 5*time.Minute + 3*s},
		{"duration", "299961 milliseconds", 299961 * ms},
		{"duration", "2 days", 48 * time.Hour},
		{"duration", "8 days", 0},
		{"duration", "3 fortnights", 0},
		{"duration", "PT30S", 30 * s},
		{"duration", "PT1M0.5S", 60500 * ms},
		{"duration", "P1DT1H", 25 * time.Hour},
		{"duration", "P1M", 0},
		{"duration", "P", 0},
		{"duration", "", 0},
		{"duration", "99999999999999999999h", 0},
		{"duration", "9999999999999999d", 0},
		{"time", "2026-09-11T20:00:00Z", 30 * s},
		{"time", "2026-09-11T20:00:00.500Z", 30500 * ms},
		{"time", "2026-09-11T22:00:00+02:00", 30 * s},
		{"time", "2026-09-11T22:00:00+0200", 30 * s},
		{"time", "2026-09-11T20:00:00", 30 * s},
		{"time", "2026-09-11 20:00:00Z", 30 * s},
		{"time", "2026-09-11 20:00:00", 30 * s},
		{"time", "2026-09-11 20:00:00 UTC", 30 * s},
		{"time", "2026-09-11 20:00:00 PST", 0}, // a zone of unknown offset
		{"time", "Fri, 11 Sep 2026 20:00:00 GMT", 30 * s},
		{"time", "fri, 11 sep 2026 20:00:00 gmt", 30 * s},
		{"time", "FRI, 11 SEP 2026 20:00:00 GMT", 30 * s},
		{"time", "Friday, 11-Sep-26 20:00:00 gmt", 30 * s},
		{"time", "Fri Sep 11 20:00:00 2026", 30 * s},
		{"time", "fri, 11 sep 2026 22:00:00 +0200", 30 * s},
		{"time", "fri, 11 sep 2026 20:00:00 utc", 30 * s},
		{"time", "2026-09-11T18:00:00Z", 0},
		{"time", "2026-13-11T18:00:00Z", 0},
		{"time", "2026-09-18T19:59:30Z", 7 * 24 * time.Hour},
		{"time", "2026-09-18T19:59:31Z", 0},
		{"time", "9999-12-31T23:59:59Z", 0},
		{"time", "30", 0},
		{"epoch", "1789156800", 30 * s},
		{"epoch", "1789156800.5", 30500 * ms},
		{"epoch", "1789156800500", 30500 * ms},
		{"epoch", "1789156000", 0},
		{"epoch", "1789156800000000", 0},
		{"epoch", "5", 0},
		{"epoch", "x", 0},
		{"", "30", 30 * s},
		{"", "1789156800", 30 * s},
		{"", "45s", 45 * s},
		{"", "2026-09-11T20:00:00Z", 30 * s},
		{"", "Fri, 11 Sep 2026 20:00:00 GMT", 30 * s},
		{"", "tomorrow", 0},
	} {
		p := &policy.Policy{Extract: &extract.Section{RetryAfter: []extract.Extractor{timeFrom("X-Wait", tt.as)}}}
		e := newEvent()
		classify.HTTP(p, &classify.Response{Status: 503, Header: headers("X-Wait", tt.value), Now: arrival}, e)
		if e.RetryAfter != tt.want {
			t.Errorf("given %q as %q\ngot  %v\nwant %v", tt.value, tt.as, e.RetryAfter, tt.want)
		}
	}
}

func FuzzAs(f *testing.F) {
	for _, s := range []string{"45s", "1789156800.5", "PT30S", "1 hour, 5 minutes", "2026-09-11T20:00:00.5Z", "9223372036854775807", "0.9999999999"} {
		for _, as := range []string{"s", "ms", "duration", "time", "epoch", ""} {
			f.Add(as, s)
		}
	}
	f.Fuzz(func(t *testing.T, as, value string) {
		p := &policy.Policy{Extract: &extract.Section{RetryAfter: []extract.Extractor{timeFrom("X-Wait", as)}}}
		e := newEvent()
		classify.HTTP(p, &classify.Response{Status: 503, Header: headers("X-Wait", value), Now: arrival}, e)
		checkEvent(t, value, e)
		if d, err := time.ParseDuration(value); as == "duration" && err == nil && regexp.MustCompile(`^[0-9]+(ms|s|m|h)$`).MatchString(value) {
			want := d
			if d > classify.MaxHint {
				want = 0
			}
			if e.RetryAfter != want {
				t.Errorf("given %q\ngot  %v\nwant %v", value, e.RetryAfter, want)
			}
		}
	})
}

// A pattern finds the same whether its literals are sought first or not.
func TestPatterns(t *testing.T) {
	const long = "<html><body><p>Service Unavailable. Please TRY AGAIN in 30 seconds; Backoff.</p></body></html>"
	for _, tt := range []struct{ pattern, text, want string }{
		{`(?i)try again in (\d+ \w+)`, long, "30 seconds"},
		{`try again in (\d+ \w+)`, long, ""},
		{`(?i)\b(?:retry|try again)(?: after| in) (\d+)`, long, "30"},
		{`(?i)(?:wait|back-?off)`, long, "Backoff"},
		{`(?i)SERVICE\s+unavailable`, long, "Service Unavailable"},
		{`(?:Retry|Please) (\w+)`, long, "TRY"},
		{`(?:(?i:nothing)|Please) (\w+)`, long, "TRY"},
		{`[0-9]+`, long, "30"},
		{`(?i)kelvin`, "10 \u212aelvin", "\u212aelvin"},
		{`(?i)so`, "\u017fo", "\u017fo"},
		{`(?i)é(a)`, "Éa", "a"},
		{`^$|x`, "ax", "x"},
		{`(a)|(b)`, "cb", "b"},
		{`(?:a+)(b{2,3})`, "aabb", "bb"},
		{`(x)?y`, "y", ""},
		{`.*`, "", ""},
	} {
		p := &policy.Policy{Extract: &extract.Section{
			Type:  []extract.Extractor{from("text", tt.pattern)},
			Codes: []extract.Extractor{from("text", tt.pattern)},
		}}
		e := newEvent()
		classify.HTTP(p, &classify.Response{Status: 503, Body: []byte(tt.text)}, e)
		if e.Type != tt.want || e.Code() != tt.want {
			t.Errorf("given /%s/ in %q\ngot  %q and %q\nwant %q", tt.pattern, tt.text, e.Type, e.Codes, tt.want)
		}
	}
}

// FuzzPatterns holds what is found after a look for a pattern's literals to
// what the pattern finds by itself.
func FuzzPatterns(f *testing.F) {
	f.Add(`(?i)\b(?:retry|try again)(?: after| in) (\d+)`, "Try Again in 30 s")
	f.Add(`(?i:so|ko)+x?[a-c]{2,}`, "\u017foSOab")
	f.Add(`(?:(?i:ab)|cd)e`, "ABe")
	f.Add(`a|b|c|d|e|f|g|h|i|j`, "xj")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := regexp.Compile(pattern)
		if err != nil || len(pattern) > 100 || len(text) > 1000 || re.NumSubexp() > 0 {
			return
		}
		text = "x" + text
		p := &policy.Policy{Extract: &extract.Section{Type: []extract.Extractor{from("text", pattern)}}}
		e := newEvent()
		classify.SMTP(p, &classify.Reply{Command: "DATA", Text: text, Now: arrival}, e)
		seen := e.Message
		if seen == "" {
			seen = e.Body
		}
		want := trim(re.FindString(seen))
		if e.Type != want {
			t.Errorf("given /%s/ in %q\ngot  %q\nwant %q", pattern, seen, e.Type, want)
		}
	})
}
