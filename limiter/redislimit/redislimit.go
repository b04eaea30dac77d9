package redislimit

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storekey"
)

// Options are settings of a [Store]. The zero value is useful.
type Options struct {
	// Secret makes the names of keys unreadable for all who do not have it: see the package's
	// description. All processes that share the server must have the same.
	Secret string

	// Plain writes names of keys as they are, beside their digests: people's addresses,
	// among others. It is for looking at a server while developing. The process remembers each.
	Plain bool

	// Prefix is what the names of all keys and channels begin with; "" = "rc:".
	Prefix string

	// Fleet is the name of the processes that are to share limits; "" = all that use the server. Those
	// of one fleet are warned where their Prefix or Secret differs, since then they share nothing. So
	// deployments that share a server on purpose, each with a Prefix of its own, need a Fleet each.
	Fleet string

	// Timeout is how long one request may take, all in all; 0 = 250 ms. A client's own timeouts
	// must not be longer.
	Timeout time.Duration

	// AllowEviction lets [New] use a server that may drop keys when its memory is full. What it
	// drops is forgotten: holds end early, and limits can be exceeded by a burst and by slots in use.
	AllowEviction bool
}

const (
	defaultPrefix  = "rc:"
	defaultTimeout = 250 * time.Millisecond
)

// Store is a [limiter.Store] in a Redis or Valkey server. It is safe for concurrent use.
type Store struct {
	server  Server
	options Options
	keys    *storekey.Keys
	names   sync.Map // of Options.Plain: StoreKey to string

	// By the first byte of a place. Keys and channels with one such byte are in one slot of a cluster.
	tags    [256]string // what keys begin with
	epochs  [256]string
	freed   [256]string // how, and on which channels by members, it is told that slots are free
	changed [256]string // how, and on which channel, changes are told

	checked  atomic.Bool // Check has found that the server is fit
	warnings atomic.Pointer[[]string]
	fleets   struct {
		mu       sync.Mutex
		asked    time.Time
		warnings []string
	}
	clock func() time.Time // of tests; nil = the server's
}

var _ limiter.Store = (*Store)(nil)

func newStore(server Server, o Options) *Store {
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	s := &Store{server: server, options: o, keys: storekey.New(o.Secret)}
	for i := range 256 {
		tag := fmt.Sprintf("%s{%02x}", o.Prefix, i)
		s.tags[i], s.epochs[i] = tag, tag+"epoch"
		if server.Cluster() {
			s.freed[i], s.changed[i] = "S"+tag+"freed:", "S"+tag+"changed"
		} else {
			s.freed[i], s.changed[i] = "P"+o.Prefix+"freed:", "P"+o.Prefix+"changed"
		}
	}
	return s
}

// Key is [limiter.Store.Key].
func (s *Store) Key(place, name string) limiter.StoreKey {
	k := s.keys.Key(place, name)
	if s.options.Plain {
		s.names.Store(k, name)
	}
	return k
}

const digestLength = 22 // of base64, of 16 bytes

// name is the name of a key in the server. It ends with the key's digest.
func (s *Store) name(k *limiter.StoreKey) string {
	b := make([]byte, 0, 64)
	b = append(b, s.tags[k.Place[0]]...)
	if s.options.Plain {
		if name, found := s.names.Load(*k); found {
			b = append(append(b, name.(string)...), ' ')
		}
	}
	return string(base64.RawURLEncoding.AppendEncode(b, k.Name[:]))
}

// keyOf is the key with that name in the server.
func keyOf(name string) (k limiter.StoreKey, ok bool) {
	if len(name) < digestLength {
		return k, false
	}
	n, err := base64.RawURLEncoding.Decode(k.Name[:], []byte(name[len(name)-digestLength:]))
	return k, err == nil && n == len(k.Name)
}

// within bounds a request.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	until := time.Now().Add(s.options.Timeout)
	if earlier, set := ctx.Deadline(); set && !earlier.After(until) {
		return ctx, func() {}
	}
	if _, is := s.server.(*goRedis); is {
		return deadline{ctx, until}, func() {}
	}
	return context.WithDeadline(ctx, until)
}

// deadline is a context with a deadline and without a timer: go-redis reads the deadline for what it
// does with the connection, and waits for nothing else for longer than the client's timeouts.
type deadline struct {
	context.Context
	until time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.until, true }

// args are the arguments of a script: what it is to do, and the channels that it tells of it.
func (s *Store) args(w writer, tag byte, change bool) []string {
	switch {
	case change:
		return []string{string(w), s.freed[tag], s.time(), s.changed[tag]}
	case s.clock != nil:
		return []string{string(w), s.freed[tag], s.time()}
	}
	return []string{string(w), s.freed[tag]}
}

func (s *Store) time() string {
	if s.clock == nil {
		return ""
	}
	return fmt.Sprint(s.clock().UnixMicro())
}

// makeEpochs makes the epochs that are missing, so that the server is known to know
// nothing of what was before.
func (s *Store) makeEpochs(ctx context.Context) error {
	calls := make([]Call, 256)
	for i := range calls {
		calls[i] = Call{Keys: s.epochs[i : i+1], Args: []string{"", "", s.time()}}
	}
	if !s.server.Cluster() {
		calls = calls[:1]
		calls[0].Keys = s.epochs[:]
	}
	return s.server.EvalAll(ctx, epochsScript, calls)
}

// began is for a script that found that an epoch was missing: then all may be, after a restart.
func (s *Store) began(ctx context.Context) { _ = s.makeEpochs(ctx) }
