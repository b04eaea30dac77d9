//go:build unix

package pgtest_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/internal/testserver"
)

// query runs SQL and returns what psql prints.
func query(t *testing.T, url, sql string, patience time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	psql := testserver.Program("psql", "/usr/lib/postgresql/*/bin")
	out, err := exec.CommandContext(ctx, psql, "-X", "-q", "-A", "-t", "-d", url, "-c", sql).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestDatabasesAreApart(t *testing.T) {
	first, second := pgtest.Start(t), pgtest.Start(t)
	if out, err := query(t, first, "create table a (b int)", testserver.Patience); err != nil {
		t.Fatal(out, err)
	}
	if got, err := query(t, second, "select to_regclass('a') is null", testserver.Patience); got != "t" {
		t.Errorf("the table of another test is missing: got %q, %v, want t", got, err)
	}
}

func TestServer(t *testing.T) {
	s := pgtest.StartServer(t)
	want := func(sql, want string) {
		t.Helper()
		if got, err := query(t, s.URL, sql, testserver.Patience); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", sql, got, err, want)
		}
	}
	want("create table a (b int)", "")
	want("insert into a values (7)", "")
	s.Pause(t)
	if got, err := query(t, s.URL, "select 1", 200*time.Millisecond); err == nil {
		t.Errorf("a paused server answered %q", got)
	}
	s.Resume(t)
	want("select b from a", "7")
	s.Kill(t)
	if got, err := query(t, s.URL, "select 1", testserver.Patience); err == nil {
		t.Errorf("a killed server answered %q", got)
	}
	s.Restart(t)
	want("select b from a", "7")
}
