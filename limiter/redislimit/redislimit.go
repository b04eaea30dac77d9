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

// Options are settings of a [Store]. The zero value is usable.
type Options struct {
	// Secret keeps the names of keys secret from those who do not have it: see the package's
	// description. All processes that share limits must have the same.
	Secret string

	// Plain writes the names of keys (people's addresses, among others) beside their digests.
	// Use it only to look at a server during development, since the process keeps all names
	// in memory.
	Plain bool

	// Prefix is the beginning of the names of all keys and channels, without "{"; "" = "rc:".
	Prefix string

	// Fleet names the processes that should share limits; "" = all that use the server.
	// Processes of one fleet whose Prefix or Secret differs share nothing, so they get a
	// warning. Deployments that share a server but should not share limits need a Prefix and
	// a Fleet each.
	Fleet string

	// Timeout is how long one request may take in all; 0 = 250 ms. The timeouts of the client
	// must not be longer.
	Timeout time.Duration

	// AllowEviction lets [New] use a server that evicts keys when its memory is full. When it
	// does, holds end early, and limits can be exceeded by a burst and by the slots in use.
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

	// These are by the first byte of a place. Keys and channels with the same byte are in one
	// slot of a cluster.
	tags    [256]string // the beginning of the names of keys
	epochs  [256]string // keys
	freed   [256]string // "P" or "S" for PUBLISH or SPUBLISH, and the beginning of the members' channels for freed slots
	changed [256]string // likewise, and the channel for changes

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

// Key implements [limiter.Store].
func (s *Store) Key(place, name string) limiter.StoreKey {
	k := s.keys.Key(place, name)
	if s.options.Plain {
		s.names.Store(k, name)
	}
	return k
}

const digestLength = 22 // of base64, of 16 bytes

// name returns the name of a key in the server. It ends with the key's digest.
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

// keyOf returns the key of that name in the server, without its place; ok is false if the name
// is not that of a key.
func keyOf(name string) (k limiter.StoreKey, ok bool) {
	if len(name) < digestLength {
		return k, false
	}
	n, err := base64.RawURLEncoding.Decode(k.Name[:], []byte(name[len(name)-digestLength:]))
	return k, err == nil && n == len(k.Name)
}

// within returns a context that ends a request after Options.Timeout at the latest.
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

// deadline is a context with a deadline but without a timer, which is cheaper. It is enough for
// go-redis, which sets the connection's deadline by it, and bounds other waits by the client's
// timeouts.
type deadline struct {
	context.Context
	until time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.until, true }

// args appends the arguments of a script: the request, the channel for freed slots, a test's time,
// and, if change is set, the channel for changes.
func (s *Store) args(args []string, w writer, tag byte, change bool) []string {
	args = append(args, string(w), s.freed[tag])
	if change || s.clock != nil {
		args = append(args, s.time())
	}
	if change {
		args = append(args, s.changed[tag])
	}
	return args
}

func (s *Store) time() string {
	if s.clock == nil {
		return ""
	}
	return fmt.Sprint(s.clock().UnixMicro())
}

// makeEpochs makes the epochs that are missing. A missing epoch means that the server has lost
// the tag's keys, or never had any.
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

// began is called after a script has found its epoch missing. After a restart all may be, so it
// makes them all.
func (s *Store) began(ctx context.Context) { _ = s.makeEpochs(ctx) }
