//go:build unix

// Package testserver runs a server's program for a test. The program ends with the
// test's process even if that is killed, so that no server is left behind.
package testserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Patience is how long a test waits for a process to start, or to end, before it fails.
const Patience = 30 * time.Second

// Process is a running program.
type Process struct {
	PID int

	stop     syscall.Signal
	exited   chan struct{}
	watchdog *exec.Cmd
	leash    *os.File // the other end is the watchdog's input, which ends when this process ends
}

// watch is the watchdog's script. It waits for the end of its input, which comes when the
// test's process ends, then ends the program and removes its folder. A program that has
// ended, and that its parent has not waited for, has state Z.
const watch = `cat >/dev/null
kill -CONT "$1"; kill "-$2" "$1"
while case $(ps -o stat= -p "$1") in "" | Z*) false ;; esac do sleep 0.1; done
rm -rf "$3"`

// Start starts a program. stop is the signal that ends it. dir is the program's folder; it
// is removed if the test's process ends before the program does.
func Start(cmd *exec.Cmd, stop syscall.Signal, dir string) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // a group of its own, so that Ctrl-C in a terminal ends the test alone
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{PID: cmd.Process.Pid, stop: stop, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	input, leash, err := os.Pipe()
	if err == nil {
		defer input.Close()
		p.leash = leash
		p.watchdog = exec.Command("sh", "-c", watch, "watchdog", strconv.Itoa(p.PID), strconv.Itoa(int(stop)), dir)
		p.watchdog.Stdin = input
		p.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		err = p.watchdog.Start()
	}
	if err != nil {
		p.watchdog = nil
		p.Kill()
		return nil, err
	}
	return p, nil
}

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stop asks the program to end, and waits until it has.
func (p *Process) Stop() { p.end(p.stop) }

// Kill ends the program by SIGKILL, and waits until it has ended.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

func (p *Process) end(signal syscall.Signal) {
	// End the watchdog first: once the program has ended, another process may get its number.
	if p.watchdog != nil {
		_ = p.watchdog.Process.Kill()
		_ = p.watchdog.Wait()
		_ = p.leash.Close()
		p.watchdog = nil
	}
	p.Signal(syscall.SIGCONT)
	p.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(Patience):
		p.Signal(syscall.SIGKILL)
		<-p.exited
	}
}

// Signal sends a signal to the program, and not to its children, unless it has ended.
func (p *Process) Signal(signal syscall.Signal) {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(p.PID, signal)
	}
}

// Await polls until done returns true. The error says that the program has ended before, or
// that Patience has passed.
func (p *Process) Await(done func() bool) error {
	deadline := time.Now().Add(Patience)
	for !done() {
		select {
		case <-p.exited:
			return errors.New("the program has ended")
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready after %v", Patience)
		}
	}
	return nil
}

// Program returns the path of a program in PATH, or else in the newest of the folders that
// the pattern matches; "" if it is in none.
func Program(name, folders string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, _ := filepath.Glob(filepath.Join(folders, name))
	if len(found) == 0 {
		return ""
	}
	return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
}

// version returns the first folder name of the path that is a number; 0 if there is none.
func version(path string) int {
	for _, part := range strings.Split(path, string(filepath.Separator)) {
		if n, err := strconv.Atoi(part); err == nil {
			return n
		}
	}
	return 0
}
