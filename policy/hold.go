package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a machine without time zones must not read a policy otherwise

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Hold is a limit that a rule closes, and for how long. Without For and Until that
// is until the wait is over: as long as the server asked or the rule waits, else
// by the schedule of the key's refusals.
type Hold struct {
	Limit int           // index into Limits
	For   time.Duration // 0 = not for a fixed time
	Until Daily         // the zero value = not until a time of day
}

// Daily is a time of day in a zone. The zero value is none.
type Daily struct {
	hour, minute int
	zone         string // IANA name; "" only in the zero value

	location *time.Location
}

// IsZero reports whether d is no time of day at all.
func (d Daily) IsZero() bool { return d.zone == "" }

// String returns d as a person writes it, "00:00 America/Los_Angeles".
func (d Daily) String() string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%02d:%02d %s", d.hour, d.minute, d.zone)
}

// Next returns the first such time after now. If the clocks skip it on a day, it is the moment
// of the skip; if it comes twice on a day, it is the first.
func (d Daily) Next(now time.Time) time.Time {
	year, month, day := now.In(d.location).Date()
	for ; ; day++ {
		if at := d.on(year, month, day); at.After(now) {
			return at
		}
	}
}

// on returns the moment of d on a day.
func (d Daily) on(year int, month time.Month, day int) time.Time {
	wall := time.Date(year, month, day, d.hour, d.minute, 0, 0, time.UTC)
	with := func(near time.Duration) (at time.Time, right bool) {
		_, offset := wall.Add(near).In(d.location).Zone()
		at = wall.Add(-time.Duration(offset) * time.Second).In(d.location)
		_, is := at.Zone()
		return at, is == offset
	}
	before, ok := with(-24 * time.Hour)
	if ok {
		return before
	}
	if after, ok := with(24 * time.Hour); ok {
		return after
	}
	skipped, _ := before.ZoneBounds() // no clock ever shows it on that day
	return skipped
}

var daily = regexp.MustCompile(dailyPattern)

func readDaily(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if in.Tag != "!!str" || !daily.MatchString(in.Text) {
		return nil, yamlfile.Bad("bad-time", `hours and minutes, in quotes: "00:00", "23:30"`, "%q is not a time of day", yamlfile.Cut(in.Text))
	}
	return in.Text, nil
}

// zones keeps the zones that were asked for, by name, since a policy is compiled anew at each
// reload.
var zones sync.Map

func zone(name string) (*time.Location, error) {
	if l, ok := zones.Load(name); ok {
		return l.(*time.Location), nil
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	zones.Store(name, l)
	return l, nil
}

func readZone(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if _, err := zone(in.Text); err != nil || strings.EqualFold(in.Text, "local") {
		return nil, yamlfile.Bad("unknown-zone", "an IANA name, such as America/Los_Angeles, Europe/Berlin or UTC", "%q is not a time zone", yamlfile.Cut(in.Text))
	}
	return in.Text, nil
}

// holds reads the limits that a rule closes.
func (c *compiler) holds(v *yamlfile.Value) []Hold {
	var out []Hold
	for _, h := range good(v.Items("hold")) {
		name := h.Child("limit")
		if name == nil || name.Bad {
			continue
		}
		i, ok := c.limitAt[name.Text()]
		switch {
		case !ok && !c.unread("limits"):
			names := make([]string, 0, len(c.p.Limits))
			for _, l := range c.p.Limits {
				names = append(names, l.Name)
			}
			hint := c.didYouMean(name.Text(), names, "limits")
			if len(names) == 0 && hint == "" {
				hint = fmt.Sprintf("add a section:  limits: [{name: %s, key: account}]", name.Text())
			}
			c.err(name.Span(), "unknown-limit", hint, "no limit %q to hold", name.Text())
		case ok && slices.ContainsFunc(out, func(h Hold) bool { return h.Limit == i }):
			c.err(name.Span(), "duplicate-name", "", "limit %q is given twice", name.Text())
		case ok:
			out = append(out, Hold{Limit: i, For: yamlfile.GetOr[time.Duration](h, "for", 0), Until: until(h.Child("until"))})
		}
	}
	return out
}

// until reads a time of day; the zero value = there is none, or a bad one, which was reported.
func until(v *yamlfile.Value) Daily {
	at, ok := yamlfile.Get[string](v, "daily")
	name := yamlfile.GetOr(v, "zone", "UTC")
	location, err := zone(name)
	if !ok || err != nil {
		return Daily{}
	}
	d := Daily{zone: name, location: location}
	fmt.Sscanf(at, "%d:%d", &d.hour, &d.minute)
	return d
}
