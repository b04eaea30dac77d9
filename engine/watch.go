package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// WatchOptions say what Watch watches.
type WatchOptions struct {
	// Dir holds the policy files. A Kubernetes ConfigMap's directory, whose
	// files are symbolic links that are swapped at once, is watched like any other.
	Dir string
	// Over are the policies that the directory's files overlay; nil = the built-in packs.
	Over *policy.Set
	// Interval is how often the directory is read; 0 = 5 s. Files are compared
	// by content, so touching one changes nothing.
	Interval time.Duration
}

// ReloadStatus tells how reloading fares, for a health check.
type ReloadStatus struct {
	Version string    // of the policies in force
	Success time.Time // when they were put in force
	Err     error     // why the newest content is not; nil = it is
}

// reloads is what Watch has done.
type reloads struct {
	mu     sync.Mutex
	status ReloadStatus
}

// clear takes back an error of newer policies, and reports whether there was one.
func (r *reloads) clear() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.status.Err != nil
	r.status.Err = nil
	return was
}

// Reloads tells which policies are in force since when, and what is wrong
// with newer ones.
func (e *Engine) Reloads() ReloadStatus {
	e.reloads.mu.Lock()
	defer e.reloads.mu.Unlock()
	return e.reloads.status
}

// Watch reads the directory now and then, and replaces the engine's policies
// whenever its content has changed, has stayed as it is for a fifth of a second,
// and is valid. Content that says what is in force already, as at the start of a
// worker that has loaded the same files, replaces nothing, and the observer is not
// told of it unless it was told of an error before. On any error the policies in
// force stay; the observer is told once for each content. A directory that is not there, cannot be read or holds
// no policies is such an error, and so is a *.yaml in it that is neither a regular
// file nor a link to one. Watch runs until ctx ends, and returns its error, or until the engine is closed;
// run it in a goroutine of its own.
func (e *Engine) Watch(ctx context.Context, o WatchOptions) error {
	if o.Dir == "" {
		return errors.New("engine: watch: no directory")
	}
	if o.Over == nil {
		o.Over = policy.Builtin()
	}
	if o.Interval <= 0 {
		o.Interval = 5 * time.Second
	}
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	var seen string // the content last looked at, or the error of reading it
	for {
		files, err := policy.ReadDir(o.Dir)
		content := digest(files, err)
		for content != seen {
			// It is looked at twice: files may be half written, or come from
			// two versions of which one is just replacing the other.
			if err := sleep(ctx, nil, e.done, nil, min(o.Interval, quietTime)); err != nil {
				return err
			}
			last := content
			files, err = policy.ReadDir(o.Dir)
			if content = digest(files, err); content == last {
				seen = content
				e.reload(ctx, files, err, o.Over)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.done:
			return ErrClosed
		case <-tick.C:
		}
	}
}

// quietTime is how long a directory must not change before it is read.
const quietTime = 200 * time.Millisecond

// digest tells one content of a directory from another.
func digest(files []policy.File, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%q %d\n", f.Name, len(f.Data))
		h.Write(f.Data)
	}
	return string(h.Sum(nil))
}

// reload puts files in force if they are valid.
func (e *Engine) reload(ctx context.Context, files []policy.File, err error, over *policy.Set) {
	if err == nil && len(files) == 0 {
		err = errors.New("engine: watch: no policy files")
	}
	var set *policy.Set
	if err == nil {
		var diags policy.Diagnostics
		if set, diags = policy.Load(files, policy.LoadOptions{Over: over}); set == nil {
			err = diags.Err()
		}
	}
	if err == nil && set.Version() == e.Policies().Version() {
		if !e.reloads.clear() {
			return
		}
	} else if err == nil {
		err = e.replace(set)
	}
	e.reloaded(ctx, err)
}

// reloaded notes the end of a reload and tells the observer.
func (e *Engine) reloaded(ctx context.Context, err error) {
	if err != nil {
		e.reloads.mu.Lock()
		e.reloads.status.Err = err
		e.reloads.mu.Unlock()
	}
	if e.observed() {
		e.tell(ctx, &Notice{Kind: NoticeReload, Time: time.Now(), Version: e.Policies().Version(), Err: err})
	}
}
