package redislimit

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/recourse-go/recourse/limiter"
)

// Watch is [limiter.Store.Watch].
func (s *Store) Watch(ctx context.Context, member limiter.StoreID, f func(limiter.StoreEvent)) error {
	var w writer
	w.id(member)
	name := hex.EncodeToString(w)
	tags := 1
	if s.server.Cluster() {
		tags = len(s.tags)
	}
	channels := make([]string, 0, 2*tags)
	for i := range tags { // but for how it is told
		channels = append(channels, s.changed[i][1:], s.freed[i][1:]+name)
	}
	return s.server.Subscribe(ctx, channels, func(channel, message string) {
		if channel == "" {
			f(limiter.StoreEvent{})
		} else if message == pausesMessage {
			f(limiter.StoreEvent{Paused: true})
		} else if key, ok := keyOf(message); ok {
			f(limiter.StoreEvent{Key: key, Freed: strings.HasSuffix(channel, name), Lifted: message[0] == 0})
		}
	})
}
