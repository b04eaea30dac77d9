package debug

import (
	"hash/maphash"
	"sync"
)

// What happened to each account last.

const (
	accountShards = 16
	// shardAccounts is how many accounts a shard remembers at least; at most it is twice as many.
	shardAccounts = 64
	// accountRing is how many different events of an account are remembered.
	accountRing = 20
)

var shardSeed = maphash.MakeSeed()

// accountEvents holds the latest events of the 1024 accounts, or up to twice as many, with the
// latest events.
type accountEvents struct {
	shards [accountShards]accountShard
}

type accountShard struct {
	mu    sync.Mutex
	rings lately[string, *ring[event]]
}

func (a *accountEvents) shard(account string) *accountShard {
	return &a.shards[maphash.String(shardSeed, account)%accountShards]
}

// add remembers an event of an account.
func (a *accountEvents) add(e event) {
	sh := a.shard(e.account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.rings.most = shardAccounts
	r, ok := sh.rings.get(e.account)
	if !ok {
		r = &ring[event]{size: accountRing}
		sh.rings.put(e.account, r)
	}
	if before, ok := r.take(e.like); ok {
		e.times += before.times // e replaces the equal event
	}
	r.add(e)
}

// of returns an account's latest events, the newest first.
func (a *accountEvents) of(account string) []event {
	sh := a.shard(account)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r, ok := sh.rings.peek(account); ok {
		return r.latest()
	}
	return nil
}
