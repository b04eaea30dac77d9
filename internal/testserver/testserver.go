//go:build unix

// Package testserver runs a server's program for a test. The program ends with the
// test's process, however that ends: a test that is killed leaves no server behind.
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

// Patience is how long a test waits for a real process to do what it always does.
const Patience = 30 * time.Second

// Process is a running program.
type Process struct {
	PID int

	stop     syscall.Signal
	exited   chan struct{}
	watchdog *exec.Cmd
	leash    *os.File // its other end is the watchdog's input, which ends with this process
}

// watch waits for the end of its input, which is that of the test's process, and then
// ends the program and removes its folder. A program that nobody reaps has state Z.
const watch = `cat >/dev/null
kill -CONT "$1"; kill "-$2" "$1"
while case $(ps -o stat= -p "$1") in "" | Z*) false ;; esac do sleep 0.1; done
rm -rf "$3"`

// Start starts a program that the signal stop ends. dir is the program's own folder,
// which is removed should the test's process end before the program does.
func Start(cmd *exec.Cmd, stop syscall.Signal, dir string) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // a Ctrl-C in a terminal is for the test alone
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
	// The watchdog goes first: once the program has ended its number may be another's.
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

// Signal sends a signal to the program alone, if it has not ended.
func (p *Process) Signal(signal syscall.Signal) {
	select {
	case <-p.exited:
	default:
		_ = syscall.Kill(p.PID, signal)
	}
}

// Await polls until done says so. It fails where the program ends before, or after Patience.
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

// Program finds a program in PATH, or in the newest of the folders that the pattern
// matches; "" = it is nowhere.
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

// version is the number that a folder of the path is called by.
func version(path string) int {
	for _, part := range strings.Split(path, string(filepath.Separator)) {
		if n, err := strconv.Atoi(part); err == nil {
			return n
		}
	}
	return 0
}
