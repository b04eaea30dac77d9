package storekey

import (
	"strconv"
	"testing"

	"github.com/recourse-go/recourse/limiter"
)

// Keys that differ in anything have different names, and the same one has the same.
func TestKey(t *testing.T) {
	type named struct{ secret, place, name string }
	seen := map[limiter.StoreKey]named{}
	for _, n := range []named{
		{"", "", ""},
		{"", "a", ""},
		{"", "", "a"},
		{"", "a", "b"},
		{"", "ab", ""},
		{"", "", "ab"},
		{"", "a", "n"},
		{"", "an", ""},
		{"s", "", ""},
		{"s", "a", "b"},
		{"t", "a", "b"},
	} {
		got := New(n.secret).Key(n.place, n.name)
		if other, found := seen[got]; found {
			t.Errorf("%+v and %+v: got one name, want two", n, other)
		}
		seen[got] = n
		if again := New(n.secret).Key(n.place, n.name); again != got {
			t.Errorf("%+v: got %x, then %x, want the same", n, got, again)
		}
	}
}

// Keys of one place have the same place, whatever their name.
func TestPlace(t *testing.T) {
	k := New("s")
	a, b, c := k.Key("x", "1"), k.Key("x", "2"), k.Key("y", "1")
	if a.Place != b.Place || a.Name == b.Name {
		t.Errorf("two keys of one place: got %x and %x, want one place and two names", a, b)
	}
	if a.Place == c.Place || a.Name == c.Name {
		t.Errorf("one name in two places: got %x and %x, want two places and two names", a, c)
	}
}

func TestConcurrent(t *testing.T) {
	k := New("s")
	want := k.Key("a", "b")
	done := make(chan limiter.StoreKey)
	for range 8 {
		go func() {
			got := want
			for i := range 100 {
				k.Key("a", strconv.Itoa(i))
				if key := k.Key("a", "b"); key != want {
					got = key
				}
			}
			done <- got
		}()
	}
	for range 8 {
		if got := <-done; got != want {
			t.Errorf("got %x, want %x", got, want)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	for _, secret := range []string{"", "secret"} {
		b.Run("secret="+secret, func(b *testing.B) {
			k := New(secret)
			b.ReportAllocs()
			for b.Loop() {
				k.Key("user@example.com", "account=user@example.com")
			}
		})
	}
}
