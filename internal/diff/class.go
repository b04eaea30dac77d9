package diff

import (
	"fmt"
	"slices"
	"strings"
)

// Class says what a change of a decision does to users. A smaller value is worse.
type Class int

// The classes, the worst first.
const (
	Repeat    Class = iota // a request that may have been carried out is sent again
	GiveUp                 // a call is given up that was repeated, delayed or accepted before
	NeedsUser              // a person is asked to act
	Early                  // a call comes back earlier than the server asked it to
	HoldLost               // a limit is no longer closed, or for a shorter time
	Swallow                // a failure counts as a success
	Uncertain              // nobody can tell: a fact that the decision depends on was not recorded
	Label                  // a call fails with another label
	GoOn                   // a call that failed is repeated
	Delay                  // a call waits longer or shorter, or has more or fewer attempts
	HoldMore               // a limit is now closed, or for a longer time
	OtherRule              // nothing changes for users: another rule says the same
)

// classes are the names of the classes, and what they mean in a sentence about several cases.
var classes = [...]struct{ name, means string }{
	Repeat:    {"repeat", "sent again although it may have been carried out already"},
	GiveUp:    {"give-up", "given up instead of going on"},
	NeedsUser: {"needs-user", "a person is asked to act"},
	Early:     {"early", "back earlier than the server asked"},
	HoldLost:  {"hold-lost", "others are no longer kept back, or for a shorter time"},
	Swallow:   {"accept", "a failure counts as a success"},
	Uncertain: {"unknown", "nobody knows: what decides was not recorded"},
	Label:     {"label", "fails with another label"},
	GoOn:      {"go-on", "goes on instead of failing, or does it otherwise"},
	Delay:     {"delay", "waits longer or shorter, or tries more or fewer times"},
	HoldMore:  {"hold-more", "others are kept back too, or for longer"},
	OtherRule: {"rule", "another rule says the same"},
}

// String returns the class's name.
func (c Class) String() string { return classes[c].name }

// Means returns a phrase that says what happens to the cases of the class.
func (c Class) Means() string { return classes[c].means }

// Harmless reports whether users are none the worse for such a change.
func (c Class) Harmless() bool { return c > Uncertain }

// MarshalText returns the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ClassNames returns the names of all classes, the worst first.
func ClassNames() []string {
	var names []string
	for _, c := range classes {
		names = append(names, c.name)
	}
	return names
}

// ClassOf returns the class of that name. The error lists all names.
func ClassOf(name string) (Class, error) {
	i := slices.IndexFunc(classes[:], func(c struct{ name, means string }) bool { return c.name == name })
	if i < 0 {
		return 0, fmt.Errorf("want one of %s, got %q", strings.Join(ClassNames(), ", "), name)
	}
	return Class(i), nil
}
