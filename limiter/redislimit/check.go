package redislimit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var (
	errEvicts = errors.New("redislimit: the server may drop keys when its memory is full")
	errOld    = errors.New("redislimit: the server is too old")
)

// NewOn returns a store in a server that is reached by another client than go-redis. It
// does not check the server: see [Store.Check].
func NewOn(server Server, o Options) *Store { return newStore(server, o) }

// Check checks that the server answers, is new enough and does not evict keys, and makes it
// record since when it has its data, by which a loss is noticed. [New] calls it. It is no error
// if the server does not report its version or settings. See also [Store.Warnings].
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
	if err := s.server.EvalAll(ctx, infoScript, calls); err != nil {
		return err
	}
	volatile := false
	for i := range calls {
		info := infoOf(calls[i].Answer)
		if err := info.tooOld(); err != nil {
			return err
		}
		if policy := info.evicts(); policy != "" && !s.options.AllowEviction {
			return fmt.Errorf("%w, by its maxmemory-policy %s: set it to noeviction, or Options.AllowEviction", errEvicts, policy)
		}
		volatile = volatile || info["aof_enabled"] == "0"
	}
	var warnings []string
	if volatile {
		warnings = append(warnings, "redislimit: the server has appendonly off: a restart forgets who refreshes a credential, and a refresh token that can be used once can be spent twice; set appendonly yes")
	}
	s.warnings.Store(&warnings)
	if err := s.makeEpochs(ctx); err != nil {
		return err
	}
	s.checked.Store(true)
	return nil
}

// Warnings returns what Check has found that is no error, a sentence each. An engine also
// passes them to its observer.
func (s *Store) Warnings() []string {
	if w := s.warnings.Load(); w != nil {
		return slices.Clone(*w)
	}
	return nil
}

// serverInfo is the INFO of a server. Managed servers leave out some of it, or all.
type serverInfo map[string]string

func infoOf(text string) serverInfo {
	info := serverInfo{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if name, value, found := strings.Cut(strings.TrimSpace(lines.Text()), ":"); found {
			info[name] = value
		}
	}
	return info
}

// The oldest versions that are tested: see package storetest.
const oldestRedis, oldestValkey = 7, 8

// tooOld returns an error if the server reports a version that is too old.
func (i serverInfo) tooOld() error {
	name, version, oldest := "Redis", i["redis_version"], oldestRedis
	if v := i["valkey_version"]; v != "" || i["server_name"] == "valkey" {
		name, version, oldest = "Valkey", v, oldestValkey
	}
	first, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(first); err == nil && n < oldest {
		return fmt.Errorf("%w: it is %s %s, and must be Redis %d or Valkey %d or later", errOld, name, version, oldestRedis, oldestValkey)
	}
	return nil
}

// evicts returns the policy by which the server drops keys; "" = it does not.
func (i serverInfo) evicts() string {
	if i["maxmemory"] == "0" || i["maxmemory_policy"] == "noeviction" {
		return ""
	}
	return i["maxmemory_policy"]
}
