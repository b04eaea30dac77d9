package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// The built-in policies are many, and a worker uses few. Of each file only the head
// is read at first: for which requests the policy is, and what it extends. The rest is
// read and compiled when the policy is first used.

// entry is one policy of a Set.
type entry struct {
	name    string
	match   []Match
	version string
	above   int     // how many Sets the one that it was loaded into lies over
	p       *Policy // where unread is nil, or after it was called

	unread func() *Policy // reads the policy; nil = there is nothing to read
	once   sync.Once
	done   atomic.Bool
}

// policy returns the entry's policy, and reads it at the first call.
func (e *entry) policy() *Policy {
	if e.unread != nil {
		e.once.Do(func() {
			e.p = e.unread()
			e.done.Store(true)
		})
	}
	return e.p
}

// reading is held while a policy is read, since policies share layers and the compiler of
// their rules.
var reading sync.Mutex

// newUnread is the entry of a policy that is known to be right.
func newUnread(l *layer, rs *resolver, shared *rules.Compiler) *entry {
	text := sha256.Sum256(l.unread.Data)
	e := &entry{name: l.name, version: hex.EncodeToString(text[:])[:12]}
	for _, m := range l.head.Items("match") {
		e.match = append(e.match, Match{Host: yamlfile.GetOr(m, "host", ""), Path: yamlfile.GetOr(m, "path", "")})
	}
	e.unread = func() *Policy {
		reading.Lock()
		defer reading.Unlock()
		c := &compiler{resolved: rs.resolve(l), r: yamlfile.NewReport(), used: map[*yamlfile.Value]bool{}, compiler: shared, known: true}
		p := c.compile()
		mustBeRight(c.r)
		return p
	}
	return e
}

// mustBeRight panics if the report has errors. It is for the built-in policies, which a test
// proves to have none.
func mustBeRight(r *yamlfile.Report) {
	if ds := diagnostics(r.Sorted()); ds.Err() != nil {
		panic(fmt.Sprintf("policy: the built-in policies do not load:\n%s", strings.TrimSpace(fmt.Sprint(ds.Err()))))
	}
}

// head is a policy file without all but the sections that a Set needs of a policy that
// nobody has used yet. What is left stays on its line.
func head(data []byte) []byte {
	out := make([]byte, 0, 1024)
	keep := false
	for line := range bytes.Lines(data) {
		if c := line[0]; c >= 'a' && c <= 'z' {
			name, _, _ := bytes.Cut(line, []byte(":"))
			switch string(name) {
			case "version", "provider", "extends", "match":
				keep = true
			default:
				keep = false
			}
		}
		if keep {
			out = append(out, line...)
		} else {
			out = append(out, '\n')
		}
	}
	return out
}
