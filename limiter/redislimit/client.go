package redislimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
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

// goRedis is a [Server] by a client of go-redis.
type goRedis struct{ client redis.UniversalClient }

func (g *goRedis) Cluster() bool {
	_, is := g.client.(*redis.ClusterClient)
	return is
}

// evalsha and eval are commands. Their arguments are pointers to strings, which allocate nothing,
// but for the first key, which a cluster's client reads.
func evalsha(ctx context.Context, script *Script, c *Call) *redis.Cmd {
	return redis.NewCmd(ctx, arguments(c, "evalsha", &script.SHA1)...)
}

func eval(ctx context.Context, script *Script, c *Call) *redis.Cmd {
	return redis.NewCmd(ctx, arguments(c, "eval", &script.Source)...)
}

func arguments(c *Call, command any, program *string) []any {
	args := make([]any, 0, 3+len(c.Keys)+len(c.Args))
	args = append(args, command, program, len(c.Keys), c.Keys[0])
	for i := range c.Keys[1:] {
		args = append(args, &c.Keys[1+i])
	}
	for i := range c.Args {
		args = append(args, &c.Args[i])
	}
	return args
}

func unknownScript(err error) bool { return err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") }

func (g *goRedis) Eval(ctx context.Context, script *Script, c *Call) error {
	cmd := evalsha(ctx, script, c)
	err := g.client.Process(ctx, cmd)
	if unknownScript(err) {
		cmd = eval(ctx, script, c)
		err = g.client.Process(ctx, cmd)
	}
	if err != nil {
		return wrapped(err)
	}
	return c.read(cmd)
}

// unreadable are in the errors of scripts that find a value which they cannot read: of load, of
// struct.unpack, of Lua, and of SET with an expiry that is no time.
var unreadable = []string{
	"recourse: the value", "data string too short", "attempt to", "bad argument", "too many results", "is not an integer or out of range", "invalid expire",
}

// wrapped returns the error of a script with a prefix. If the script found a value that it
// cannot read, the error wraps limiter.ErrStoreValue.
func wrapped(err error) error {
	var reply redis.Error
	if errors.As(err, &reply) {
		for _, text := range unreadable {
			if strings.Contains(reply.Error(), text) {
				return fmt.Errorf("redislimit: %w: %w", limiter.ErrStoreValue, err)
			}
		}
	}
	return fmt.Errorf("redislimit: %w", err)
}

func (c *Call) read(cmd *redis.Cmd) error {
	s, err := cmd.Text()
	if err != nil {
		return fmt.Errorf("redislimit: %w", err)
	}
	c.Answer = s
	return nil
}

func (g *goRedis) EvalAll(ctx context.Context, script *Script, calls []Call) error {
	if len(calls) == 1 {
		return g.Eval(ctx, script, &calls[0])
	}
	cmds := make([]*redis.Cmd, len(calls))
	// An error of one call is that call's: each is looked at below.
	_, _ = g.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range calls {
			cmds[i] = evalsha(ctx, script, &calls[i])
			_ = p.Process(ctx, cmds[i])
		}
		return nil
	})
	var first error
	for i, cmd := range cmds {
		err := cmd.Err()
		switch {
		case unknownScript(err):
			err = g.Eval(ctx, script, &calls[i])
		case err != nil:
			err = wrapped(err)
		default:
			err = calls[i].read(cmd)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// quiet is how long a subscription gets no message until it pings the server, and then how
// long it waits for the answer.
const quiet = 5 * time.Second

func (g *goRedis) Subscribe(ctx context.Context, channels []string, f func(channel, message string)) error {
	cluster, is := g.client.(*redis.ClusterClient)
	if !is {
		client := g.client.(*redis.Client)
		ready := func() { f("", "") }
		return listen(ctx, client.Subscribe(ctx, channels...), len(channels), ready, f)
	}
	nodes := map[*redis.Client][]string{}
	for _, c := range channels {
		node, err := cluster.MasterForKey(ctx, c)
		if err != nil {
			return fmt.Errorf("redislimit: %w", err)
		}
		nodes[node] = append(nodes[node], c)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	missing := len(nodes)
	locked := func(channel, message string) {
		mu.Lock()
		defer mu.Unlock()
		f(channel, message)
	}
	ready := func() {
		mu.Lock()
		defer mu.Unlock()
		if missing--; missing == 0 {
			f("", "")
		}
	}
	var all sync.WaitGroup
	for node, channels := range nodes {
		all.Go(func() {
			sub := node.SSubscribe(ctx, channels[0])
			for _, c := range channels[1:] { // one by one, since they are of many slots
				if err := sub.SSubscribe(ctx, c); err != nil {
					cancel(err)
				}
			}
			cancel(listen(ctx, sub, len(channels), ready, locked))
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// listen calls f with the messages of a subscription until that or ctx ends, and closes it.
func listen(ctx context.Context, sub *redis.PubSub, missing int, ready func(), f func(channel, message string)) error {
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { sub.Close() })()
	asked := false
	for {
		m, err := sub.ReceiveTimeout(ctx, quiet)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			var slow net.Error
			if !errors.As(err, &slow) || !slow.Timeout() || asked {
				return fmt.Errorf("redislimit: %w", err)
			}
			if err := sub.Ping(ctx); err != nil {
				return fmt.Errorf("redislimit: %w", err)
			}
			asked = true
			continue
		}
		asked = false
		switch m := m.(type) {
		case *redis.Subscription:
			if strings.HasSuffix(m.Kind, "unsubscribe") {
				return fmt.Errorf("redislimit: the server ended the subscription of %q", m.Channel) // its slot has moved
			}
			if missing--; missing == 0 {
				ready()
			}
		case *redis.Message:
			f(m.Channel, m.Payload)
		}
	}
}
