//go:build unix

// Package redistest runs a Redis or a Valkey server for a test.
package redistest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/testserver"
)

// Server is the server of one test. It keeps nothing on disk unless its arguments say so.
type Server struct {
	Addr string // host and port
	PID  int

	program string
	args    []string
	dir     string
	process *testserver.Process
}

// Start starts a program, "redis-server" or "valkey-server", with more arguments if any. The
// server ends with the test. Where the program is not installed, the test is skipped.
func Start(tb testing.TB, program string, args ...string) *Server {
	tb.Helper()
	path := testserver.Program(program, "/usr/bin")
	if path == "" {
		testserver.Missing(tb, program, program)
	}
	s := &Server{program: path, args: args, dir: tb.TempDir()}
	// Another process may take the port after it was found free and before the server
	// listens on it, so try again.
	var err error
	for range 5 {
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			break
		}
		s.Addr = l.Addr().String()
		_ = l.Close()
		if err = s.start(); err == nil {
			tb.Cleanup(func() { s.process.Kill() })
			return s
		}
	}
	tb.Fatalf("redistest: %s: %v", program, err)
	return nil
}

func (s *Server) start() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", s.dir}, s.args...)
	cmd := exec.Command(s.program, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	process, err := testserver.Start(cmd, syscall.SIGTERM, s.dir)
	if err != nil {
		return err
	}
	if err := process.Await(func() bool { return s.isOurs(process.PID) }); err != nil {
		process.Kill()
		return fmt.Errorf("%w: %s", err, log.String())
	}
	s.process, s.PID = process, process.PID
	return nil
}

// isOurs reports whether a server answers at the address and is the process pid: another
// server may have taken the port.
func (s *Server) isOurs(pid int) bool {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, "INFO server\r\nQUIT\r\n"); err != nil {
		return false
	}
	b, _ := io.ReadAll(conn)
	return bytes.Contains(b, []byte("process_id:"+strconv.Itoa(pid)+"\r\n"))
}

// Stop ends the server by SIGTERM, as an operator would.
func (s *Server) Stop() { s.process.Stop() }

// Kill ends the server by SIGKILL.
func (s *Server) Kill() { s.process.Kill() }

// Restart starts the server again after Stop or Kill, at the same address. It is empty
// then, unless its arguments say that it keeps its data on disk.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
}

// Pause stops the process until Resume, so that connections are accepted but not answered.
func (s *Server) Pause() { s.process.Signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *Server) Resume() { s.process.Signal(syscall.SIGCONT) }
