package redislimit

import (
	"context"
	"fmt"
	"time"

	"github.com/recourse-go/recourse/limiter/internal/storekey"
)

// This file finds processes that should share limits with this one, but do not, since their
// Prefix or Secret differs. Each process writes digests of its own to a key that all share.

const (
	fleetsKey   = "recourse:fleets" // whatever the prefix
	fleetsEvery = 20 * time.Second
	fleetsFor   = 60 * time.Second
)

// otherFleets records the settings of this process in the server, and returns warnings about
// processes of the same fleet with other settings. It asks the server every fleetsEvery at
// most, and ignores errors.
func (s *Store) otherFleets(ctx context.Context) []string {
	s.fleets.mu.Lock()
	defer s.fleets.mu.Unlock()
	if now := time.Now(); s.fleets.asked.IsZero() || now.Sub(s.fleets.asked) >= fleetsEvery {
		s.fleets.asked = now
		s.fleets.warnings = s.askFleets(ctx)
	}
	return s.fleets.warnings
}

func (s *Store) askFleets(ctx context.Context) (warnings []string) {
	digest := func(k *storekey.Keys, what, of string) string {
		name := k.Key(what, of).Name
		return string(name[:8])
	}
	plain := storekey.New("")
	prefix, secret := digest(plain, "prefix", s.options.Prefix), digest(s.keys, "secret", "")
	w := writer(digest(plain, "fleet", s.options.Fleet) + prefix + secret)
	w.span(fleetsFor, true)
	call := Call{Keys: []string{fleetsKey}, Args: []string{string(w), "", s.time()}}
	if err := s.server.Eval(ctx, fleetsScript, &call); err != nil {
		return nil
	}
	otherPrefix, otherSecret := false, false
	for r := call.Answer; len(r) >= 16; r = r[16:] {
		if r[:8] != prefix {
			otherPrefix = true
		} else {
			otherSecret = otherSecret || r[8:16] != secret
		}
	}
	of := "the processes of this server"
	if s.options.Fleet != "" {
		of = fmt.Sprintf("the processes of the fleet %q", s.options.Fleet)
	}
	if otherPrefix {
		warnings = append(warnings, "redislimit: some of "+of+" have another Options.Prefix: they share no limits with this one; give all the same, or another Options.Fleet to those that are to be apart")
	}
	if otherSecret {
		warnings = append(warnings, "redislimit: some of "+of+" have another Options.Secret: they share no limits with this one; give all the same, and to those that are to be apart another Options.Prefix and Options.Fleet")
	}
	return warnings
}
