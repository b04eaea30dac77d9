package redislimit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// quiet is how long a subscription gets no message until it pings the server, and then how
// long it waits for the answer.
const quiet = 5 * time.Second

// Subscribe implements [Server].
func (g *goRedis) Subscribe(ctx context.Context, channels []string, f func(channel, message string)) error {
	cluster, is := g.client.(*redis.ClusterClient)
	if is {
		return subscribeCluster(ctx, cluster, channels, f)
	}
	client := g.client.(*redis.Client)
	ready := func() { f("", "") }
	return listen(ctx, client.Subscribe(ctx, channels...), len(channels), ready, f)
}

// subscribeCluster subscribes at each server of a cluster to the channels that it has.
func subscribeCluster(ctx context.Context, cluster *redis.ClusterClient, channels []string, f func(channel, message string)) error {
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
