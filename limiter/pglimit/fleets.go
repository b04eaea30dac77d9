package pglimit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recourse-go/recourse/limiter/internal/storekey"
)

// This file finds processes that should share limits with this one, but do not, since their
// Schema or Secret differs.

const fleetsEvery = 20 * time.Second

// fleets is what is known about processes of the fleet in other schemas.
type fleets struct {
	mu    sync.Mutex
	asked time.Time
	other string // a schema in which some of the fleet are; "" = none
}

// secret is a digest of Options.Secret.
func (s *Store) secret() []byte {
	name := s.keys.Key("secret", "").Name
	return name[:8]
}

// fleet is a digest of Options.Fleet.
func (s *Store) fleet() []byte {
	name := storekey.New("").Key("fleet", s.options.Fleet).Name
	return name[:8]
}

// warnings returns a sentence about each kind of processes of the same fleet that share
// nothing with this one.
func (s *Store) warnings(ctx context.Context, otherSecret bool, now int64) (list []string) {
	s.fleets.mu.Lock()
	defer s.fleets.mu.Unlock()
	if at := time.Now(); s.fleets.asked.IsZero() || at.Sub(s.fleets.asked) >= fleetsEvery {
		s.fleets.asked, s.fleets.other = at, s.otherSchema(ctx, now)
	}
	of := "the processes of this database"
	if s.options.Fleet != "" {
		of = fmt.Sprintf("the processes of the fleet %q", s.options.Fleet)
	}
	if s.fleets.other != "" {
		list = append(list, fmt.Sprintf("pglimit: some of %s have another Options.Schema (%q): they share no limits with this one; give all the same, or another Options.Fleet to those that are to be apart", of, s.fleets.other))
	}
	if otherSecret {
		list = append(list, "pglimit: some of "+of+" have another Options.Secret: they share no limits with this one; give all the same, and to those that are to be apart another Options.Schema and Options.Fleet")
	}
	return list
}

// otherSchema returns another schema of this package that processes of the same fleet use now;
// "" if there is none, this role may not read it, or there was an error.
func (s *Store) otherSchema(ctx context.Context, now int64) string {
	rows, err := s.pool.Query(ctx, `select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relname = 'members' and n.nspname <> $1
			and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'fleet')
			and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
		order by n.nspname limit 20`, s.options.Schema)
	if err != nil {
		return ""
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return ""
	}
	for _, name := range names {
		there := false
		err := s.pool.QueryRow(ctx, "select exists (select from "+pgx.Identifier{name, "members"}.Sanitize()+" where fleet = $1 and until > $2)",
			s.fleet(), now).Scan(&there)
		if err == nil && there {
			return name
		}
	}
	return ""
}
