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
	// Dir is the directory with the policy files. It may be that of a Kubernetes
	// ConfigMap, whose files are symbolic links that are all replaced at once.
	Dir string
	// Over holds the policies that the directory's files overlay; nil = the built-in packs.
	Over *policy.Set
	// Interval is how often the directory is read; 0 = 5 s. Files are compared
	// by content, so touching one changes nothing.
	Interval time.Duration
}

// ReloadStatus is the state of reloading, for a health check.
type ReloadStatus struct {
	Version string    // the version of the policies in force
	Success time.Time // when they were put in force
	Err     error     // why the newest content is not in force; nil = it is
}

// reloads holds the state of reloading.
type reloads struct {
	mu     sync.Mutex
	status ReloadStatus
}

// succeeded notes that the policies of that version are in force.
func (r *reloads) succeeded(version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = ReloadStatus{Version: version, Success: time.Now()}
}

// clear removes the error of newer policies, and reports whether there was one.
func (r *reloads) clear() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.status.Err != nil
	r.status.Err = nil
	return was
}

// Reloads returns which policies are in force, since when, and the error of newer ones. It is
// safe for concurrent use.
func (e *Engine) Reloads() ReloadStatus {
	e.reloads.mu.Lock()
	defer e.reloads.mu.Unlock()
	return e.reloads.status
}

// Watch reads the directory every WatchOptions.Interval. When its content has changed, has then
// stayed the same for 200 ms, and is valid, Watch replaces the engine's policies by it. Content
// equal to what is in force, as at the start of a worker that has loaded the same files, replaces
// nothing, and the observer is not told of it unless it was told of an error before.
//
// On any error the policies in force stay, and the observer is told once for each content. It is
// an error if the directory does not exist, cannot be read or holds no policies, and if a *.yaml in
// it is neither a regular file nor a link to one.
//
// Watch blocks, so run it in a goroutine of its own. It returns the error of ctx when that ends, or
// ErrClosed when the engine is closed.
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
			// The directory is read twice, since files may be half written, or a new
			// version may be replacing the old one just now.
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

// quietTime is how long the directory's content must stay the same before it is used.
const quietTime = 200 * time.Millisecond

// digest returns a string that is equal only for equal contents of a directory.
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

// reloaded notes the result of a reload, and tells the observers.
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
