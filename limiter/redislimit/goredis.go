package redislimit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/recourse-go/recourse/limiter"
	"github.com/redis/go-redis/v9"
)

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
