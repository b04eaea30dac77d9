//go:build unix

package redislimit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
)

// A server that says that it is too old is refused. One that says nothing is not.
func TestVersions(t *testing.T) {
	for _, c := range []struct {
		name, info string
		old        bool
	}{
		{"Redis 6", "redis_version:6.2.14\r\nredis_mode:standalone\r\n", true},
		{"Redis 7.0", "# Server\r\nredis_version:7.0.15\r\n", false},
		{"Redis 10", "redis_version:10.0.0\r\n", false},
		{"Valkey 7.2", "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:7.2.8\r\n", true},
		{"Valkey 8", "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", false},
		{"Valkey that hides its version", "redis_version:7.2.4\r\nserver_name:valkey\r\n", false},
		{"another text", "redis_version:unknown\r\n", false},
		{"nothing", "", false},
	} {
		err := infoOf(c.info).tooOld()
		if (err != nil) != c.old || c.old && (!errors.Is(err, errOld) || !strings.Contains(err.Error(), "must be Redis 7 or Valkey 8 or later")) {
			t.Errorf("%s: got error %v, want one: %v", c.name, err, c.old)
		}
	}
}

// What is no error is told by Warnings, and with each renewal.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		hide bool   // what it tells of itself
		want string // in the only warning; "" = none
	}{
		{"not appendonly", []string{"--appendonly", "no"}, false, "set appendonly yes"},
		{"appendonly", []string{"--appendonly", "yes"}, false, ""},
		{"tells nothing", []string{"--appendonly", "no"}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t, "redis-server", c.args...)
			if c.hide {
				if err := connect(t, server.Addr).Do(t.Context(), "ACL", "SETUSER", "default", "-info").Err(); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, server.Addr, Options{})
			a, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: limiter.StoreID{1}, Expiry: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range [][]string{s.Warnings(), a.Warnings} {
				if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
					t.Errorf("got warnings %q, want %q", got, c.want)
				}
			}
		})
	}
}

// Processes whose prefix or secret differs are told so, unless they say that they are apart.
func TestFleets(t *testing.T) {
	server := redistest.Start(t, "redis-server", "--appendonly", "yes")
	renew := func(s *Store) []string {
		t.Helper()
		s.fleets.asked = time.Time{}
		a, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: limiter.StoreID{1}, Expiry: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return a.Warnings
	}
	first := open(t, server.Addr, Options{Secret: "s"})
	if got := renew(first); len(got) != 0 {
		t.Fatalf("the only process: got warnings %q, want none", got)
	}
	for _, c := range []struct {
		name    string
		options Options
		want    []string // in the warnings of both, in their order
	}{
		{"the same", Options{Secret: "s"}, nil},
		{"another fleet", Options{Secret: "t", Prefix: "apart:", Fleet: "apart"}, nil},
		{"another secret", Options{Secret: "t"}, []string{"Options.Secret"}},
		{"another prefix as well", Options{Secret: "s", Prefix: "other:"}, []string{"Options.Prefix", "Options.Secret"}},
	} {
		renew(open(t, server.Addr, c.options))
		got := renew(first)
		if len(got) != len(c.want) {
			t.Errorf("%s: got warnings %q, want %q in them", c.name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: got warning %q, want %q in it", c.name, got[i], c.want[i])
			}
		}
	}
}
