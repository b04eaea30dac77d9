package redislimit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

var errEvicts = errors.New("redislimit: the server may drop keys when its memory is full")

// NewOn returns a store in a server that is reached in another way than by go-redis. It
// does not check that server: see [Store.Check].
func NewOn(server Server, o Options) *Store { return newStore(server, o) }

// Check asks whether the server answers and keeps what it is given, and makes it note since when
// it knows what it knows. [New] calls it.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := s.within(ctx)
	defer cancel()
	calls := []Call{{Keys: s.epochs[:1]}}
	if s.server.Cluster() { // all servers of it
		calls = make([]Call, 256)
		for i := range calls {
			calls[i].Keys = s.epochs[i : i+1]
		}
	}
	if err := s.server.EvalAll(ctx, memoryScript, calls); err != nil {
		return err
	}
	for i := range calls {
		if policy := evicts(calls[i].Answer); policy != "" && !s.options.AllowEviction {
			return fmt.Errorf("%w, by its maxmemory-policy %s: set it to noeviction, or Options.AllowEviction", errEvicts, policy)
		}
	}
	if err := s.makeEpochs(ctx); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// evicts returns the policy by which a server drops keys, from its INFO; "" = it does not.
func evicts(info string) string {
	limit, policy := "", ""
	lines := bufio.NewScanner(strings.NewReader(info))
	for lines.Scan() {
		switch name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":"); name {
		case "maxmemory":
			limit = value
		case "maxmemory_policy":
			policy = value
		}
	}
	if limit == "0" || policy == "noeviction" {
		return ""
	}
	return policy
}
