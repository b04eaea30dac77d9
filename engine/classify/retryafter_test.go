package classify_test

import (
	"fmt"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
)

// headers makes a header of names and values in turn.
func headers(kv ...string) http.Header {
	h := make(http.Header)
	for i := 0; i+1 < len(kv); i += 2 {
		h[kv[i]] = append(h[kv[i]], kv[i+1])
	}
	return h
}

const date = "Fri, 11 Sep 2026 19:58:00 GMT"

func TestHint(t *testing.T) {
	now := time.Date(2026, 9, 11, 19, 58, 0, 0, time.UTC)
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
		want   time.Duration
		from   string
	}{
		{"nothing", nil, 503, 0, ""},
		{"seconds", headers("Retry-After", "120"), 503, 2 * time.Minute, "Retry-After"},
		{"name in lower case", headers("retry-after", "1"), 429, time.Second, "Retry-After"},
		{"name in upper case", headers("RETRY-AFTER", "10"), 429, 10 * time.Second, "Retry-After"},
		{"on a success", headers("Retry-After", "5"), 202, 5 * time.Second, "Retry-After"},
		{"on a redirect", headers("Retry-After", "5"), 302, 5 * time.Second, "Retry-After"},
		{"spaces", headers("Retry-After", "  7 "), 503, 7 * time.Second, "Retry-After"},
		{"decimal", headers("Retry-After", "0.249"), 429, 249 * time.Millisecond, "Retry-After"},
		{"decimal with many places is rounded up", headers("Retry-After", "0.0000000001"), 429, 1, "Retry-After"},
		{"zero", headers("Retry-After", "0"), 503, 0, ""},
		{"zero with a fraction", headers("Retry-After", "0.000"), 503, 0, ""},
		{"negative", headers("Retry-After", "-5"), 503, 0, ""},
		{"empty", headers("Retry-After", ""), 503, 0, ""},
		{"not a number", headers("Retry-After", "soon"), 503, 0, ""},
		{"NaN", headers("Retry-After", "NaN"), 503, 0, ""},
		{"infinity", headers("Retry-After", "Inf"), 503, 0, ""},
		{"exponent", headers("Retry-After", "1e3"), 503, 0, ""},
		{"hexadecimal", headers("Retry-After", "0x10"), 503, 0, ""},
		{"two points", headers("Retry-After", "1.2.3"), 503, 0, ""},
		{"a length with its unit", headers("Retry-After", "30s"), 503, 30 * time.Second, "Retry-After"},
		{"7 days", headers("Retry-After", "604800"), 503, 7 * 24 * time.Hour, "Retry-After"},
		{"above 7 days", headers("Retry-After", "604801"), 503, 0, "Retry-After"},
		{"overflow", headers("Retry-After", "99999999999999999999999999"), 503, 0, "Retry-After"},
		{"largest int64", headers("Retry-After", fmt.Sprint(math.MaxInt64)), 503, 0, "Retry-After"},
		{"just not an epoch", headers("Retry-After", "999999999"), 503, 0, "Retry-After"},

		{"HTTP-date against Date", headers("Retry-After", "Fri, 11 Sep 2026 20:00:00 GMT", "Date", date), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date, the server's clock is an hour late", headers("Retry-After", "Fri, 11 Sep 2026 19:00:00 GMT", "Date", "Fri, 11 Sep 2026 18:58:00 GMT"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date without Date", headers("Retry-After", "Fri, 11 Sep 2026 20:00:00 GMT"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date with a Date that cannot be read", headers("Retry-After", "Fri, 11 Sep 2026 20:00:00 GMT", "Date", "now"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date of RFC 850", headers("Retry-After", "Friday, 11-Sep-26 20:00:00 GMT"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date of asctime", headers("Retry-After", "Fri Sep 11 20:00:00 2026"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date in lower case", headers("Retry-After", "fri, 11 sep 2026 20:00:00 gmt", "Date", date), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date with a day of one digit", headers("Retry-After", "Sun, 6 Sep 2026 20:00:00 GMT", "Date", "Sun, 6 Sep 2026 19:58:00 GMT"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date of RFC 850 with a day of one digit", headers("Retry-After", "sunday, 6-sep-26 20:00:00 gmt", "Date", "Sun, 06 Sep 2026 19:58:00 GMT"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date with UTC", headers("Retry-After", "Fri, 11 Sep 2026 20:00:00 UTC"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date with an offset", headers("Retry-After", "Fri, 11 Sep 2026 22:00:00 +0200"), 503, 2 * time.Minute, "Retry-After"},
		{"RFC 3339", headers("Retry-After", "2026-09-11T20:00:00Z"), 503, 2 * time.Minute, "Retry-After"},
		{"HTTP-date past", headers("Retry-After", "Fri, 11 Sep 2026 19:57:59 GMT"), 503, 0, ""},
		{"HTTP-date now", headers("Retry-After", date, "Date", date), 503, 0, ""},
		{"HTTP-date in the year 9999", headers("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), 503, 0, "Retry-After"},
		{"epoch seconds", headers("Retry-After", fmt.Sprint(now.Unix()+90)), 429, 90 * time.Second, "Retry-After"},
		{"epoch seconds against Date", headers("Retry-After", fmt.Sprint(now.Unix()-3600+90), "Date", "Fri, 11 Sep 2026 18:58:00 GMT"), 429, 90 * time.Second, "Retry-After"},
		{"epoch milliseconds", headers("Retry-After", fmt.Sprint(now.UnixMilli()+90_500)), 429, 90500 * time.Millisecond, "Retry-After"},
		{"epoch past", headers("Retry-After", fmt.Sprint(now.Unix()-1)), 429, 0, ""},

		{"several lines: the longest", headers("Retry-After", "5", "Retry-After", "60", "Retry-After", "7"), 503, time.Minute, "Retry-After"},
		{"a list: the longest", headers("Retry-After", "5, 60,7"), 503, time.Minute, "Retry-After"},
		{"seconds and a date: the longest", headers("Retry-After", "5, Fri, 11 Sep 2026 20:00:00 GMT, 7"), 503, 2 * time.Minute, "Retry-After"},
		{"several, one not readable", headers("Retry-After", "x, 60"), 503, time.Minute, "Retry-After"},
		{"several, one too long", headers("Retry-After", "9999999, 60"), 503, time.Minute, "Retry-After"},

		{"milliseconds", headers("retry-after-ms", "1500"), 503, 1500 * time.Millisecond, "retry-after-ms"},
		{"Azure's milliseconds", headers("x-ms-retry-after-ms", "2500"), 503, 2500 * time.Millisecond, "x-ms-retry-after-ms"},
		{"milliseconds refine seconds rounded up", headers("retry-after-ms", "1500", "Retry-After", "2"), 503, 1500 * time.Millisecond, "retry-after-ms"},
		{"milliseconds refine seconds rounded down", headers("retry-after-ms", "1500", "Retry-After", "1"), 503, 1500 * time.Millisecond, "retry-after-ms"},
		{"milliseconds of another wait do not shorten it", headers("retry-after-ms", "50", "Retry-After", "120"), 503, 2 * time.Minute, "Retry-After"},
		{"seconds of another wait do not shorten it", headers("retry-after-ms", "60000", "Retry-After", "2"), 503, time.Minute, "retry-after-ms"},
		{"milliseconds zero", headers("retry-after-ms", "0", "Retry-After", "2"), 503, 2 * time.Second, "Retry-After"},
		{"milliseconds negative", headers("retry-after-ms", "-1", "Retry-After", "2"), 503, 2 * time.Second, "Retry-After"},
		{"milliseconds decimal", headers("retry-after-ms", "12.5"), 503, 12500 * time.Microsecond, "retry-after-ms"},
		{"milliseconds too long", headers("retry-after-ms", "604800001"), 503, 0, "retry-after-ms"},

		{"RateLimit", headers("RateLimit", `"default";r=0;t=30`), 429, 30 * time.Second, "RateLimit"},
		{"RateLimit, nothing remains, other status", headers("RateLimit", `"default";r=0;t=30`), 503, 30 * time.Second, "RateLimit"},
		{"RateLimit, something remains", headers("RateLimit", `"default";r=50;t=30`), 503, 0, ""},
		{"RateLimit, something remains, 429", headers("RateLimit", `"default";r=50;t=30`), 429, 30 * time.Second, "RateLimit"},
		{"RateLimit with a token and l", headers("RateLimit", `default;l=100;r=0;t=12`), 503, 12 * time.Second, "RateLimit"},
		{"RateLimit, the exhausted of several", headers("RateLimit", `"burst";r=0;t=5, "daily";r=900;t=80000`), 429, 5 * time.Second, "RateLimit"},
		{"RateLimit, the longest of the exhausted", headers("RateLimit", `"burst";r=0;t=5, "daily";r=0;t=80000`), 429, 80000 * time.Second, "RateLimit"},
		{"RateLimit in several lines", headers("RateLimit", `"a";r=0;t=5`, "RateLimit", `"b";r=0;t=9`), 429, 9 * time.Second, "RateLimit"},
		{"RateLimit, quoted separators", headers("RateLimit", `"a;t=1,b";r=0;t=5;pk=:dHN0:`), 429, 5 * time.Second, "RateLimit"},
		{"RateLimit of draft 07", headers("RateLimit", `limit=100, remaining=0, reset=50`), 403, 50 * time.Second, "RateLimit"},
		{"RateLimit of draft 07, something remains", headers("RateLimit", `limit=100, remaining=1, reset=50`), 403, 0, ""},
		{"RateLimit without t", headers("RateLimit", `"default";r=0`), 429, 0, ""},
		{"RateLimit t=0", headers("RateLimit", `"default";r=0;t=0`), 429, 0, ""},
		{"RateLimit malformed is ignored whole", headers("RateLimit", `"a";r=0;t=30, "b";r=0;t=-5`), 429, 0, ""},
		{"RateLimit with an open quote", headers("RateLimit", `"a;r=0;t=30`), 429, 0, ""},
		{"RateLimit with a decimal", headers("RateLimit", `"a";r=0;t=30.5`), 429, 0, ""},
		{"RateLimit overflow", headers("RateLimit", `"a";r=0;t=9999999999999999`), 429, 0, ""},
		{"RateLimit above 7 days", headers("RateLimit", `"a";r=0;t=604801`), 429, 0, "RateLimit"},
		{"Retry-After wins over RateLimit", headers("Retry-After", "5", "RateLimit", `"a";r=0;t=30`), 429, 5 * time.Second, "Retry-After"},
		{"Retry-After: 0 is as if absent", headers("Retry-After", "0", "RateLimit", `"a";r=0;t=30`), 429, 30 * time.Second, "RateLimit"},

		{"RateLimit-Reset", headers("RateLimit-Limit", "100", "RateLimit-Remaining", "0", "RateLimit-Reset", "50"), 403, 50 * time.Second, "RateLimit-Reset"},
		{"RateLimit-Reset, something remains", headers("RateLimit-Remaining", "3", "RateLimit-Reset", "50"), 503, 0, ""},
		{"RateLimit-Reset, something remains, 429", headers("RateLimit-Remaining", "3", "RateLimit-Reset", "50"), 429, 50 * time.Second, "RateLimit-Reset"},
		{"RateLimit-Reset, remainder unknown", headers("RateLimit-Reset", "50"), 503, 0, ""},
		{"RateLimit-Reset, remainder unknown, 429", headers("RateLimit-Reset", "50"), 429, 50 * time.Second, "RateLimit-Reset"},
		{"RateLimit wins over RateLimit-Reset", headers("RateLimit", `"a";r=0;t=30`, "RateLimit-Reset", "50"), 429, 30 * time.Second, "RateLimit"},
		{"X-RateLimit-Reset, epoch", headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(now.Unix()+1247)), 403, 1247 * time.Second, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset, epoch against Date", headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1372700873", "Date", "Mon, 01 Jul 2013 17:27:06 GMT"), 429, 1247 * time.Second, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset, delta", headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "2513"), 429, 2513 * time.Second, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset, decimal delta", headers("X-RateLimit-Reset", "1.25"), 429, 1250 * time.Millisecond, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset, milliseconds", headers("X-RateLimit-Reset", fmt.Sprint(now.UnixMilli()+1500)), 429, 1500 * time.Millisecond, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset, past", headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(now.Unix()-300)), 429, 0, ""},
		{"X-RateLimit-Reset, something remains", headers("X-RateLimit-Remaining", "10", "X-RateLimit-Reset", "60"), 500, 0, ""},
		{"X-RateLimit-Reset, a date", headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "2026-09-11T19:59:00Z"), 403, time.Minute, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset, of several the exhausted", headers("X-RateLimit-Remaining", "0, 14000", "X-RateLimit-Reset", "1, 2400000"), 429, time.Second, "X-RateLimit-Reset"},
		{"X-RateLimit-Reset above 7 days", headers("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "604801"), 429, 0, "X-RateLimit-Reset"},
		{"X-Rate-Limit-Reset", headers("x-rate-limit-remaining", "0", "x-rate-limit-reset", "30"), 429, 30 * time.Second, "X-Rate-Limit-Reset"},
		{"Rate-Limit-Reset", headers("Rate-Limit-Remaining", "0", "Rate-Limit-Reset", "2026-09-11T19:58:30Z"), 429, 30 * time.Second, "Rate-Limit-Reset"},
		{"Retry-After wins over X-RateLimit-Reset", headers("Retry-After", "5", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "60"), 403, 5 * time.Second, "Retry-After"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, from := classify.Hint(tt.header, tt.status, now)
			if got != tt.want || from != tt.from {
				t.Errorf("given %d %v\ngot  %v from %q\nwant %v from %q", tt.status, tt.header, got, from, tt.want, tt.from)
			}
			// What is read is what is traced.
			rep := classify.HTTP(nil, &classify.Response{Status: tt.status, Header: tt.header, Now: now, Trace: new(classify.Trace)}, newEvent())
			if (rep.TooLong > 0) != (tt.want == 0 && tt.from != "") && tt.name != "several, one too long" {
				t.Errorf("given %d %v\ngot  report %+v\nwant one iff the wait is too long", tt.status, tt.header, rep)
			}
			if tt.want > 0 && rep.TooLong == 0 && rep.From != "" {
				t.Errorf("given %v got report %+v", tt.header, rep)
			}
		})
	}
}

// A zero now means the current time.
func TestHintNow(t *testing.T) {
	at := time.Now().Add(time.Hour)
	got, _ := classify.Hint(headers("Retry-After", at.UTC().Format(http.TimeFormat)), 503, time.Time{})
	if got < 59*time.Minute || got > time.Hour {
		t.Errorf("given a date one hour from now\ngot  %v\nwant about 1h", got)
	}
}

// The hint of an event is the larger of the headers' and the policy's.
func TestHintLarger(t *testing.T) {
	for _, tt := range []struct {
		name, header, message string
		want                  time.Duration
	}{
		{"only the body", "", "Retry after 2026-09-11T20:00:00Z", 30 * time.Second},
		{"header longer", "45", "Retry after 2026-09-11T20:00:00Z", 45 * time.Second},
		{"body longer", "5", "Retry after 2026-09-11T20:00:00Z", 30 * time.Second},
		{"body past", "5", "Retry after 2026-09-11T18:00:00Z", 5 * time.Second},
		{"body too long", "5", "Retry after 2027-09-11T18:00:00Z", 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEvent()
			rep := classify.HTTP(google, &classify.Response{Status: 429, Header: headers("Retry-After", tt.header), Body: []byte(`{"error":{"message":"` + tt.message + `"}}`), Now: arrival}, e)
			if e.RetryAfter != tt.want {
				t.Errorf("given %q %q\ngot  %v\nwant %v", tt.header, tt.message, e.RetryAfter, tt.want)
			}
			if got := rep.TooLong > 0; got != (tt.name == "body too long") {
				t.Errorf("given %q\ngot  report %+v", tt.message, rep)
			}
		})
	}
	// Points in time in the body are read against the response's Date too.
	e := newEvent()
	classify.HTTP(google, &classify.Response{Status: 429, Header: headers("date", "Fri, 11 Sep 2026 19:00:00 GMT"), Body: []byte(`{"error":{"message":"Retry after 2026-09-11T19:01:00Z"}}`), Now: arrival}, e)
	if e.RetryAfter != time.Minute {
		t.Errorf("given a server an hour late\ngot  %v\nwant 1m", e.RetryAfter)
	}
}

func FuzzHint(f *testing.F) {
	for _, s := range []string{"120", "0.249", "Fri, 11 Sep 2026 20:00:00 GMT", "1757620800", `"a";r=0;t=30`, "limit=1, remaining=0, reset=5", "-1", "5, Fri, 11 Sep 2026 20:00:00 GMT"} {
		for _, name := range []string{"Retry-After", "retry-after-ms", "RateLimit", "X-RateLimit-Reset", "RateLimit-Reset"} {
			f.Add(name, s, "0", date, 429)
		}
	}
	now := time.Date(2026, 9, 11, 19, 58, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, name, value, remaining, date string, status int) {
		h := headers(name, value, "X-RateLimit-Remaining", remaining, "RateLimit-Remaining", remaining, "Date", date)
		d, from := classify.Hint(h, status, now)
		if d < 0 || d > classify.MaxHint {
			t.Errorf("given %v\ngot  %v, which is no hint", h, d)
		}
		if d > 0 && from == "" {
			t.Errorf("given %v\ngot  %v from nowhere", h, d)
		}
		e := newEvent()
		var trace classify.Trace
		classify.HTTP(nil, &classify.Response{Status: status, Header: h, Now: now, Trace: &trace}, e)
		if e.RetryAfter != d {
			t.Errorf("given %v\ngot  %v traced, %v else: %v", h, e.RetryAfter, d, trace)
		}
		// A second header of the kind never shortens the wait.
		h.Add("Retry-After", "1")
		if d2, _ := classify.Hint(h, status, now); name == "Retry-After" && d2 < d {
			t.Errorf("given %v\ngot  %v, shorter than %v", h, d2, d)
		}
	})
}
