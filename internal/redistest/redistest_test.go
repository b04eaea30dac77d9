//go:build unix

package redistest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
)

// ask sends one command and returns the first line of its answer.
func ask(t *testing.T, addr, command string, patience time.Duration) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func TestServer(t *testing.T) {
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) {
			s := redistest.Start(t, program)
			want := func(command, want string) {
				t.Helper()
				if got, err := ask(t, s.Addr, command, 30*time.Second); err != nil || got != want {
					t.Errorf("%s: got %q, %v, want %q", command, got, err, want)
				}
			}
			want("SET a 1", "+OK")
			s.Pause()
			if got, err := ask(t, s.Addr, "PING", 20*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("PING of a paused server: got %q, %v, want a timeout", got, err)
			}
			s.Resume()
			want("STRLEN a", ":1")
			s.Kill()
			if got, err := ask(t, s.Addr, "PING", time.Second); err == nil {
				t.Errorf("PING of a killed server: got %q, want an error", got)
			}
			s.Restart(t)
			want("STRLEN a", ":0")
			s.Stop()
		})
	}
}
