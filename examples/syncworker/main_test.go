//go:build unix && !race

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/recourse-go/recourse/examples/syncworker/internal/fakes"
	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/internal/redistest"
)

// patience is how long a test waits for what always comes.
const patience = 2 * time.Minute

// process is a running worker.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	mu  sync.Mutex
	out strings.Builder
	end chan error
}

// TestMain is the program itself where a test has started it so, which spares building it.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// asProgram names the variable by which the test's binary knows that it is the program.
const asProgram = "RECOURSE_SYNCWORKER_TEST"

// folder is one for a worker. The fakes that it starts end when the test does.
func folder(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Cleanup(func() {
		text, err := os.ReadFile(filepath.Join(dir, "providers.json"))
		if err != nil {
			return
		}
		var p fakes.Providers
		if err := json.Unmarshal(text, &p); err == nil && p.PID > 1 {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
	})
	return dir
}

func start(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(exe, append([]string{"-dir", dir, "-messages", "15"}, flags...)...), end: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		in := bufio.NewReader(out)
		for {
			c, err := in.ReadByte()
			if err != nil {
				break
			}
			p.mu.Lock()
			p.out.WriteByte(c)
			p.mu.Unlock()
		}
		p.end <- p.cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

var syncedText = regexp.MustCompile(`(\d+) messages synced`)

// synced waits until the worker says that so many messages are synced.
func (p *process) synced(n int) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all := syncedText.FindAllStringSubmatch(p.text(), -1)
		if len(all) == 0 {
			continue
		}
		if got, _ := strconv.Atoi(all[len(all)-1][1]); got >= n {
			return
		}
	}
	p.t.Fatalf("not %d messages within %v:\n%s", n, patience, p.text())
}

// ended waits until the worker has ended, and returns what it has printed.
func (p *process) ended() string {
	p.t.Helper()
	select {
	case err := <-p.end:
		if err != nil {
			p.t.Fatalf("%v:\n%s", err, p.text())
		}
	case <-time.After(patience):
		p.t.Fatalf("not done within %v:\n%s", patience, p.text())
	}
	return p.text()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// check reads the table at the end: nothing was lost, early, or sent twice.
func check(t *testing.T, text string) {
	t.Helper()
	rows := 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 10 || f[0] != "gmail" && f[0] != "microsoft_graph" {
			continue
		}
		rows++
		var n [10]int
		for i := range n[1:] {
			var err error
			if n[i+1], err = strconv.Atoi(f[i+1]); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
		synced, lost, gone, person, early, twice := n[1], n[2], n[3], n[4], n[7], n[9]
		if lost != 0 || early != 0 || twice != 0 || synced+gone+person != 3*(15+fakes.Sends) {
			t.Errorf("%s: synced %d, lost %d, gone %d, for a person %d, early %d, twice %d", f[0], synced, lost, gone, person, early, twice)
		}
		if got := strings.Count(text, "for a person: send"); got < person {
			t.Errorf("sends that a person is told of: got %d, want %d at least", got, person)
		}
	}
	if rows != 2 {
		t.Errorf("no table in\n%s", text)
	}
	t.Log(text[strings.LastIndex(text, "\r")+1:])
}

// TestStartAgain holds that a worker that is stopped, and one that is killed, is resumed
// by the next, and that nothing is lost or sent twice.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	p := start(t, dir)
	p.synced(10)
	p.signal(syscall.SIGINT)
	if text := p.ended(); !strings.Contains(text, "Stopping") {
		t.Errorf("after a Ctrl-C: got\n%s", text)
	}
	p = start(t, dir)
	p.synced(40)
	p.signal(syscall.SIGKILL)
	<-p.end
	text := start(t, dir).ended()
	check(t, text)
	// All is done: another start finds that, and says the same.
	check(t, start(t, dir).ended())
}

// TestTwoWorkers holds that two workers share the jobs in PostgreSQL and the limits in
// Redis, and that one finishes what the other leaves. With RECOURSE_TEST_LONG set it is
// killed, and what it had under way is found by its age.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	signals := map[string]syscall.Signal{"stopped": syscall.SIGINT}
	if os.Getenv("RECOURSE_TEST_LONG") != "" {
		signals["killed"] = syscall.SIGKILL
	}
	for name, signal := range signals {
		t.Run(name, func(t *testing.T) {
			url, store := pgtest.Start(t), redistest.Start(t, "redis-server")
			dir := folder(t)
			flags := []string{"-postgres", url, "-redis", store.Addr}
			first := start(t, dir, flags...)
			first.synced(5)
			second := start(t, dir, flags...)
			second.synced(20)
			first.signal(signal)
			<-first.end
			check(t, second.ended())
		})
	}
}

// TestColumns keeps the table's columns those of the demo.
func TestColumns(t *testing.T) {
	demo, err := os.ReadFile("../../internal/demo/report.go")
	if err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile("internal/fakes/fakes.go")
	if err != nil {
		t.Fatal(err)
	}
	main, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range []string{"messages synced", "messages lost", "deleted, given up", "requests", "refused", "early retries", "re-auths", "duplicate sends"} {
		if quoted := fmt.Sprintf("%q", column); !strings.Contains(string(demo), quoted) || !strings.Contains(string(report), quoted) {
			t.Errorf("the demo and the example do not both have the column %q", column)
		}
	}
	if n := strings.Count(string(main), "\n"); n >= 500 {
		t.Errorf("the example has %d lines, want less than 500", n)
	}
}
