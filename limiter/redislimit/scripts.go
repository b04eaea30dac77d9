package redislimit

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"strings"
)

// Script is a program that the server runs, in Lua.
type Script struct {
	Source string
	SHA1   string // in hex; a server that has run the script before can run it by this
}

//go:embed lua
var lua embed.FS

var (
	takeScript    = scriptOf("prelude", "quick_take", "value", "limit", "state", "save", "units", "offer", "take")
	endScript     = scriptOf("prelude", "quick_end", "value", "limit", "save", "offer", "end")
	changeScript  = scriptOf("prelude", "value", "limit", "state", "save", "learned", "change")
	renewScript   = scriptOf("prelude", "value", "limit", "state", "save", "units", "offer", "learned", "renew")
	membersScript = scriptOf("members")
	epochsScript  = scriptOf("epochs")

	credentialScript = scriptOf("credential")
	pauseScript      = scriptOf("pause")
	fleetsScript     = scriptOf("fleets")
	infoScript       = scriptOf("info")
)

// scriptOf returns the script that consists of these files.
func scriptOf(files ...string) *Script {
	var b strings.Builder
	for _, f := range files {
		text, err := lua.ReadFile("lua/" + f + ".lua")
		if err != nil {
			panic(err) // it is embedded
		}
		b.Write(text)
	}
	return newScript(b.String())
}

func newScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{Source: source, SHA1: hex.EncodeToString(sum[:])}
}
