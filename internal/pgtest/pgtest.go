//go:build unix

// Package pgtest runs a PostgreSQL server for tests, from the programs that Debian's
// package postgresql installs.
package pgtest

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/recourse-go/recourse/internal/testserver"
)

// folders is a pattern for the folders in which Debian puts the server's programs. They
// are not in PATH.
const folders = "/usr/lib/postgresql/*/bin"

var (
	mu        sync.Mutex
	shared    *Server
	databases atomic.Int64
)

// Start returns the URL of a new, empty database for a test. All tests of the process share
// its server, which ends with the process. Where PostgreSQL is not installed, the test is
// skipped.
func Start(tb testing.TB) (url string) {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	if shared == nil {
		shared = newServer(tb)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	cmd := exec.Command(shared.program(tb, "psql"), "-X", "-q", "-h", shared.dir, "-U", "postgres", "-d", "postgres",
		"-v", "ON_ERROR_STOP=1", "-c", "create database "+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("pgtest: create database: %v: %s", err, out)
	}
	return shared.database(name)
}

// Server is the server of one test, which may stop or pause it. A method fails the test
// where it cannot do what it says.
type Server struct {
	URL string // of its database "postgres"
	PID int    // of its first process

	dir     string // holds the socket and the folder "data"
	owner   *syscall.Credential
	process *testserver.Process
}

// StartServer starts a server that ends with the test.
func StartServer(tb testing.TB) *Server {
	tb.Helper()
	s := newServer(tb)
	tb.Cleanup(func() {
		s.process.Stop()
		_ = os.RemoveAll(s.dir)
	})
	return s
}

// newServer makes a database cluster and starts its server.
func newServer(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{}
	initdb := s.program(tb, "initdb")
	var err error
	// tb.TempDir() will not do: its path may be longer than the 107 bytes that a socket's
	// path may have, and the server's user may not be allowed to enter it.
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		tb.Fatal(err)
	}
	s.URL = s.database("postgres")
	if os.Geteuid() == 0 { // PostgreSQL refuses root
		if err := s.giveAway(); err != nil {
			_ = os.RemoveAll(s.dir)
			tb.Fatalf("pgtest: %v", err)
		}
	}
	cmd := exec.Command(initdb, "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	s.as(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		_ = os.RemoveAll(s.dir)
		tb.Fatalf("pgtest: initdb: %v: %s", err, out)
	}
	s.Restart(tb)
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Socket returns the path of the server's socket, for a test that puts a proxy before it.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// database returns the URL of one of the server's databases.
func (s *Server) database(name string) string {
	return "postgres://postgres@/" + name + "?sslmode=disable&host=" + url.QueryEscape(s.dir)
}

func (s *Server) program(tb testing.TB, name string) string {
	tb.Helper()
	path := testserver.Program(name, folders)
	if path == "" {
		testserver.Missing(tb, name, "postgresql")
	}
	return path
}

// giveAway gives the folder to another user, as whom the server will run: PostgreSQL
// refuses to run as root.
func (s *Server) giveAway() error {
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

// as makes a command run as the folder's owner, in the folder.
func (s *Server) as(cmd *exec.Cmd) {
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
}

// Restart starts the server again after Kill or Stop. It has everything that was committed.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command(s.program(tb, "postgres"), "-D", s.data(), "-k", s.dir, "-h", "",
		"-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB")
	s.as(cmd)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	process, err := testserver.Start(cmd, syscall.SIGQUIT, s.dir)
	if err != nil {
		_ = os.RemoveAll(s.dir)
		tb.Fatalf("pgtest: %v", err)
	}
	s.process, s.PID = process, process.PID
	if err := process.Await(s.ready); err != nil {
		process.Kill()
		_ = os.RemoveAll(s.dir)
		tb.Fatalf("pgtest: postgres: %v: %s", err, log.String())
	}
}

// ready reads the server's state from the eighth line of its lock file.
func (s *Server) ready() bool {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	lines := strings.Split(string(b), "\n")
	return err == nil && len(lines) >= 8 && lines[0] == strconv.Itoa(s.PID) && strings.TrimSpace(lines[7]) == "ready"
}

// Stop ends the server and all its connections at once.
func (s *Server) Stop() { s.process.Stop() }

// Kill ends all processes of the server by SIGKILL.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	children := s.children(tb)
	s.process.Kill()
	// A new server does not start before the last process of the old one has ended.
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = os.Remove(filepath.Join(s.data(), "postmaster.pid"))
}

// Pause stops every process of the server, so that it answers nothing, until Resume.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	s.process.Signal(syscall.SIGSTOP) // before the children, so that it makes no more of them
	for _, pid := range s.children(tb) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	for _, pid := range s.children(tb) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.process.Signal(syscall.SIGCONT)
}

// children returns the processes that the server's first process has made.
func (s *Server) children(tb testing.TB) (pids []int) {
	tb.Helper()
	out, err := exec.Command("ps", "-o", "pid=", "--ppid", strconv.Itoa(s.PID)).Output()
	if err != nil {
		tb.Fatalf("pgtest: ps: %v", err)
	}
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
