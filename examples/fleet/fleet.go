package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The parent's part: it starts the provider and the workers, kills some of these, and gives
// them other policies in the middle.

// reloaded is how long the workers may take to load another policy, and to learn that all others
// have loaded it. Until then the lower number holds.
const reloaded = 3 * time.Second

// fleet is the provider and the workers.
type fleet struct {
	args      []string // flags that name the store
	processes int

	provider *provider
	server   *http.Server
	url      string
	policies string         // the workers' folder
	watching sync.WaitGroup // goroutines that watch killed workers
	counted  counted        // by the provider, in the end

	mu            sync.Mutex
	workers       []*worker
	sent          map[string]bool
	asked, grants int64
	outages       int             // how often a worker went by its share, since the store did not answer in time
	back          []time.Duration // how long it took until the slots of a killed worker were in use again
	failed        error
}

// worker is one of the processes.
type worker struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func (w *worker) name() string { return strconv.Itoa(w.cmd.Process.Pid) }

// run runs the provider and the workers for a while.
func (f *fleet) run(ctx context.Context, kill int, d time.Duration) (r report, err error) {
	if err := f.begin(); err != nil {
		return r, err
	}
	defer f.end(os.Kill)
	// Count only after all workers run, and the store has waited for earlier leases.
	pause(ctx, 2*time.Second+lease)
	if ctx.Err() != nil {
		return r, errors.New("ended before anything was counted")
	}
	from := time.Now()
	without := f.inTheMiddle(ctx, kill, d)
	pause(ctx, d-time.Since(from))
	f.watching.Wait()
	to := time.Now()
	f.end(os.Interrupt)

	f.counted = f.provider.count(from, to, without)
	c := &f.counted
	r = report{
		OverLimit: c.over, PeakConcurrency: c.peak, ConcurrencyLimit: concurrency, Utilisation: c.utilisation, measured: c.measured,
		EarlyRetries: c.early, DuplicateSends: c.duplicates, Lost: f.lost(),
	}
	if f.grants > 0 {
		r.RoundTripsPerGrant = float64(f.asked) / float64(f.grants)
	} else if f.failed == nil {
		f.failed = errors.New("the store has granted nothing")
	}
	return r, f.failed
}

// lost counts the messages that a worker believes sent, but the provider does not have.
func (f *fleet) lost() (n int) {
	for id := range f.sent {
		if f.provider.sent[id] == 0 {
			n++
		}
	}
	return n
}

// begin starts the provider and the workers.
func (f *fleet) begin() error {
	f.provider = &provider{mailboxes: map[string]*mailbox{}, sent: map[string]int{}}
	f.sent = map[string]bool{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f.url = "http://" + listener.Addr().String()
	f.server = &http.Server{Handler: f.provider}
	go f.server.Serve(listener)
	if f.policies, err = os.MkdirTemp("", "fleet"); err == nil {
		err = f.setPolicy(rate)
	}
	for i := 0; i < f.processes && err == nil; i++ {
		err = f.start()
		if i >= f.processes/2 { // the others come late
			time.Sleep(100 * time.Millisecond)
		}
	}
	if err != nil {
		f.end(os.Kill)
	}
	return err
}

// end sends the workers a signal, and waits until they have ended, and the provider.
func (f *fleet) end(signal os.Signal) {
	for _, w := range f.workers {
		w.cmd.Process.Signal(signal)
	}
	for _, w := range f.workers {
		<-w.ended
	}
	f.watching.Wait()
	f.server.Close()
	os.RemoveAll(f.policies)
}

// start starts a worker, and reads what it says until it ends.
func (f *fleet) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	w := &worker{cmd: exec.Command(self, append([]string{"-worker", f.url, "-policies", f.policies}, f.args...)...), ended: make(chan struct{})}
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	f.workers = append(f.workers, w)
	go func() {
		defer close(w.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var l line
			if json.Unmarshal(lines.Bytes(), &l) == nil { // else it is cut off by a kill
				f.hear(&l)
			}
		}
		err := w.cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Exited() {
			f.fail(fmt.Errorf("a worker failed: %w", err))
		}
	}()
	return nil
}

// hear records a line that a worker has printed.
func (f *fleet) hear(l *line) {
	if l.Refused != "" {
		f.provider.told(l.Refused, l.At)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.Sent != "" {
		f.sent[l.Sent] = true
	}
	if l.Outage {
		f.outages++
	}
	f.asked, f.grants = f.asked+l.Asked, f.grants+l.Grants
}

func (f *fleet) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = cmp.Or(f.failed, err)
}

// setPolicy gives all workers an overlay of their policy with this rate, which they find by themselves.
func (f *fleet) setPolicy(unitsASecond float64) error {
	text := fmt.Appendf(nil, `
version: 1
provider: fleet
extends: [fleet]
limits: [{name: units, key: account, rate: %v/s, burst: 20, cost: units}]
`, unitsASecond)
	name := filepath.Join(f.policies, providerFile)
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// inTheMiddle lowers the rate for a while by another policy, and kills workers after that, since
// the numbers of a killed worker count for half a minute more. It returns the times in which this
// keeps the workers from using all that the provider allows.
func (f *fleet) inTheMiddle(ctx context.Context, kill int, d time.Duration) (without []span) {
	type step struct {
		at    time.Duration
		takes time.Duration
		do    func()
	}
	lower := span{}
	steps := []step{{d / 20, reloaded, func() {
		f.reload(lowerRate)
		lower.from = time.Now().Add(reloaded)
	}}, {d * 3 / 10, reloaded, func() {
		if lower.to = time.Now(); lower.to.After(lower.from) {
			f.provider.lowered(lower)
		}
		f.reload(rate)
	}}}
	for i := range kill {
		at := d*time.Duration(i+1)/time.Duration(kill+1) + time.Duration(rand.IntN(100))*time.Millisecond
		steps = append(steps, step{at, lease, f.killBusiest})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	began := time.Now()
	for _, s := range steps {
		if pause(ctx, s.at-time.Since(began)); ctx.Err() != nil {
			break
		}
		now := time.Now()
		without = append(without, span{now, now.Add(s.takes)})
		s.do()
	}
	return without
}

func (f *fleet) reload(unitsASecond float64) {
	if err := f.setPolicy(unitsASecond); err != nil {
		f.fail(err)
	}
}

// killBusiest kills the worker that has the most slots, and measures how long it takes until
// these slots are in use again.
func (f *fleet) killBusiest() {
	var busiest *worker
	has := map[string]int{}
	for _, w := range f.workers {
		select {
		case <-w.ended:
			continue
		default:
		}
		if slots := f.provider.slots(w.name()); busiest == nil || sum(slots) > sum(has) {
			busiest, has = w, slots
		}
	}
	if busiest == nil {
		return
	}
	busiest.cmd.Process.Kill()
	killed := time.Now()
	f.watching.Go(func() {
		<-busiest.ended
		for deadline := killed.Add(10 * lease); len(has) > 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			f.provider.dropFull(has, busiest.name())
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.back = append(f.back, time.Since(killed))
	})
}

func sum(slots map[string]int) (n int) {
	for _, k := range slots {
		n += k
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
