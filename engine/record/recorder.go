package record

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
)

// Options say what a Recorder writes, and where. All fields except File may be zero.
type Options struct {
	// File is the path of the file to write, such as "/var/lib/worker/errors.jsonl". Older
	// files are beside it: errors.1.jsonl is the newest of them, then comes errors.2.jsonl and
	// so on. The directory is made if it does not exist. A file that exists is appended to.
	// Two Recorders must not write to the same path.
	File string
	// MaxBytes is how large a file becomes before a new one is begun; 0 = 16 MiB, and the
	// least is 64 KiB. MaxFiles is how many files there are in all, at most 10,000; 0 = 8.
	// The oldest is removed first.
	MaxBytes int64
	MaxFiles int

	// PerMinute is how many of the failures that one rule of one provider decides are
	// written each minute; 0 = 10. Of the others, one in OneIn is written; 0 = 100, and a
	// negative number = none.
	PerMinute int
	OneIn     int

	// Key is the key of the pseudonyms of accounts and addresses (HMAC-SHA-256). The same key
	// gives the same pseudonyms in every process. Nil = a random key for this Recorder alone.
	Key []byte

	// Queue is how many failures may wait to be written; 0 = 1,024. Together they hold at most 8 MiB.
	Queue int
	// OnError is called when something could not be written, by the goroutine that writes,
	// at most once a second. Nil = only Stats reports errors.
	OnError func(error)
}

// The bounds and defaults of Options.
const (
	minFileBytes     = 64 << 10
	defaultFileBytes = 16 << 20
	defaultFiles     = 8
	maxFiles         = 10_000
	defaultPerMinute = 10
	defaultOneIn     = 100
	defaultQueue     = 1024
	maxQueue         = 1 << 20
	maxQueuedBytes   = 8 << 20
)

// Stats count what a Recorder has done since it was made.
type Stats struct {
	Seen    uint64 // failures that the Recorder was told of
	Sampled uint64 // failures that were left out, since their rule had enough
	Dropped uint64 // failures that came while the queue was full, or after Close
	Written uint64 // lines that were written
	Failed  uint64 // failures that could not be written
	Rotated uint64 // files that were begun after the first one
	Bytes   uint64 // bytes that were written
	Err     error  // the latest error; nil = there was none
}

// Recorder is an engine.Observer that writes failures to files. It is safe for concurrent
// use, and may serve several engines.
type Recorder struct {
	o       Options
	redact  redactor
	samples sampler
	prefix  string // the prefix of the lines' IDs

	mu     sync.Mutex // guards samples, closed and sending to queue; held only briefly
	closed bool
	queue  chan *failure
	queued atomic.Int64 // the size of what is queued, in bytes

	seen, sampled, dropped, written, failed, bytes, rotated atomic.Uint64
	err                                                     atomic.Pointer[error]

	done chan struct{} // closed when the goroutine that writes has ended
	log  *files        // used by that goroutine only
	told time.Time     // when it last called OnError
}

var _ engine.Observer = (*Recorder)(nil)

// New opens the file and starts the goroutine that writes to it, until Close is called. It
// returns an error if the file cannot be opened.
func New(o Options) (*Recorder, error) {
	if o.File == "" {
		return nil, errors.New("record: no File to write to")
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultFileBytes
	}
	o.MaxBytes = max(o.MaxBytes, minFileBytes)
	if o.MaxFiles <= 0 {
		o.MaxFiles = defaultFiles
	}
	o.MaxFiles = min(o.MaxFiles, maxFiles)
	if o.PerMinute <= 0 {
		o.PerMinute = defaultPerMinute
	}
	if o.OneIn == 0 {
		o.OneIn = defaultOneIn
	}
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	o.Queue = min(o.Queue, maxQueue)
	random := make([]byte, 36)
	rand.Read(random) // never fails
	if len(o.Key) == 0 {
		o.Key = random[:32]
	}
	log, err := openFiles(o.File, o.MaxBytes, o.MaxFiles)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r := &Recorder{
		o: o, redact: redactor{key: o.Key}, samples: sampler{perMinute: o.PerMinute, oneIn: o.OneIn},
		prefix: hex.EncodeToString(random[32:]), queue: make(chan *failure, o.Queue), done: make(chan struct{}), log: log,
	}
	go r.write()
	return r, nil
}

// Observe queues a failure that was decided, if it is sampled. It never blocks.
func (r *Recorder) Observe(_ context.Context, n *engine.Notice) {
	if n.Kind != engine.NoticeDecision || n.Event == nil || n.Decision == nil || n.Decision.Rule == nil || n.Policy == nil {
		return
	}
	d := n.Decision
	if d.Rule.Policy == "" && d.Action == policy.Accept {
		return // a success that a policy had to look into
	}
	seq := r.seen.Add(1)
	r.mu.Lock()
	closed, take, oneIn := r.closed, false, 0
	if !closed {
		take, oneIn = r.samples.take(n.Policy.Name, d.Rule.Name, n.Time)
	}
	r.mu.Unlock()
	switch {
	case closed:
		r.dropped.Add(1)
		return
	case !take:
		r.sampled.Add(1)
		return
	case r.queued.Load() >= maxQueuedBytes:
		r.dropped.Add(1)
		return
	}
	f := failureOf(n)
	f.seq, f.oneIn = seq, oneIn
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.queue) == cap(r.queue) {
		r.dropped.Add(1)
		return
	}
	r.queued.Add(int64(f.bytes))
	r.queue <- f // does not block: the queue has room, and this is the only place that sends
}

// Stats returns what has been done so far.
func (r *Recorder) Stats() Stats {
	s := Stats{
		Seen: r.seen.Load(), Sampled: r.sampled.Load(), Dropped: r.dropped.Load(), Written: r.written.Load(),
		Failed: r.failed.Load(), Rotated: r.rotated.Load(), Bytes: r.bytes.Load(),
	}
	if err := r.err.Load(); err != nil {
		s.Err = *err
	}
	return s
}

// Close writes what is queued, and closes the file. Failures that come later are counted as
// dropped. Close returns the latest error of writing or closing. It may be called again.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
	return r.Stats().Err
}

// write writes what is queued until the queue is closed.
func (r *Recorder) write() {
	defer close(r.done)
	for f := range r.queue {
		r.queued.Add(-int64(f.bytes))
		r.writeOne(f)
	}
	if err := r.log.close(); err != nil {
		r.fail(err)
	}
}

func (r *Recorder) writeOne(f *failure) {
	defer func() {
		// A panic costs one line and nothing else.
		if p := recover(); p != nil {
			r.failed.Add(1)
			r.fail(fmt.Errorf("record: %v", p))
		}
	}()
	line, err := r.line(f)
	if err == nil {
		var rotated bool
		rotated, err = r.log.write(line)
		if rotated {
			r.rotated.Add(1)
		}
	}
	if err != nil {
		r.failed.Add(1)
		r.fail(err)
		return
	}
	r.written.Add(1)
	r.bytes.Add(uint64(len(line)))
}

// fail notes an error, and reports it to OnError.
func (r *Recorder) fail(err error) {
	r.err.Store(&err)
	if now := time.Now(); r.o.OnError != nil && (r.told.IsZero() || now.Sub(r.told) >= time.Second) {
		r.told = now
		r.o.OnError(err)
	}
}
