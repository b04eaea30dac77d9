package policy

import (
	"testing"
	"time"
)

// TestDaily holds when a limit opens that is closed until a time of day: also where
// the clocks skip that time, or show it twice, and in zones that have skipped a day.
func TestDaily(t *testing.T) {
	for _, tt := range []struct{ daily, zone, now, want string }{
		{"00:00", "UTC", "2026-03-01T12:00:00Z", "2026-03-02T00:00:00Z"},
		{"00:00", "UTC", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"},
		{"00:00", "UTC", "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"},
		{"17:30", "UTC", "2026-03-01T12:00:00Z", "2026-03-01T17:30:00Z"},
		{"00:00", "America/Los_Angeles", "2026-01-01T07:59:59Z", "2026-01-01T08:00:00Z"},
		{"00:00", "America/Los_Angeles", "2026-01-01T08:00:00Z", "2026-01-02T08:00:00Z"},
		// The day has 23 hours, then 25.
		{"00:00", "America/Los_Angeles", "2026-03-08T08:00:00Z", "2026-03-09T07:00:00Z"},
		{"00:00", "America/Los_Angeles", "2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z"},
		// 02:30 is skipped: the clocks go from 02:00 to 03:00 at 10:00Z.
		{"02:30", "America/Los_Angeles", "2026-03-08T08:00:00Z", "2026-03-08T10:00:00Z"},
		// 01:30 comes twice.
		{"01:30", "America/Los_Angeles", "2026-11-01T07:00:00Z", "2026-11-01T08:30:00Z"},
		{"01:30", "America/Los_Angeles", "2026-11-01T08:30:00Z", "2026-11-02T09:30:00Z"},
		// Midnight is skipped: the day begins at 01:00.
		{"00:00", "Africa/Cairo", "2026-04-23T20:00:00Z", "2026-04-23T22:00:00Z"},
		{"00:00", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z"},
		{"00:00", "Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-28T22:00:00Z"},
		// Midnight comes twice.
		{"00:00", "America/Havana", "2026-10-31T12:00:00Z", "2026-11-01T04:00:00Z"},
		// Samoa had no 30 December 2011.
		{"00:00", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-30T10:00:00Z"},
		{"00:00", "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"00:00", "Asia/Kolkata", "2026-06-01T00:00:00Z", "2026-06-01T18:30:00Z"},
	} {
		location, err := zone(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse("15:04", tt.daily)
		if err != nil {
			t.Fatal(err)
		}
		now, err := time.Parse(time.RFC3339, tt.now)
		if err != nil {
			t.Fatal(err)
		}
		d := Daily{hour: at.Hour(), minute: at.Minute(), zone: tt.zone, location: location}
		if got := d.Next(now).UTC().Format(time.RFC3339); got != tt.want {
			t.Errorf("given %s at %s\ngot  %s\nwant %s", d, tt.now, got, tt.want)
		}
	}
}

// TestDailyComesEachDay holds, for every hour of four years, that the next time is
// after now and at most two days away.
func TestDailyComesEachDay(t *testing.T) {
	for _, name := range []string{"America/Los_Angeles", "Africa/Cairo", "Australia/Lord_Howe", "Asia/Beirut", "UTC"} {
		location, err := zone(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, hour := range []int{0, 2} {
			d := Daily{hour: hour, minute: 15 * hour, zone: name, location: location}
			for now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); now.Year() < 2028; now = now.Add(time.Hour) {
				if rest := d.Next(now).Sub(now); rest <= 0 || rest > 26*time.Hour {
					t.Fatalf("given %s at %s\ngot  after %v", d, now, rest)
				}
			}
		}
	}
}

// TestVersionOfHolds holds that the version of a policy changes with its holds, and with nothing else.
func TestVersionOfHolds(t *testing.T) {
	version := func(hold string) string {
		src := "version: 1\nprovider: a\ndefault: fail\nlimits: [{name: x, key: account}]\nrules:\n  - {name: r, when: status == 429, action: fail, hold: " + hold + "}\n"
		set, ds := Load([]File{{Name: "a.yaml", Data: []byte(src)}}, LoadOptions{})
		if set == nil {
			t.Fatal(ds)
		}
		p, _ := set.Policy("a")
		return p.Version
	}
	seen := map[string]string{}
	for _, tt := range []struct{ hold, same string }{
		{"x", "[x]"},
		{"{limit: x, for: 1h}", "{limit: x, for: 60m}"},
		{"{limit: x, for: 2h}", "{for: 2h, limit: x}"},
		{`{limit: x, until: {daily: "00:00"}}`, `{limit:  x, until: {daily: "00:00"}}`},
		{`{limit: x, until: {daily: "00:01"}}`, `{until: {daily: "00:01"}, limit: x}`},
		{`{limit: x, until: {daily: "00:00", zone: Europe/Berlin}}`, `{limit: x, until: {zone: Europe/Berlin, daily: "00:00"}}`},
	} {
		v := version(tt.hold)
		if other, known := seen[v]; known {
			t.Errorf("%s and %s have one version", tt.hold, other)
		}
		if again := version(tt.same); again != v {
			t.Errorf("%s has version %s, %s has %s; want the same", tt.hold, v, tt.same, again)
		}
		seen[v] = tt.hold
	}
}
