package redislimit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// ClientOptions are options of go-redis that [New] accepts, for a server at an address
// (host and port, or the path of a socket) or a URL as [redis.ParseURL] reads it, with a
// password, TLS ("rediss://") and more. Its timeouts are 250 ms, as that of [Options].
func ClientOptions(addr string) (*redis.Options, error) {
	o := &redis.Options{Addr: addr}
	if strings.Contains(addr, "://") {
		var err error
		if o, err = redis.ParseURL(addr); err != nil {
			if invalid := (*url.Error)(nil); errors.As(err, &invalid) { // it has the URL, with the password
				err = errors.New("the server's URL cannot be read (a special character of a password is to be escaped)")
			}
			return nil, fmt.Errorf("redislimit: %w", err)
		}
	}
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = defaultTimeout, defaultTimeout, defaultTimeout
	o.PoolTimeout = defaultTimeout
	return o, nil
}

// checkClient returns what is wrong with a client's options, all at once.
func checkClient(client redis.UniversalClient, most time.Duration) error {
	var wrong []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	timeout := func(name string, d time.Duration) {
		want(d > 0 && d <= most, "%s: %v (now %v)", name, most, d)
	}
	switch c := client.(type) {
	case nil:
		return errors.New("redislimit: no client")
	case *redis.Client:
		o := c.Options()
		want(o.ContextTimeoutEnabled, "ContextTimeoutEnabled: true, or a call waits for a server that hangs for as long as ReadTimeout")
		want(o.MaxRetries <= 0, "MaxRetries: -1 (now %d; 0 means 3), or a lost answer is charged again", o.MaxRetries)
		want(o.DialerRetries == 1, "DialerRetries: 1 (now %d; 0 means 5)", o.DialerRetries)
		timeout("DialTimeout", o.DialTimeout)
		timeout("ReadTimeout", o.ReadTimeout)
		timeout("WriteTimeout", o.WriteTimeout)
		timeout("PoolTimeout", o.PoolTimeout)
	case *redis.ClusterClient:
		o := c.Options()
		want(o.ContextTimeoutEnabled, "ContextTimeoutEnabled: true, or a call waits for a server that hangs for as long as ReadTimeout")
		want(o.MaxRetries <= 0, "MaxRetries: -1 (now %d)", o.MaxRetries)
		want(o.DialerRetries == 1, "DialerRetries: 1 (now %d; 0 means 5)", o.DialerRetries)
		want(!o.ReadOnly && !o.RouteByLatency && !o.RouteRandomly, "ReadOnly, RouteByLatency, RouteRandomly: false, since scripts write")
		timeout("DialTimeout", o.DialTimeout)
		timeout("ReadTimeout", o.ReadTimeout)
		timeout("WriteTimeout", o.WriteTimeout)
		timeout("PoolTimeout", o.PoolTimeout)
	default:
		return fmt.Errorf("redislimit: a client of type %T cannot be used, only *redis.Client (also of Sentinel) and *redis.ClusterClient: a Ring gives keys to another server where one is lost, and limits begin anew there", client)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("redislimit: set in the client's options (see ClientOptions): %s", strings.Join(wrong, "; "))
	}
	return nil
}

// New returns a store in the server of a client, which it checks: it must be a
// *[redis.Client] (also one of Sentinel) or a *[redis.ClusterClient] that honors the
// context's deadline, repeats nothing by itself and has short timeouts, as [ClientOptions]
// sets them. An error says what else to set.
//
// New checks that the server is Redis 7 or Valkey 8 or later, and does not evict keys (see
// Options.AllowEviction), and makes it record since when it has its data. A server that does
// not answer is no error, so that a process can start during an outage; [Store.Renew] checks
// it later. Call [Store.Check] to learn of it at once.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if strings.Contains(o.Prefix, "{") {
		return nil, fmt.Errorf("redislimit: Options.Prefix is %q: use no brace, since in a cluster the first one says which keys are kept together", o.Prefix)
	}
	if err := checkClient(client, o.Timeout); err != nil {
		return nil, err
	}
	s := newStore(&goRedis{client: client}, o)
	ctx, cancel := context.WithTimeout(context.Background(), 4*s.options.Timeout)
	defer cancel()
	if err := s.Check(ctx); err != nil && (errors.Is(err, errEvicts) || errors.Is(err, errOld) || refused(err)) {
		return nil, err
	}
	return s, nil
}

// refused reports whether a server's answer is an error that does not pass by itself.
func refused(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || errors.Is(err, redis.Nil) {
		return false
	}
	switch word, _, _ := strings.Cut(reply.Error(), " "); word {
	case "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "NOREPLICAS", "MISCONF", "OOM", "MOVED", "ASK":
		return false
	}
	return true
}
