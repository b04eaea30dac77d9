package redislimit

import (
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
)

// Script is a program that the server runs, in Lua.
type Script struct {
	Source string
	SHA1   string // by which a server knows it that has run it before, in hex
}

var (
	//go:embed lua/prelude.lua
	prelude string

	//go:embed lua/take.lua
	takeSource string
	//go:embed lua/end.lua
	endSource string
	//go:embed lua/change.lua
	changeSource string
	//go:embed lua/renew.lua
	renewSource string
	//go:embed lua/members.lua
	membersSource string
	//go:embed lua/epochs.lua
	epochsSource string

	takeScript    = newScript(prelude + takeSource)
	endScript     = newScript(prelude + endSource)
	changeScript  = newScript(prelude + changeSource)
	renewScript   = newScript(prelude + renewSource)
	membersScript = newScript(membersSource)
	epochsScript  = newScript(epochsSource)
	memoryScript  = newScript("return redis.call('INFO', 'memory')")
)

func newScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{Source: source, SHA1: hex.EncodeToString(sum[:])}
}
