package pause

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of synctest's clock

// link is a process's way to the store.
type link struct {
	*storetest.Memory
	done     chan struct{}
	mu       sync.Mutex
	fail     func() storetest.Fault
	requests int
}

func (l *link) Pause(ctx context.Context, r *limiter.PauseRequest) (limiter.PauseAnswer, error) {
	l.mu.Lock()
	l.requests++
	var f storetest.Fault
	if l.fail != nil {
		f = l.fail()
	}
	l.mu.Unlock()
	if f.Before != nil {
		return limiter.PauseAnswer{}, f.Before
	}
	request := *r
	later := func(d time.Duration) { // the store does it then, whoever waits
		select {
		case <-time.After(d):
			l.Memory.Pause(context.Background(), &request)
		case <-l.done:
		}
	}
	if f.Again > 0 {
		go later(f.Delay + f.Again)
	}
	if f.Delay > 0 {
		go later(f.Delay)
		<-ctx.Done()
		return limiter.PauseAnswer{}, ctx.Err()
	}
	a, err := l.Memory.Pause(ctx, r)
	if err == nil && f.After != nil {
		return limiter.PauseAnswer{}, f.After
	}
	return a, err
}

func (l *link) set(fail func() storetest.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

var errDown = errors.New("down")

func down() storetest.Fault { return storetest.Fault{Before: errDown} }

// process is one of those that share a store.
type process struct {
	*Set
	link *link
	done chan struct{}

	mu    sync.Mutex
	told  []string
	woken int
}

func (p *process) notices() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.told, ", ")
}

var members atomic.Int32

// join makes a process. events says that it hears of changes at once.
func join(t *testing.T, store *storetest.Memory, events bool) *process {
	p := &process{done: make(chan struct{})}
	p.link = &link{Memory: store, done: p.done}
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(p.done) }) })
	p.Set = New(&Fleet{Store: p.link, Timeout: 50 * time.Millisecond, Done: p.done, Member: limiter.StoreID{byte(members.Add(1))}, Key: func(account string) (k [16]byte) {
		sum := sha256.Sum256([]byte(account))
		copy(k[:], sum[:])
		return k
	}}, Hooks{
		Begun: func() { p.mu.Lock(); p.woken++; p.mu.Unlock() },
		Tell: func(one Pause, ended bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			what := "paused "
			if ended {
				what = "resumed "
			}
			p.told = append(p.told, what+one.Account+" "+one.Reason)
		},
	})
	if events {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-p.done; cancel() }()
		go store.Watch(ctx, limiter.StoreID{}, func(e limiter.StoreEvent) {
			if e.Paused {
				p.Look()
			}
		})
	}
	return p
}

// begun lets processes ask the store for the first time.
func begun(ps ...*process) {
	for _, p := range ps {
		p.Await(context.Background())
	}
}

func (p *process) is(t *testing.T, what, account string, want bool) {
	t.Helper()
	if _, got := p.Of(account); got != want {
		t.Errorf("%s: paused %v, want %v", what, got, want)
	}
}
